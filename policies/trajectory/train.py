"""Training a trajectory prior: demonstrations → denoising → safetensors and a model card."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs import keyed
from envs.errors import ConfigError
from policies.trajectory.demonstrations import FAMILIES, Demonstrations, generate
from policies.trajectory.evaluate import evaluate
from policies.trajectory.presets import PRIORS, Preset
from policies.trajectory.prior import WEIGHTS, TrajectoryPrior
from policies.trajectory.recipes import Recipe

Progress = Callable[[str, int, int, dict[str, float]], None]
"""(stage, done, total, facts): what the command line draws as a progress bar."""

CHECKPOINT_EVERY = 1000


@dataclass
class _State:
    """Everything a resumed training needs."""

    prior: TrajectoryPrior
    average: TrajectoryPrior
    optimiser: torch.optim.Optimizer
    step: int = 0
    loss: float = math.nan
    seconds: float = 0.0


def train(
    spec: str,
    *,
    out: Path | str | None = None,
    device: str = "cpu",
    resume: bool = False,
    steps: int | None = None,
    maps: int | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train the prior of a preset and write its weights and card.

    Args:
        spec: a registered preset, ``NAME[:key=value,…]``.
        out: safetensors file to write; by default the shipped weights of that name. A checkpoint
            beside it (``.checkpoint``) is kept until training ends.
        device: torch device. threads: torch CPU threads.
        resume: continue from the checkpoint beside ``out`` if there is one.
        steps, maps: override the preset.
        progress: called as demonstrations are made and steps are taken.

    Returns:
        The model card: command, seed, data, loss, time and held-out quality.

    Raises:
        ConfigError: unknown preset, or a checkpoint that does not fit it.
    """
    torch.set_num_threads(threads)
    preset: Preset = PRIORS.parse(spec)
    name = spec.partition(":")[0]
    preset = preset.model_copy(update={k: v for k, v in (("steps", steps), ("maps", maps)) if v is not None})
    target = Path(out) if out is not None else WEIGHTS / f"{name}.safetensors"
    report = progress or (lambda *_: None)
    checkpoint = target.with_suffix(".checkpoint")

    data = demonstrations(preset, target.with_suffix(".demonstrations.npz"), report)
    recipe = preset.recipe(data, device)
    state = _start(preset, recipe, device)
    if resume and checkpoint.is_file():
        _restore(state, recipe, checkpoint)
    _optimise(state, preset, recipe, checkpoint, report)

    card = {
        "name": name,
        "command": shlex.join(["agentsc", "train", spec, "--steps", str(preset.steps)]),
        "preset": preset.model_dump(),
        "parameters": state.average.parameters(),
        "data": {
            "rows": len(data.features),
            "maps": preset.maps,
            "families": {f: int((data.family == k).sum()) for k, f in enumerate(FAMILIES)},
        },
        "loss": round(state.loss, 5),
        "train_s": round(state.seconds, 1),
        "torch": torch.__version__,
    }
    state.average.network.eval()
    state.average.round_weights()
    card["held_out"] = evaluate(state.average, preset, steps=preset.sampling_steps, progress=report)
    state.average.card = card
    state.average.save(target)
    target.with_suffix(".md").write_text(model_card(card))
    checkpoint.unlink(missing_ok=True)
    target.with_suffix(".demonstrations.npz").unlink(missing_ok=True)
    return card


def demonstrations(preset: Preset, cache: Path, report: Progress) -> Demonstrations:
    """The preset's training data; kept in ``cache`` while training runs so that a resume is quick."""
    key = f"{preset.seed}/{preset.maps}/{preset.control_points}/{preset.horizon_ticks}"
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as stored:
            if str(stored["key"]) == key:
                return Demonstrations(stored["features"], stored["residual"], stored["family"])
    parts: list[Demonstrations] = []
    for part in generate(preset.seed, preset.maps, preset.control_points, preset.horizon_ticks):
        parts.append(part)
        report("demonstrations", len(parts), preset.maps, {})
    data = Demonstrations.join(parts)
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cache, key=key, features=data.features, residual=data.residual, family=data.family)
    return data


def _start(preset: Preset, recipe: Recipe, device: str) -> _State:
    torch.manual_seed(preset.seed)
    scale = recipe.scale.cpu().numpy()
    prior = TrajectoryPrior(preset.spec, scale, device=device)
    average = TrajectoryPrior(preset.spec, scale, device=device)
    average.network.load_state_dict(prior.network.state_dict())
    optimiser = torch.optim.AdamW(prior.network.parameters(), lr=preset.learning_rate, weight_decay=1e-4)
    return _State(prior, average, optimiser)


def _optimise(state: _State, preset: Preset, recipe: Recipe, checkpoint: Path, report: Progress) -> None:
    network = state.prior.network
    network.train()
    began = time.perf_counter() - state.seconds
    running = state.loss
    for step in range(state.step, recipe.steps):
        first, length = recipe.phase(step)
        if step == first:
            recipe.begin(step, state.prior, state.average)
        # Keyed by the step, so that a resumed training draws what an undisturbed one would have.
        generator = torch.Generator().manual_seed(int(keyed.hash_words(preset.seed, step)) >> 1)
        loss, error = recipe.loss(state.prior, state.average, generator)
        done = step - first
        for group in state.optimiser.param_groups:
            group["lr"] = _rate(preset.learning_rate, done, length)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        state.optimiser.step()
        decay = min(preset.ema, (done + 1) / (done + 10))
        with torch.no_grad():
            pairs = zip(state.average.network.parameters(), network.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, 1.0 - decay)
        value = float(error)
        running = value if math.isnan(running) else 0.99 * running + 0.01 * value
        state.step, state.loss, state.seconds = step + 1, running, time.perf_counter() - began
        report("training", state.step, preset.steps, {"loss": running})
        if state.step % CHECKPOINT_EVERY == 0:
            _keep(state, recipe, checkpoint)


def _rate(peak: float, step: int, steps: int) -> float:
    """Linear warm-up, then cosine decay to zero."""
    return peak * min(1.0, (step + 1) / 500) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def _keep(state: _State, recipe: Recipe, checkpoint: Path) -> None:
    partial = checkpoint.with_suffix(".partial")
    torch.save(
        {
            "prior": state.prior.network.state_dict(),
            "average": state.average.network.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "recipe": recipe.state(),
            "facts": {"step": state.step, "loss": state.loss, "seconds": state.seconds},
        },
        partial,
    )
    partial.replace(checkpoint)


def _restore(state: _State, recipe: Recipe, checkpoint: Path) -> None:
    try:
        # weights_only: tensors and plain containers, nothing that could run code.
        kept = torch.load(checkpoint, map_location=state.prior.device, weights_only=True)
        state.prior.network.load_state_dict(kept["prior"])
        state.average.network.load_state_dict(kept["average"])
        state.optimiser.load_state_dict(kept["optimiser"])
        recipe.restore(kept["recipe"])
        state.step, state.loss = int(kept["facts"]["step"]), float(kept["facts"]["loss"])
        state.seconds = float(kept["facts"]["seconds"])
    except Exception as error:  # torch raises several unrelated types for a damaged file
        raise ConfigError(
            f"train.resume must find an intact checkpoint of this preset, got {checkpoint.name!r} "
            f"({type(error).__name__}): delete it or leave out --resume"
        ) from None


def model_card(card: dict[str, Any]) -> str:
    """The card as Markdown, written beside the weights."""
    held_out = card["held_out"]
    lines = [
        f"# {card['name']}",
        "",
        "A trajectory prior: samples of B-spline control points given local geometry, by diffusion.",
        "",
        f"- Made by `{card['command']}` (seed {card['preset']['seed']}, torch {card['torch']}).",
        f"- {card['parameters']:,} parameters; {card['data']['rows']:,} demonstrations on"
        f" {card['data']['maps']:,} procedural maps: search with random costs, then smoothing and a"
        " speed profile.",
        *_lineage(card["preset"]),
        f"- Final training error (x0, normalised) {card['loss']}; {card['train_s']} s of optimisation.",
        "",
        f"Held-out quality: {held_out['samples']} samples for each of {held_out['problems']} problems on"
        f" {held_out['maps']} maps per family that training has not seen, {held_out['steps']}-step DDIM,"
        " no guidance. Intervals are 95 % bootstrap intervals over problems.",
        "",
        "| family | collision-free | path length / expert | minADE / reach | diversity / reach |",
        "|---|---|---|---|---|",
    ]
    for row in held_out["families"]:
        cells = [f"{row[k]['mean']:.3f} [{row[k]['ci95'][0]:.3f}, {row[k]['ci95'][1]:.3f}]" for k in QUALITY]
        lines.append(f"| {row['family']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Collision-free: share of single samples that keep clear of the static map in continuous",
        "time. Diversity: mean pairwise distance between samples of one problem. The prior alone knows",
        "nothing of peers; the protocol adds guidance and hard checks.",
        "",
    ]
    return "\n".join(lines)


def _lineage(preset: dict[str, Any]) -> list[str]:
    """Whom a distilled prior learnt from."""
    if "teacher" not in preset:
        return []
    return [
        f"- Distilled from `{Path(preset['teacher']).stem}`, starting with its weights: {preset['method']}"
        f" distillation of {preset['teacher_steps']} steps to {preset['sampling_steps']}."
    ]


QUALITY = ("collision_free", "length_ratio", "min_ade", "diversity")
