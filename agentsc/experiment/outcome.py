"""What became of a world's tasks and events, as a run's log keeps it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.experiment.log import Doubles, RunLog
from envs.navigation import NavigationGrid
from envs.story import Story
from envs.tasks import Shape, Sites
from envs.world import World


def outcome(log: RunLog, world: World, story: Story, grid: NavigationGrid) -> None:
    """Enter tasks and events into a log whose lanes have ended; a world without any leaves it as it is.

    | column | in a world with | is |
    |---|---|---|
    | ``tasks_done`` | a queue | goals served, by all agents |
    | ``coverage_collected``, ``coverage_best`` | sites | value collected, and the most with one site each |
    | ``formation_error_m``, ``formation_end_error_m`` | a shape | see `formation` |
    | ``agents_counted`` | events | agents that did not fail |

    The log's goals become the last ones. Trips to goals that changed on the way have no length.
    """
    if world.queue is not None:
        log.tasks_done = story.tasks_done
        log.at_goal = story.tasks_done > 0
        log.outcome["tasks_done"] = story.tasks_done.sum(1)
    if world.events is not None:
        log.failed = story.failed
        log.outcome["agents_counted"] = log.counted.sum(1)
    if world.queue is not None or world.moves_goals:
        changed = (story.goals != world.goals).any(-1) | (world.queue is not None)
        log.shortest = np.where(changed, np.nan, log.shortest)
        log.goals = story.goals
    if world.sites is not None:
        collected, best = coverage(world.sites, world, story.visited_tick, log.last_tick, grid)
        log.outcome |= {"coverage_collected": collected, "coverage_best": best}
    if world.shape is not None:
        whole, end = formation(world.shape, log)
        log.outcome |= {"formation_error_m": whole, "formation_end_error_m": end}


def coverage(
    sites: Sites, world: World, visited_tick: NDArray[np.int64], last_tick: NDArray[np.int64], grid: NavigationGrid
) -> tuple[Doubles, Doubles]:
    """Value collected, and the most that is to be had with one site for each agent, float64 [lane] each.

    Args:
        visited_tick: int64 [lane, site], -1 for never. last_tick: int64 [lane], when a lane ended.
        grid: for shortest ways; times along them are at full speed, less the goal tolerance.
    """
    there = (visited_tick >= 0) & (visited_tick <= last_tick[:, None])
    time_s = np.where(there, visited_tick * float(world.dt), np.inf)
    shape = (world.lanes, world.agents, sites.position.shape[1], 2)
    start = np.broadcast_to(world.starts[:, :, None], shape).reshape(-1, 2)
    spot = np.broadcast_to(sites.position[:, None], shape).reshape(-1, 2)
    way = grid.lengths(start, spot).reshape(shape[:3]).astype(np.float64)
    trip_s = np.maximum(way - world.goal_tolerance, 0.0) / world.v_max
    return sites.worth(time_s).sum(1), sites.best(trip_s)


def formation(shape: Shape, log: RunLog) -> tuple[Doubles, Doubles]:
    """Formation error of each lane, float64 [lane] each, metres: while nobody was in the gap, and at the end.

    The first is a mean over ticks, the start included, and NaN for a lane in which somebody always was.
    """
    whole, end = np.full((2, log.lanes), np.nan)
    for lane, last in enumerate(log.last_tick.tolist()):  # lane by lane: each has its own length
        path = log.positions[lane, : last + 1]
        error, counts = shape.error(lane, path), shape.outside(path)
        whole[lane] = error[counts].mean() if counts.any() else np.nan
        end[lane] = error[-1]
    return whole, end
