"""Training, shrunken: it learns, it stops and goes on as if nothing had happened, it refuses damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from envs.errors import ConfigError
from policies.trajectory import train as training
from policies.trajectory.demonstrations import FAMILIES, generate
from policies.trajectory.evaluate import evaluate
from policies.trajectory.presets import Preset
from policies.trajectory.prior import TrajectoryPrior

SMALL: dict[str, Any] = {"width": 32, "blocks": 1, "batch": 64, "maps": 8}
STEPS = 6


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny network, a quick evaluation, and a checkpoint at every other step."""
    create = training.PRIORS.create
    monkeypatch.setattr(
        training.PRIORS, "create", lambda name, **options: create(name, **{**SMALL, **options}), raising=True
    )
    made = list(generate(1, 8))
    monkeypatch.setattr(training, "generate", lambda *_: iter(made))
    row = {"mean": 0.5, "ci95": [0.4, 0.6], "n": 8}
    quality = {"family": "empty", **dict.fromkeys(training.QUALITY, row)}
    held_out = {"families": [quality], "maps": 1, "samples": 2, "steps": 2, "problems": 8}
    monkeypatch.setattr(training, "evaluate", lambda *_, **__: held_out)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 2)


class Interrupted(Exception):
    """Somebody pulled the plug."""


def test_a_training_leaves_weights_and_a_card(tmp_path: Path) -> None:
    out = tmp_path / "tiny.safetensors"
    seen: list[tuple[str, int, int]] = []
    card = training.train("edge-prior", out=out, steps=STEPS, progress=lambda *a: seen.append(a[:3]))
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.safetensors", "tiny.md"}
    prior = TrajectoryPrior.load(out)
    assert prior.card == json.loads(json.dumps(card)) and prior.spec.width == 32
    assert (
        card["preset"]["seed"] == 1
        and card["preset"]["steps"] == STEPS
        and "agentsc train edge-prior" in card["command"]
    )
    assert card["data"]["families"].keys() == set(FAMILIES) and card["data"]["rows"] > 500
    text = (tmp_path / "tiny.md").read_text()
    assert card["command"] in text and "held-out" in text.lower() and "0.500 [0.400, 0.600]" in text
    assert ("demonstrations", 8, 8) in seen and ("training", STEPS, STEPS) in seen


def test_training_reduces_the_loss(tmp_path: Path) -> None:
    losses: list[float] = []

    def note(stage: str, done: int, total: int, facts: dict[str, float]) -> None:
        if stage == "training":
            losses.append(facts["loss"])

    training.train("edge-prior", out=tmp_path / "a.safetensors", steps=400, progress=note)
    # The running mean forgets slowly; it starts at the error of predicting nothing, about 1.
    assert 0.5 < losses[0] < 2.0 and losses[-1] < 0.75 * losses[0]


def test_a_resumed_training_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_exactly(prior: TrajectoryPrior, path: Path) -> None:
        save_file({k: v.clone() for k, v in prior.network.state_dict().items()}, path)

    # Half precision would hide what a step or two change.
    monkeypatch.setattr(TrajectoryPrior, "round_weights", lambda prior: None)
    monkeypatch.setattr(TrajectoryPrior, "save", save_exactly)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    training.train("edge-prior", out=whole, steps=STEPS)

    def pull(stage: str, done: int, *_: Any) -> None:
        if stage == "training" and done == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        training.train("edge-prior", out=parts, steps=STEPS, progress=pull)
    assert (tmp_path / "parts.checkpoint").is_file() and not parts.exists()
    steps: list[int] = []
    training.train(
        "edge-prior", out=parts, steps=STEPS, resume=True,
        progress=lambda stage, done, *_: steps.append(done) if stage == "training" else None,
    )  # fmt: skip
    assert steps == [5, 6], "from the checkpoint at step 4"
    first, second = load_file(whole), load_file(parts)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert not (tmp_path / "parts.checkpoint").exists()
    training.train("edge-prior", out=tmp_path / "short.safetensors", steps=STEPS - 1)
    short = load_file(tmp_path / "short.safetensors")
    assert any(not torch.equal(first[name], short[name]) for name in first), "one step more is seen"


@pytest.mark.parametrize("damage", ["garbage", "other"])
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path, damage: str) -> None:
    checkpoint = tmp_path / "a.checkpoint"
    if damage == "garbage":
        checkpoint.write_bytes(b"PK\x03\x04 not really")
    else:
        torch.save({"prior": {}, "average": {}, "optimiser": {}, "facts": {}}, checkpoint)
    with pytest.raises(ConfigError, match=r"train\.resume must find an intact checkpoint .*'a\.checkpoint'"):
        training.train("edge-prior", out=tmp_path / "a.safetensors", steps=STEPS, resume=True)


def test_unknown_presets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="edge-prior"):
        training.train("egde-prior", out=tmp_path / "a.safetensors")


def test_held_out_quality_has_intervals_and_knows_an_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained prior answers with the nominal plan; every measure is finite and within its range."""
    monkeypatch.setattr("policies.trajectory.evaluate.FAMILIES", FAMILIES[:2])
    from policies.trajectory.prior import PriorSpec

    preset = Preset(maps=8, steps=1, width=32, blocks=1)
    prior = TrajectoryPrior(PriorSpec(12, 32, 32, 1), np.full(20, 0.05, np.float32))
    result = evaluate(prior, preset, maps=1, samples=2, steps=2)
    assert [row["family"] for row in result["families"]] == list(FAMILIES[:2])
    for row in result["families"]:
        for name in training.QUALITY:
            low, high = row[name]["ci95"]
            assert low <= row[name]["mean"] <= high and row[name]["n"] > 10
        assert 0.0 <= row["collision_free"]["mean"] <= 1.0 and 0.0 < row["min_ade"]["mean"] < 0.5
    empty = result["families"][0]
    assert empty["collision_free"]["mean"] > 0.9
