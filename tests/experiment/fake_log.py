"""Run logs small enough to work out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from agentsc.experiment.log import RunLog


def straight_log(lanes: int = 2, ticks: int = 8, **changes: Any) -> RunLog:
    """Two agents per lane walk 4 m along x at 1 m/s, 2 m apart; dt 0.5 s, so they arrive at tick 8.

    Agent 0 of every lane is twice as fast and waits at its goal from tick 4. Counters are zero
    unless given.
    """
    clock = np.arange(ticks + 1) * 0.5
    x = np.stack([np.minimum(2.0 * clock, 4.0), np.minimum(clock, 4.0)], axis=1)
    y = np.broadcast_to([0.0, 2.0], x.shape)
    path = np.stack([x, y], axis=-1).astype(np.float32)
    positions = np.repeat(path[None], lanes, axis=0)
    per_lane, per_agent = np.zeros(lanes, np.int64), np.zeros((lanes, 2), np.int64)
    values: dict[str, Any] = {
        "episodes": np.arange(lanes, dtype=np.int64),
        "dt": 0.5,
        "radius": 0.5,
        "separation": 1.0,
        "goal_tolerance": 0.01,
        "positions": positions,
        "goals": np.repeat(np.float32([[[4.0, 0.0], [4.0, 2.0]]]), lanes, axis=0),
        "starts": positions[:, 0].copy(),
        "finish_tick": np.full(lanes, 8, np.int64),
        "at_goal": np.ones((lanes, 2), bool),
        "min_pair": np.full(lanes, 2.0, np.float32),
        "collisions": per_agent,
        "obstacle_hits": per_agent.copy(),
        "shortest": np.full((lanes, 2), 4.0, np.float32),
        "packets": per_agent.copy(),
        "bits": per_agent.copy(),
        "silent_rounds": per_lane.copy(),
        "speaking_rounds": per_lane.copy(),
        "decisions": per_lane.copy(),
        "lost": per_lane.copy(),
        "wall_s": 1.0,
    }
    return RunLog(**(values | changes))
