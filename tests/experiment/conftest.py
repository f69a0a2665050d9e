"""A protocol and a runner that need no network: agents walk straight to their goals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

import agentsc.experiment.run as run_module
from agentsc.catalog import installed
from agentsc.experiment.config import RunConfig
from agentsc.experiment.log import Progress, ProgressCallback, RunLog
from envs.registry import Plugin, Registry
from envs.world import World

PROTOCOLS = Registry("protocols")


@PROTOCOLS.register("walk")
class Walk(Plugin):
    """Straight to the goal."""

    speed: float = 1.0
    needs_network: bool = False
    plans_once: ClassVar[bool] = False
    hosted: ClassVar[bool] = False
    restarts: ClassVar[bool] = False


def walk_lanes(
    config: RunConfig,
    world: World,
    *,
    progress: ProgressCallback | None = None,
    recorder: Mapping[int, Any] | None = None,
) -> RunLog:
    """A stand-in for the runner: straight lines at constant pace, arriving at the last tick."""
    ticks = world.max_ticks
    share = np.linspace(0.0, 1.0, ticks + 1, dtype=np.float32)[None, :, None, None]
    positions = world.starts[:, None] * (1 - share) + world.goals[:, None] * share
    lanes, agents = world.lanes, world.agents
    for tick in range(ticks):
        for lane, sink in (recorder or {}).items():
            sink.record(tick=tick, position=positions[lane, tick + 1])
        if progress is not None:
            progress(Progress(tick + 1, ticks, 0, lanes, 100 * (tick + 1), lanes * (tick + 1) * world.dt))
    nothing = np.zeros((lanes, agents), np.int64)
    return RunLog(
        episodes=world.episodes,
        dt=world.dt,
        radius=world.radius,
        separation=world.separation,
        goal_tolerance=world.goal_tolerance,
        positions=positions.astype(np.float32),
        goals=world.goals,
        starts=world.starts,
        finish_tick=np.full(lanes, ticks, np.int64),
        at_goal=np.ones((lanes, agents), bool),
        min_pair=np.full(lanes, 0.2, np.float32),
        collisions=nothing,
        obstacle_hits=nothing,
        shortest=np.linalg.norm(world.goals - world.starts, axis=-1),
        packets=nothing + 1,
        bits=nothing + 72,
    )


@pytest.fixture
def walking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Make ``walk`` the only protocol, run by `walk_lanes`; call it to put another runner in."""

    def use(runner: Any) -> None:
        module = ModuleType("agentsc.experiment.runner")
        module.run_lanes = runner  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "agentsc.experiment.runner", module)

    def find(kind: str) -> Registry:
        return PROTOCOLS if kind == "protocols" else installed(kind)

    monkeypatch.setattr(run_module, "installed", find)
    use(walk_lanes)
    return use
