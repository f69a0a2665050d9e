"""Distilling a trajectory prior, shrunken: it starts as its teacher, learns, and resumes across phases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from envs import keyed
from envs.errors import ConfigError
from policies.diffusion.distillation import DISTILLATIONS
from policies.diffusion.solvers.ddim import DDIM
from policies.networks.spline_mlp import SplineMLP
from policies.trajectory import train as training
from policies.trajectory.context import feature_count
from policies.trajectory.demonstrations import Demonstrations
from policies.trajectory.prior import Denoiser, PriorSpec, TrajectoryPrior
from policies.trajectory.recipes.distilling import Distilling

TEACHER = PriorSpec(width=32, blocks=3)
STUDENT = PriorSpec(width=32, blocks=2)


@pytest.fixture(scope="module")
def data() -> Demonstrations:
    rows = keyed.hash_words(0, np.arange(600))
    features = keyed.normal(rows, (feature_count(12),), 1)
    residual = 0.1 * keyed.normal(rows, (20,), 2)
    return Demonstrations(features, residual, np.zeros(600, np.int64))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    made = TrajectoryPrior(TEACHER, np.full(20, 0.1, np.float32))
    torch.nn.init.normal_(made.network.exit.weight, std=0.1)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    made.save(path)
    return path


@pytest.fixture
def train(
    monkeypatch: pytest.MonkeyPatch, data: Demonstrations, teacher: Path
) -> Callable[..., dict[str, Any]]:
    """``agentsc train edge`` with a tiny teacher, exact files and a checkpoint at every other step."""
    create = training.PRIORS.create
    small = {"width": 32, "batch": 32, "maps": 8, "teacher": str(teacher), "teacher_steps": 8}
    monkeypatch.setattr(
        training.PRIORS, "create", lambda name, **options: create(name, **{**small, **options})
    )
    monkeypatch.setattr(training, "generate", lambda *_: iter([data]))
    row = {"mean": 0.5, "ci95": [0.4, 0.6], "n": 8}
    quality = {"family": "empty", **dict.fromkeys(training.QUALITY, row)}
    held_out = {"families": [quality], "maps": 1, "samples": 2, "steps": 2, "problems": 8}
    monkeypatch.setattr(training, "evaluate", lambda *_, **__: held_out)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(TrajectoryPrior, "round_weights", lambda prior: None)

    def save_exactly(prior: TrajectoryPrior, path: Path) -> None:
        save_file({k: v.clone() for k, v in prior.network.state_dict().items()}, path)

    monkeypatch.setattr(TrajectoryPrior, "save", save_exactly)
    return training.train


class Interrupted(Exception):
    """Somebody pulled the plug."""


@pytest.mark.parametrize("stop", [5, 7, 9], ids=["first phase", "on the edge", "second phase"])
def test_a_resumed_distillation_ends_like_an_undisturbed_one(
    train: Callable[..., dict[str, Any]], tmp_path: Path, stop: int
) -> None:
    """Nine steps in phases of six and three; the checkpoint at the edge is older than the new phase."""
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    card = train("edge", out=whole, steps=9)

    def pull(stage: str, done: int, *_: Any) -> None:
        if stage == "training" and done == stop:
            raise Interrupted

    with pytest.raises(Interrupted):
        train("edge", out=parts, steps=9, progress=pull)
    train("edge", out=parts, steps=9, resume=True)
    first, second = load_file(whole), load_file(parts)
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert card["preset"]["teacher"].endswith("teacher.safetensors")
    assert (
        "Distilled from `teacher`, starting with its weights: progressive"
        in (tmp_path / "whole.md").read_text()
    )


@pytest.mark.parametrize("method", list(DISTILLATIONS))
def test_a_student_gets_closer_to_where_its_teacher_goes(
    data: Demonstrations, teacher: Path, method: str
) -> None:
    known = TrajectoryPrior.load(teacher)
    recipe = Distilling(data, known, STUDENT, DISTILLATIONS.create(method, teacher_steps=4), 200, 32)
    student = TrajectoryPrior(STUDENT, known.scale.numpy())
    average = TrajectoryPrior(STUDENT, known.scale.numpy())
    features = torch.as_tensor(data.features[:64])
    x = torch.as_tensor(keyed.normal(keyed.hash_words(7, np.arange(64)), (4, 20)))

    def reached(prior: TrajectoryPrior, steps: int) -> torch.Tensor:
        with torch.no_grad():
            denoiser = Denoiser.bind(prior, features)
            return DDIM(eta=0.0).solve(prior.process, denoiser, x, prior.times(steps))

    aim = reached(known, 50 if method == "consistency" else 4)
    recipe.begin(0, student, average)
    before = float((reached(student, 2) - aim).square().mean())
    optimiser = torch.optim.Adam(student.network.parameters(), lr=1e-3)
    for step in range(200):
        first, _ = recipe.phase(step)
        if step == first and step > 0:
            recipe.begin(step, student, average)
        loss, _ = recipe.loss(student, average, torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for slow, fast in zip(average.network.parameters(), student.network.parameters(), strict=True):
                slow.lerp_(fast, 0.05)
    assert float((reached(average, 2) - aim).square().mean()) < 0.5 * before


def test_a_student_keeps_the_ends_of_its_teachers_trunk() -> None:
    torch.manual_seed(1)
    other, own = SplineMLP(8, 5, 16, 4), SplineMLP(8, 5, 16, 2)
    torch.nn.init.normal_(other.exit.weight)
    own.inherit(other)
    assert torch.equal(own.inner[0].weight, other.inner[0].weight)
    assert torch.equal(own.outer[1].weight, other.outer[3].weight)
    embedding, t = other.embed(torch.randn(3, 5)), torch.full((1,), 0.4)
    theirs, mine = other.modulations(embedding, t).chunk(4, -1), own.modulations(embedding, t).chunk(2, -1)
    torch.testing.assert_close(mine[0], theirs[0])
    torch.testing.assert_close(mine[1], theirs[3])
    same = SplineMLP(8, 5, 16, 4)
    same.inherit(other)
    x = torch.randn(3, 2, 8)
    torch.testing.assert_close(
        same(x, same.modulations(embedding, t)), other(x, other.modulations(embedding, t))
    )


@pytest.mark.parametrize(("width", "blocks"), [(24, 2), (16, 3)])
def test_weights_of_another_width_or_fewer_blocks_are_refused(width: int, blocks: int) -> None:
    with pytest.raises(ConfigError, match="width and blocks must be 16 and at most 2 to inherit weights"):
        SplineMLP(8, 5, width, blocks).inherit(SplineMLP(8, 5, 16, 2))


def test_a_student_of_another_kind_is_refused(data: Demonstrations, teacher: Path) -> None:
    method = DISTILLATIONS.create("progressive", teacher_steps=8)
    other = PriorSpec(control_points=8, width=32, blocks=2)
    with pytest.raises(
        ConfigError, match="control_points and horizon_ticks must be the teacher's, 12 and 32"
    ):
        Distilling(data, TrajectoryPrior.load(teacher), other, method, 20, 32)


def test_fewer_steps_than_phases_are_refused(data: Demonstrations, teacher: Path) -> None:
    method = DISTILLATIONS.create("progressive", teacher_steps=8)
    with pytest.raises(ConfigError, match="steps must be above 2, got 2"):
        Distilling(data, TrajectoryPrior.load(teacher), STUDENT, method, 2, 32)
