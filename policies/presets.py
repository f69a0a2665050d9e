"""Everything that can be trained: the presets of all rooms under one roof."""

from __future__ import annotations

from envs.registry import Plugin, Registry
from policies.scene.presets import SCENES
from policies.trajectory.presets import PRIORS


class Joined(Registry):
    """The plug-ins of several registries, whose names differ.

    Args:
        kind: plural noun. parts: the registries.
    """

    def __init__(self, kind: str, *parts: Registry) -> None:
        super().__init__(kind)
        self._parts = parts

    def _load(self) -> dict[str, type[Plugin]]:
        return {name: part.get(name) for part in self._parts for name in part}


PRESETS = Joined("presets", PRIORS, SCENES)
