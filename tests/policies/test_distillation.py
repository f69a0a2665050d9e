"""Distillation against closed forms: a small student learns the jumps that few steps of its teacher miss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from envs import keyed
from envs.errors import ConfigError
from policies.diffusion.distillation import DISTILLATIONS, Distillation, distillation_loss
from policies.diffusion.distillation.consistency import Consistency, boundary, neighbour_target
from policies.diffusion.distillation.progressive import Progressive, jump_target
from policies.diffusion.exact import GaussianMixturePrior, GaussianPrior
from policies.diffusion.process import Process
from policies.diffusion.process.cosine import CosineVP
from policies.diffusion.schedule import grid
from policies.diffusion.solvers import Denoise
from policies.diffusion.solvers.consistency import Consistency as ConsistencySolver
from policies.diffusion.solvers.ddim import DDIM

PROCESS = CosineVP()
MIXTURE = GaussianMixturePrior(
    torch.tensor([0.4, 0.6], dtype=torch.float64),
    torch.tensor([[-1.2], [0.8]], dtype=torch.float64),
    torch.tensor([[[0.04]], [[0.09]]], dtype=torch.float64),
)
ROWS = 128


class Tiny(nn.Module):
    """F(x, t) of one number, behind the boundary condition."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)
        ).double()

    def forward(self, x: torch.Tensor, t: float) -> torch.Tensor:
        clock = [math.cos(k * math.pi * t) for k in range(1, 6)]
        return self.body(torch.cat([x, x.new_tensor(clock).expand(len(x), 5)], dim=1))


def distil(method: Distillation, teacher: Denoise, steps: int, rate: float = 3e-3) -> Denoise:
    """The averaged student after ``steps`` optimiser steps shared by the phases."""
    torch.manual_seed(0)
    student, average = Tiny(), Tiny()
    average.load_state_dict(student.state_dict())
    optimiser = torch.optim.Adam(student.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(1)
    for phase in range(method.phases):
        intervals = method.intervals(PROCESS, phase)
        count = steps // method.phases
        for step in range(count):
            keys = keyed.hash_words(phase, step, np.arange(ROWS))
            x0 = MIXTURE.sample(keys)
            noise = torch.as_tensor(keyed.normal(keys, (1,), 7), dtype=torch.float64)
            losses = []
            for group in range(4):
                rows = slice(group * ROWS // 4, (group + 1) * ROWS // 4)
                pick = int(torch.randint(len(intervals), (1,), generator=generator))
                loss, _ = distillation_loss(
                    method, PROCESS, boundary(PROCESS, student), teacher, boundary(PROCESS, average),
                    x0[rows], noise[rows], intervals[pick],
                )  # fmt: skip
                losses.append(loss)
            for group_ in optimiser.param_groups:
                group_["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * step / count))
            optimiser.zero_grad()
            torch.cat(losses).mean().backward()
            optimiser.step()
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), student.parameters(), strict=True):
                    slow.lerp_(fast, max(0.02, 1.0 / (step + 1)))
        if phase + 1 < method.phases:
            learnt = Tiny()
            learnt.load_state_dict(average.state_dict())
            teacher = boundary(PROCESS, learnt)
            student.load_state_dict(average.state_dict())
    return boundary(PROCESS, average)


def error(denoise: Denoise, steps: int, power: float = 1.5) -> float:
    """Root mean square distance of DDIM's end points to those of the exact flow."""
    x = torch.as_tensor(keyed.normal(keyed.hash_words(99, np.arange(2000)), (1,)), dtype=torch.float64)
    exact = MIXTURE.flow(x, PROCESS, 1.0, 0.0)
    with torch.no_grad():
        reached = DDIM(eta=0.0).solve(PROCESS, denoise, x, grid(PROCESS, steps, "power", power=power))
    return float((reached - exact).square().mean().sqrt())


def test_progressive_distillation_reaches_in_two_steps_what_ddim_does_not() -> None:
    teacher = MIXTURE.denoiser(PROCESS)
    student = distil(Progressive(teacher_steps=8, student_steps=2), teacher, 1500)
    assert error(student, 2) < 0.25
    assert error(teacher, 2) > 0.4


def test_consistency_distillation_reaches_in_one_step_what_ddim_does_not_in_two() -> None:
    teacher = MIXTURE.denoiser(PROCESS)
    student = distil(Consistency(teacher_steps=8), teacher, 1500)
    assert error(student, 1) < 0.3
    assert error(teacher, 2) > 0.4 and error(teacher, 1) > 1.0
    # The function is meant for any time, so noising and jumping again stays on the data.
    x = torch.as_tensor(keyed.normal(keyed.hash_words(5, np.arange(2000)), (1,)), dtype=torch.float64)
    fresh = torch.as_tensor(keyed.normal(keyed.hash_words(6, np.arange(2000)), (1,)), dtype=torch.float64)
    with torch.no_grad():
        again = ConsistencySolver().solve(PROCESS, student, x, [1.0, 0.5, 0.0], lambda step, draw=0: fresh)
    left = float((again < -0.2).double().mean())
    assert abs(left - 0.4) < 0.06


@pytest.mark.parametrize("name", list(DISTILLATIONS))
def test_a_perfect_student_has_nothing_to_learn(name: str) -> None:
    """What the methods ask for is what the exact flow says: the fixed point of each loss."""
    prior = GaussianPrior(torch.tensor([0.3, -0.2]).double(), torch.diag(torch.tensor([1.0, 0.25])).double())
    x = torch.as_tensor(keyed.normal(keyed.hash_words(3, np.arange(64)), (2,)), dtype=torch.float64)
    consistent = prior.consistency(PROCESS)
    if name == "consistency":
        target = neighbour_target(PROCESS, prior.denoiser(PROCESS), consistent, x, [0.62, 0.6], "heun")
        torch.testing.assert_close(target, consistent(x, 0.62), rtol=0, atol=2e-5)
        end = neighbour_target(PROCESS, consistent, consistent, x, [0.4, 0.0])
        torch.testing.assert_close(end, consistent(x, 0.4), rtol=0, atol=0)
    else:
        # With an exact end point in hand, every jump of it composes to itself.
        target = jump_target(PROCESS, prior.denoiser(PROCESS), x, [0.6, 0.4, 0.2])
        one = DDIM(eta=0.0).solve(PROCESS, lambda *_: target, x, [0.6, 0.2])
        two = DDIM(eta=0.0).solve(PROCESS, prior.denoiser(PROCESS), x, [0.6, 0.4, 0.2])
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


@pytest.mark.parametrize("process", [CosineVP()])
def test_the_boundary_condition_is_exact(process: Process) -> None:
    x = torch.randn(5, 3, dtype=torch.float64)
    consistent = boundary(process, lambda x, t: torch.full_like(x, 1e6))
    assert torch.equal(consistent(x, 0.0), x)
    assert not torch.equal(consistent(x, 1e-3), x)


def test_grids_are_nested_and_every_interval_is_learnt() -> None:
    method = Progressive(teacher_steps=8, student_steps=2)
    assert method.phases == 2
    first, second = method.intervals(PROCESS, 0), method.intervals(PROCESS, 1)
    assert [len(interval) for interval in first + second] == [3] * 6
    ends = [interval[::2] for interval in first]
    walked = [ends[0][0], *(end for _, end in ends)]
    assert walked == pytest.approx([second[0][0], second[0][1], second[1][0], second[1][1], 0.0])
    assert second[0][0] == 1.0 and second[0][2] == pytest.approx(grid(PROCESS, 2, "power", power=1.5)[1])
    with pytest.raises(ConfigError, match="phase must be below 2"):
        method.intervals(PROCESS, 2)


@pytest.mark.parametrize(("teacher", "student"), [(6, 2), (2, 2), (4, 8), (5, 1)])
def test_steps_that_do_not_halve_are_refused(teacher: int, student: int) -> None:
    with pytest.raises(ConfigError, match="teacher_steps must be student_steps times a power of two"):
        _ = Progressive(teacher_steps=teacher, student_steps=student).phases
