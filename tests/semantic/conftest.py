"""Small scene networks: trained for a moment, enough to run everything with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policies.scene import files
from policies.scene.presets import SCENES
from policies.scene.train import train

SMALL: dict[str, dict[str, Any]] = {
    "ntc": {"fine": 8, "coarse": 16, "blocks": 1, "context": 8},
    "jscc": {"fine": 8, "coarse": 16, "blocks": 1},
    "scene-prior": {"width": 8, "multipliers": (1, 2)},
    "segmenter": {"width": 8},
    "conditional": {"width": 8, "multipliers": (1, 2)},  # after the codec that it refines
}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name of a model → its file."""
    folder = tmp_path_factory.mktemp("weights")
    made: dict[str, Path] = {}
    for name, options in SMALL.items():
        more = {"codec": str(made["jscc"])} if name == "conditional" else {}
        preset = SCENES.create(name, **options, **more, steps=12, batch=8, held_out=16)
        made[name] = folder / f"{name}.safetensors"
        train(name, preset=preset, out=made[name])
        assert set(files.load(name, made[name])[1]) >= set(preset.spec)
    return made
