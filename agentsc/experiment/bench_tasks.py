"""The pieces of a benchmark: some episodes of one cell, what is left to run, and running one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from agentsc.catalog import installed
from agentsc.experiment.suite import Plan
from envs.errors import ConfigError


class Task(NamedTuple):
    """Some episodes of one cell: number of the cell, its configuration as a tree, first episode, how many."""

    cell: int
    config: dict[str, Any]
    first: int
    episodes: int

    @property
    def kind(self) -> tuple[str, str]:
        """Scenario and protocol: tasks of one kind cost about the same per unit."""
        return self.config["scenario"]["name"], self.config["protocol"]["name"]

    @property
    def units(self) -> int:
        """A first idea of the work: agents × episodes."""
        return self.episodes * int(self.config["scenario"].get("agents") or 16)


def tasks_left(todo: Plan, have: Mapping[str, Mapping[int, Any]]) -> list[Task]:
    """What is left to run, the largest first: the last ones to end should be short."""
    tasks = []
    for number, cell in enumerate(todo.cells):
        missing = [k for k in range(todo.suite.seeds) if k not in have.get(cell.key, {})]
        tree = cell.config.tree()
        while missing:
            first = missing[0]
            count = 1
            while count < min(todo.suite.lanes, len(missing)) and missing[count] == first + count:
                count += 1  # consecutive numbers only
            tasks.append(Task(number, tree, first, count))
            missing = missing[count:]
    return sorted(tasks, key=lambda task: -_weight(task))


def _weight(task: Task) -> float:
    """A first idea of the CPU time of a task, before anything was measured."""
    protocol = installed("protocols").create(task.config["protocol"]["name"])
    # Sampling, and a search for everybody, cost some twenty times as much as a reactive rule.
    return task.units * (20.0 if protocol.needs_network or protocol.oracle else 1.0)


def run_task(task: Task) -> list[dict[str, Any]]:
    """Rows of some episodes of one cell; what a worker does.

    Raises:
        ConfigError: the cell is impossible (agents do not fit, a file is missing).
    """
    from agentsc.experiment.config import RunConfig
    from agentsc.experiment.metrics import lane_rows
    from agentsc.experiment.run import prepare
    from agentsc.experiment.runner import run_lanes

    cpu, wall = time.process_time(), time.perf_counter()
    config = RunConfig.model_validate(task.config | {"episodes": task.episodes, "first_episode": task.first})
    job = prepare(config)
    log = run_lanes(job.config, job.world)
    rows = lane_rows(log)
    spent = {
        "time_cpu_s": (time.process_time() - cpu) / task.episodes,
        "time_wall_s": (time.perf_counter() - wall) / task.episodes,
        "time_network_s": None if log.network_s is None else log.network_s / task.episodes,
    }
    return [row | spent for row in rows]


def failures(task: Task, error: Exception) -> list[dict[str, Any]]:
    """Rows of episodes that could not be run: failures that stay in every denominator."""
    kind = "impossible" if isinstance(error, ConfigError) else type(error).__name__
    reason = " ".join(f"{kind}: {error}".split())[:500]
    blank = {"status": "failed", "reason": reason, "success": False, "collision_free": None}
    return [{"episode": task.first + k} | blank for k in range(task.episodes)]


def probe(task: Task) -> float:
    """CPU seconds per agent and episode: a few ticks of a few episodes, scaled to the way there is to go."""
    from agentsc.experiment.config import RunConfig
    from agentsc.experiment.run import prepare
    from agentsc.experiment.runner import run_lanes

    lanes, ticks = min(task.episodes, 4), 12
    job = prepare(RunConfig.model_validate(task.config | {"episodes": lanes, "ticks": ticks}))
    run_lanes(job.config, job.world.select(slice(0, 1)))  # so that what is loaded once does not count
    cpu = time.process_time()
    run_lanes(job.config, job.world)
    cpu = time.process_time() - cpu
    way = ((job.world.goals - job.world.starts) ** 2).sum(-1) ** 0.5
    likely = 1.6 * float(way.max(1).mean()) / (job.world.v_max * job.world.dt)
    limit = task.config["ticks"] or 16 * likely
    return cpu / ticks / (lanes * job.world.agents) * min(likely, limit)
