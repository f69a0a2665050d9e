"""Everything that can be trained: the presets of all rooms under one roof."""

from __future__ import annotations

from envs.registry import Joined
from policies.scene.presets import SCENES
from policies.trajectory.presets import PRIORS

PRESETS = Joined("presets", PRIORS, SCENES)
