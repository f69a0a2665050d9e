"""Training a scene network: scenes from seeds → optimiser steps → safetensors and a model card."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from envs import keyed
from envs.errors import ConfigError
from policies.models import autocast, device_of
from policies.scene import files
from policies.scene.presets import SCENES, ScenePreset
from policies.scene.tasks import Task

Progress = Callable[[str, int, int, dict[str, float]], None]
"""(stage, done, total, facts): what the command line draws as a progress bar."""

CHECKPOINT_EVERY = 200
_WARM_UP = 200


@dataclass
class _State:
    """Everything a resumed training needs."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    loss: float = math.nan
    seconds: float = 0.0
    plans: list[list[int]] = field(default_factory=list)
    """[first step, steps of the schedule] of every start; more than one if a resume changed the number of steps."""


def train(
    spec: str,
    *,
    out: Path | str | None = None,
    device: str = "cpu",
    resume: bool = False,
    steps: int | None = None,
    threads: int = 1,
    progress: Progress | None = None,
    preset: ScenePreset | None = None,
) -> dict[str, Any]:
    """Train the network of a preset and write its weights and card.

    Args:
        spec: a registered preset, ``NAME[:key=value,…]``.
        out: safetensors file to write; by default the shipped weights of that name. A checkpoint beside it
            (``.checkpoint``) is kept until training ends.
        device: torch device. threads: torch CPU threads.
        resume: continue from the checkpoint beside ``out`` if there is one. A resumed training takes the steps that an
            undisturbed one would have taken, unless it is given another number of them: the learning rate then goes on
            by the new schedule, and the card says so.
        steps: overrides the preset. progress: called as steps are taken.
        preset: in place of the registered one, with other values.

    Returns:
        The model card: command, seed, data, loss, time and held-out quality.

    Raises:
        ConfigError: an unknown preset or device, or a checkpoint that does not fit.
    """
    chosen: ScenePreset = preset or SCENES.parse(spec)
    name = spec.partition(":")[0]
    if steps is not None:
        chosen = chosen.model_copy(update={"steps": steps})
    place = device_of(device)
    torch.set_num_threads(threads)
    target = Path(out) if out is not None else files.WEIGHTS / f"{name}.safetensors"
    checkpoint = target.with_suffix(".checkpoint")
    task = chosen.task()
    torch.manual_seed(chosen.seed)
    network, average = files.build(chosen.kind, task.spec).to(place), files.build(chosen.kind, task.spec).to(place)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=chosen.learning_rate, weight_decay=1e-4)
    state = _State(network, average, optimiser)
    if resume and checkpoint.is_file():
        _restore(state, checkpoint)
    if not state.plans or state.plans[-1][1] != chosen.steps:
        state.plans.append([state.step, chosen.steps])
    _optimise(state, chosen, task, checkpoint, progress or (lambda *_: None))

    state.average.eval()
    files.round_weights(state.average)
    with torch.no_grad():
        held_out = task.evaluate(state.average)
    card = {
        "name": name,
        "command": shlex.join(["agentsc", "train", spec, "--steps", str(chosen.steps)]),
        "preset": chosen.model_dump(mode="json"),
        "parameters": sum(weight.numel() for weight in state.average.parameters()),
        "plans": state.plans,
        "loss": round(state.loss, 6),
        "train_s": round(state.seconds, 1),
        "torch": torch.__version__,
        "held_out": held_out,
    }
    files.save(target, chosen.kind, task.spec, state.average, card)
    target.with_suffix(".md").write_text(model_card(card, type(chosen).__doc__ or "", task))
    checkpoint.unlink(missing_ok=True)
    return card


def _optimise(state: _State, preset: ScenePreset, task: Task, checkpoint: Path, report: Progress) -> None:
    state.network.train()
    began = time.process_time() - state.seconds
    device = next(state.network.parameters()).device
    for step in range(state.step, preset.steps):
        # Keyed by the step, so that a resumed training draws what an undisturbed one would have.
        generator = torch.Generator().manual_seed(int(keyed.hash_words(preset.seed, step)) >> 1)
        with autocast(device, preset.precision):
            loss, error = task.loss(state.network, generator)
        for group in state.optimiser.param_groups:
            group["lr"] = _rate(preset.learning_rate, step, preset.steps)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
        state.optimiser.step()
        decay = min(preset.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(state.average.parameters(), state.network.parameters(), strict=True):
                slow.lerp_(fast, 1.0 - decay)
        value = float(error)
        running = value if math.isnan(state.loss) else 0.98 * state.loss + 0.02 * value
        state.step, state.loss, state.seconds = step + 1, running, time.process_time() - began
        report("training", state.step, preset.steps, {"loss": running})
        if state.step % CHECKPOINT_EVERY == 0:
            _keep(state, checkpoint)


def _rate(peak: float, step: int, steps: int) -> float:
    """Linear warm-up, then cosine decay to zero."""
    return peak * min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def _keep(state: _State, checkpoint: Path) -> None:
    partial = checkpoint.with_suffix(".partial")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "facts": {"step": state.step, "loss": state.loss, "seconds": state.seconds},
            "plans": state.plans,
        },
        partial,
    )
    partial.replace(checkpoint)


def _restore(state: _State, checkpoint: Path) -> None:
    try:
        # weights_only: tensors and plain containers, nothing that could run code.
        kept = torch.load(checkpoint, weights_only=True)
        state.network.load_state_dict(kept["network"])
        state.average.load_state_dict(kept["average"])
        state.optimiser.load_state_dict(kept["optimiser"])
        state.step, state.loss = int(kept["facts"]["step"]), float(kept["facts"]["loss"])
        state.seconds = float(kept["facts"]["seconds"])
        state.plans = [[int(first), int(steps)] for first, steps in kept["plans"]]
    except Exception as error:  # torch raises several unrelated types for a damaged file
        raise ConfigError(
            f"train.resume must find an intact checkpoint of this preset, got {checkpoint.name!r} "
            f"({type(error).__name__}): delete it or leave out --resume"
        ) from None


def model_card(card: dict[str, Any], about: str, task: Task) -> str:
    """The card as Markdown, written beside the weights."""
    preset = card["preset"]
    return "\n".join(
        [
            f"# {card['name']}",
            "",
            about.strip().splitlines()[0],
            "",
            f"- Made by `{card['command']}` (seed {preset['seed']}, torch {card['torch']}).",
            f"- {card['parameters']:,} parameters; batches of {preset['batch']} from {preset['images']:,} {task.data}.",
            *_replanned(card["plans"]),
            f"- Final training error {card['loss']}; {card['train_s']} CPU seconds of optimisation.",
            "",
            *task.describe(card["held_out"]),
            "",
        ]
    )


def _replanned(plans: list[list[int]]) -> list[str]:
    """How the learning rate's schedule changed on the way, if it did."""
    if len(plans) == 1:
        return []
    told = [f"from step {first} by a schedule of {steps} steps" for first, steps in plans]
    return [f"- The command was interrupted and resumed with another --steps: the rate went {', then '.join(told)}."]
