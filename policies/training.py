"""Training by the name of a preset, whichever room it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from policies.presets import PRESETS
from policies.scene.presets import SCENES


def train(
    spec: str,
    *,
    out: Path | str | None = None,
    device: str = "cpu",
    resume: bool = False,
    steps: int | None = None,
    progress: Callable[[str, int, int, dict[str, float]], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train what a preset describes; write weights and a model card.

    Args:
        spec: a registered preset, ``NAME[:key=value,…]``. out: safetensors file; by default the shipped weights of
            that name.
        device: torch device. resume: continue from the checkpoint beside ``out``. steps: overrides the preset.
        progress: called with (stage, done, total, facts). options: of the room's own `train`.

    Returns:
        The model card.

    Raises:
        ConfigError: an unknown preset, or a checkpoint that does not fit it.
    """
    PRESETS.parse(spec)
    if spec.partition(":")[0] in SCENES:
        from policies.scene.train import train as scene

        return scene(spec, out=out, device=device, resume=resume, steps=steps, progress=progress, **options)
    from policies.trajectory.train import train as trajectory

    return trajectory(spec, out=out, device=device, resume=resume, steps=steps, progress=progress, **options)
