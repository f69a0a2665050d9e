"""Grids of times: their ends, their order, their spacing, and the errors that name a field."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.errors import ConfigError
from policies.diffusion import PROCESSES
from policies.diffusion.process import Process
from policies.diffusion.schedule import Spacing, grid, with_returns

ALL: dict[str, Process] = {name: PROCESSES.create(name) for name in PROCESSES}
SPACINGS: tuple[Spacing, ...] = ("power", "angle", "log-snr", "karras")
every_process = pytest.mark.parametrize("process", ALL.values(), ids=ALL)
every_spacing = pytest.mark.parametrize("spacing", SPACINGS)


@every_process
@every_spacing
@given(
    steps=st.integers(1, 60),
    start=st.floats(0.2, 1.0),
    end=st.one_of(st.just(0.0), st.floats(0.001, 0.19)),
    power=st.floats(0.5, 3.0),
)
def test_grids_fall_strictly_from_start_to_end(
    process: Process, spacing: Spacing, steps: int, start: float, end: float, power: float
) -> None:
    times = grid(process, steps, spacing, start=start, end=end, power=power)
    assert len(times) == steps + 1 and times[0] == start and times[-1] == end
    assert all(t > s for t, s in pairwise(times))


@every_process
def test_spacings_are_even_in_what_they_are_called_after(process: Process) -> None:
    def even(values: list[float]) -> bool:
        gaps = [b - a for a, b in pairwise(values)]
        return max(gaps) - min(gaps) < 1e-6 * abs(sum(gaps))

    ends = {"start": 0.9, "end": 0.1}
    assert even(grid(process, 9, "power", **ends))
    assert even([t ** (1 / 2) for t in grid(process, 9, "power", start=0.9, power=2.0)])
    assert even([process.angle(t) for t in grid(process, 9, "angle", **ends)])
    assert even([process.log_snr(t) for t in grid(process, 9, "log-snr", **ends)])
    assert even([process.ratio(t) ** (1 / 7) for t in grid(process, 9, "karras", **ends)])


@every_process
@pytest.mark.parametrize("spacing", ["log-snr", "karras"])
def test_grids_that_cannot_reach_zero_stop_at_the_last_ratio(process: Process, spacing: Spacing) -> None:
    times = grid(process, 10, spacing, last_ratio=0.003)
    assert process.ratio(times[-2]) == pytest.approx(0.003) and times[-1] == 0.0


def test_the_angle_grid_of_the_cosine_schedule_is_even_in_time() -> None:
    assert grid(ALL["vp-cosine"], 4) == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, r"steps must be at least 1, got 0 \(denoising steps\)"),
        ({"start": 0.0}, r"start must be in \(0, 1\], got 0.0"),
        ({"start": 1.5}, r"start must be in \(0, 1\], got 1.5"),
        ({"start": math.nan}, r"start must be in \(0, 1\], got nan"),
        ({"start": 0.3, "end": 0.3}, r"end must be in \[0, start\), got 0.3 with start 0.3"),
        ({"end": -0.1}, r"end must be in \[0, start\), got -0.1"),
        ({"spacing": "log-snr", "start": 0.1, "last_ratio": 5.0}, "last_ratio must be below .* got 5"),
        ({"spacing": "karras", "last_ratio": 0.0}, "last_ratio must be positive, got 0"),
        ({"spacing": "karras", "rho": 0.0}, "rho must be positive, got 0"),
        ({"spacing": "power", "power": -1.0}, "power must be positive, got -1"),
        ({"spacing": "cosine"}, "spacing must be one of power, angle, log-snr, karras, got 'cosine'"),
    ],
)
def test_bad_grids_are_refused_by_name(options: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        grid(ALL["flow"], **{"steps": 5} | options)


def test_returns_go_back_and_walk_the_leg_again() -> None:
    walk = with_returns([1.0, 0.8, 0.6, 0.4, 0.2, 0.0], stride=2, repeats=2)
    assert walk == [1.0, 0.8, 0.6, 1.0, 0.8, 0.6, 0.4, 0.2, 0.6, 0.4, 0.2, 0.0, 0.2, 0.0]


@given(steps=st.integers(1, 20), stride=st.integers(1, 25), repeats=st.integers(1, 4))
def test_returns_walk_every_interval_so_often(steps: int, stride: int, repeats: int) -> None:
    times = grid(ALL["flow"], steps)
    walk = with_returns(times, stride, repeats)
    down = [(t, s) for t, s in pairwise(walk) if s < t]
    assert sorted(down) == sorted(repeats * list(pairwise(times)))
    assert walk[0] == times[0] and walk[-1] == times[-1]
    assert with_returns(times, stride, 1) == times


def test_returns_need_a_stride_and_a_number() -> None:
    for stride, repeats in ((0, 2), (2, 0)):
        with pytest.raises(
            ConfigError, match=f"stride and repeats must be at least 1, got {stride} and {repeats}"
        ):
            with_returns([1.0, 0.0], stride, repeats)
