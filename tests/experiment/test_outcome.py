"""Tasks and events in whole runs: who is told what, what counts, and that nothing depends on what runs beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_log import straight_log

from agentsc.actors.fleet import LocalFleet
from agentsc.experiment.config import resolve
from agentsc.experiment.log import RunLog
from agentsc.experiment.metrics import lane_rows, metrics
from agentsc.experiment.outcome import coverage, formation
from agentsc.experiment.run import prepare
from agentsc.experiment.runner import run_lanes
from agentsc.view.recording import Recorder, Recording, Scene
from envs.errors import ConfigError
from envs.events import Events
from envs.navigation import NavigationGrid
from envs.scenarios import SCENARIOS
from envs.tasks import Shape

QUIET = {"obstacles": 0, "doors": 0, "failures": 0, "joins": 0, "role_changes": 0, "window_s": 4.0}


def job_of(scenario: str, protocol: str = "orca", parameters: dict[str, Any] | None = None, **options: Any) -> Any:
    tree = {"scenario": {"name": scenario, **(parameters or {})}, "protocol": {"name": protocol}, "device": "cpu"}
    return prepare(resolve(None, {**tree, "seed": 4, "episodes": 2, **options}))


def log_of(*args: Any, **options: Any) -> RunLog:
    job = job_of(*args, **options)
    return run_lanes(job.config, job.world)


# ------------------------------------------------------------------------------------------ whole runs


@pytest.mark.parametrize("protocol", ["orca", "silent"])
def test_a_lifelong_run_counts_what_was_served_and_ends_at_its_limit(protocol: str) -> None:
    log = log_of("lifelong-warehouse", protocol, {"agents": 3, "service_ticks": 2}, ticks=220)
    assert log.tasks_done is not None and (log.finish_tick == -1).all() and log.positions.shape[1] == 221
    assert log.tasks_done.sum() >= 6
    rows = lane_rows(log)
    assert [row["tasks_done"] for row in rows] == log.tasks_done.sum(1).tolist()
    assert log.success.tolist() == ((log.tasks_done > 0).all(1) & log.collision_free).tolist()
    found = metrics(rows)
    assert found["tasks_per_agent_hour"]["mean"] == pytest.approx(log.tasks_done.sum() / (2 * 3 * 55 / 3600))
    for name in ("makespan_s", "path_length_ratio", "speed_score", "coverage_value", "formation_error_m"):
        assert found[name]["mean"] is None and found[name]["reason"], name
    # Each task was served: somewhere on its way the agent rested near that goal, in this order.
    world = SCENARIOS.create("lifelong-warehouse", agents=3, service_ticks=2).build(4, [0, 1])
    for lane in range(2):
        for agent in range(3):
            tick = 0
            for goal in world.queue.goals[lane, agent, : log.tasks_done[lane, agent]]:
                near = np.linalg.norm(log.positions[lane, tick:, agent] - goal, axis=-1) <= 0.2
                assert near.any()
                tick += int(near.argmax())


@pytest.mark.parametrize(
    ("scenario", "protocol", "parameters"),
    [
        ("surprise", "negotiated", {"agents": 5, "window_s": 4.0}),
        ("surprise", "rmader", {"agents": 5, "window_s": 4.0}),
        ("surprise", "orca", {}),
        ("lifelong-warehouse", "negotiated", {"agents": 3}),
        ("coverage", "orca", {"agents": 4, "sites": 6}),
        ("formation", "orca", {"agents": 3}),
    ],
)
def test_a_lane_with_tasks_or_events_does_not_notice_the_others(
    scenario: str, protocol: str, parameters: dict[str, Any]
) -> None:
    options = {"ticks": 90, "link": "erasure:p=0.2+delay:ms=150", "episodes": 3}
    together = log_of(scenario, protocol, parameters, **options)
    job = job_of(scenario, protocol, parameters, **options)
    alone = run_lanes(job.config, job.world.select([1]))
    assert alone.lane_digest(0) == together.lane_digest(1)
    mine, theirs = lane_rows(alone)[0], lane_rows(together)[1]
    assert {k: v for k, v in mine.items() if k != "episode"} == {k: v for k, v in theirs.items() if k != "episode"}


def test_agents_that_swap_goals_end_at_the_new_ones() -> None:
    log = log_of("surprise", "silent", {**QUIET, "agents": 4, "role_changes": 2})
    world = SCENARIOS.create("surprise", **{**QUIET, "agents": 4, "role_changes": 2}).build(4, [0, 1])
    assert (log.finish_tick > 8).all() and log.at_goal.all()
    assert not (log.goals == world.goals).all(-1).any()
    away = np.linalg.norm(log.positions[np.arange(2), log.finish_tick] - log.goals, axis=-1)
    assert away.max() <= log.goal_tolerance
    # The way to a goal that changed is not the shortest one from the start, so nothing is compared with it.
    assert all(row["path_length_ratio"] is None and row["speed_score"] is None for row in lane_rows(log))
    assert metrics(lane_rows(log))["flowtime_s"]["n"] == 2


class Ear(LocalFleet):
    """A fleet that notes what it is told and what its radios do."""

    notes: list[tuple[str, int, Any]] = []

    def retarget(self, goal: Any, tick: int) -> None:
        self.notes.append(("goal", tick, goal.copy()))
        super().retarget(goal, tick)

    def muster(self, alive: Any, tick: int) -> None:
        self.notes.append(("alive", tick, alive.copy()))
        super().muster(alive, tick)

    def round(self, inbox: Any, clock: int, deciding: bool) -> Any:
        packets = super().round(inbox, clock, deciding)
        self.notes.append(("heard", clock, np.unique(inbox.receiver)))
        self.notes.append(("said", clock, np.unique(packets.sender)))
        return packets


@pytest.mark.parametrize("protocol", ["negotiated", "orca", "mader"])
def test_who_failed_or_has_not_joined_is_deaf_and_dumb_and_ends_at_rest(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[tuple[str, int, Any]] = []
    monkeypatch.setattr("agentsc.experiment.runner.LocalFleet", Ear)
    monkeypatch.setattr(Ear, "notes", notes)
    parameters = {**QUIET, "agents": 5, "failures": 1, "joins": 1}
    job = job_of("surprise", protocol, parameters, episodes=1, ticks=110)
    events = job.world.events
    fail, join = (int(events.subject[events.kind == kind][0]) for kind in (1, 2))
    fails, joins = (int(events.tick[events.kind == kind][0]) for kind in (1, 2))
    log = run_lanes(job.config, job.world)
    assert [tick for kind, tick, _ in notes if kind == "alive"] == sorted({0, fails, joins})
    assert not [tick for kind, tick, _ in notes if kind == "goal"]
    for kind, clock, who in notes:
        if kind == "heard":
            assert not (fail in who and clock >= 2 * fails) and not (join in who and clock < 2 * joins)
    assert log.failed is not None and log.failed[0].nonzero()[0].tolist() == [fail]
    path = log.positions[0, :, [fail, join]]
    assert (path[1, : joins + 1] == path[1, 0]).all()
    rest = path[0, -1]
    # A committed plan lasts 32 ticks and may start 24 ahead; a vehicle without plans stops at once.
    assert (np.abs(path[0, fails + (1 if protocol == "orca" else 56) :] - rest) < 1e-3).all()
    rows = lane_rows(log)[0]
    assert rows["agents_counted"] == 4 and rows["unheard"] > 0
    # Nothing of the silent was charged to the radio.
    assert log.packets is not None
    said = [fail in who for kind, clock, who in notes if kind == "said" and clock < 2 * fails]
    assert log.packets[0, fail] == sum(said)
    assert rows["decisions"] == rows["delivered"] + rows["in_flight"]


def test_a_failed_agent_does_not_count_for_success() -> None:
    log = log_of("surprise", "silent", {**QUIET, "agents": 3, "failures": 2}, episodes=6)
    assert log.failed is not None and (log.failed.sum(1) == 2).all()
    assert (log.finish_tick > 0).all() and not log.at_goal.all()
    assert log.success.tolist() == log.collision_free.tolist() and log.success.any()
    assert metrics(lane_rows(log))["agent_success_rate"]["mean"] == 1.0


def test_a_protocol_that_plans_once_refuses_what_changes() -> None:
    for scenario in ("surprise", "lifelong-warehouse"):
        with pytest.raises(ConfigError, match=f"protocol central-search, which plans only once, got {scenario}"):
            job_of(scenario, "central-search")
    job_of("surprise", "central-search", QUIET)
    job_of("coverage", "central-search")


def test_late_boxes_are_crashed_into_by_those_who_do_not_look() -> None:
    parameters = {**QUIET, "agents": 8, "obstacles": 40, "first_s": 0.0, "window_s": 0.0}
    log = log_of("surprise", "orca", parameters, episodes=4)
    base = log_of("surprise", "orca", QUIET | {"agents": 8}, episodes=4)
    assert base.obstacle_hits.sum() == 0 and log.obstacle_hits.sum() > 0


# ------------------------------------------------------------------------------------------ closed forms


def test_coverage_in_closed_form() -> None:
    world = SCENARIOS.create("coverage", agents=1, sites=1, discount=0.5, spread=0).build(0, [0, 1, 2])
    grid = NavigationGrid(world.obstacles, world.radius, world.cell)
    visited, last = np.array([[16], [-1], [30]]), np.array([40, 40, 20])
    assert world.sites is not None
    collected, best = coverage(world.sites, world, visited, last, grid)
    assert collected[0] == pytest.approx(np.exp(-0.5 * 16 * 5 / 64)) and collected[1] == collected[2] == 0
    way = np.linalg.norm(world.sites.position[:, 0] - world.starts[:, 0], axis=-1)
    # The planning grid's ways are up to 8 % longer than straight ones.
    alone = np.exp(-0.5 * (way - 0.05) / 0.64)
    assert (best <= alone + 1e-6).all() and (best >= np.exp(-0.5 * (1.09 * way - 0.05) / 0.64)).all()


def test_formation_in_closed_form() -> None:
    # Two walkers 2 m apart across; the first is twice as fast, so at time t they are off by t along x.
    log = straight_log(lanes=1)
    shape = Shape(np.float32([[[0, 0], [0, 2]]]), gap=(0.9, -1.0, 1.6, 3.0))
    whole, end = formation(shape, log)
    error = np.array([min(2 * t, 4) - min(t, 4) for t in np.arange(9) / 2]) / 2
    # The first is in the gap at 0.5 s, the second at 1 s and 1.5 s.
    assert whole[0] == pytest.approx(error[[0, 4, 5, 6, 7, 8]].mean()) and end[0] == 0.0
    never, _ = formation(Shape(shape.offsets, gap=(-1, -1, 9, 9)), log)
    assert np.isnan(never[0])


def test_every_protocol_that_follows_goals_can_be_given_others() -> None:
    log = log_of("surprise", "prioritised", {**QUIET, "agents": 2, "role_changes": 1}, episodes=1)
    assert log.at_goal.all()


def test_rows_and_metrics_of_worlds_without_tasks_have_nothing_new() -> None:
    rows = lane_rows(straight_log())
    new = {"tasks_done", "agents_counted", "unheard", "coverage_best", "coverage_collected", "formation_error_m"}
    assert not new & set(rows[0])
    found = metrics(rows)
    for name in ("tasks_per_agent_hour", "coverage_value", "formation_error_m", "formation_end_error_m"):
        assert found[name]["mean"] is None and found[name]["reason"].startswith("the scenario")
    assert found["agent_success_rate"]["mean"] == 1.0


def test_tasks_in_rows_in_closed_form() -> None:
    log = straight_log(tasks_done=np.int64([[1, 2], [0, 3]]), finish_tick=np.full(2, -1))
    assert log.success.tolist() == [True, False]
    log.outcome["tasks_done"] = log.tasks_done.sum(1)
    # Six tasks in 2 lanes · 2 agents · 4 s.
    assert metrics(lane_rows(log))["tasks_per_agent_hour"]["mean"] == pytest.approx(6 * 3600 / 16)
    failed = straight_log(failed=np.array([[True, False], [False, False]]), at_goal=np.array([[False, True]] * 2))
    failed.outcome["agents_counted"] = failed.counted.sum(1)
    assert failed.success.tolist() == [True, False]
    assert metrics(lane_rows(failed))["agent_success_rate"]["mean"] == pytest.approx((1.0 + 0.5) / 2)


# --------------------------------------------------------------------------------------------- recordings


def test_a_recording_shows_what_changes(tmp_path: Any) -> None:
    parameters = {**QUIET, "agents": 4, "obstacles": 3, "failures": 1, "joins": 1, "role_changes": 1}
    job = job_of("surprise", "orca", parameters, episodes=1, ticks=90)
    tape = Recorder(Scene.of(job.world, 0, 2, {"scenario": "surprise", "episode": 0}))
    run_lanes(job.config, job.world, recorder={0: tape})
    track = Recording.load(tape.finish().save(tmp_path / "tape.npz"))
    ticks = track.ticks
    assert np.array_equal(track.scene.late, job.world.events.boxes[0]) and not len(track.scene.sites)
    assert np.array_equal(ticks[0].goals, job.world.goals[0]) and not np.array_equal(ticks[-1].goals, ticks[0].goals)
    assert ticks[0].alive.sum() == 3 and ticks[-1].alive.sum() == 3
    assert not np.array_equal(ticks[0].alive, ticks[-1].alive)
    assert set(np.unique([tick.late for tick in ticks]).tolist()) == {0, 1, 2}
    assert np.array_equal(track.frame(track.duration_s).late, ticks[-1].late)
    bare = Recorder(Scene.of(replace(job.world, events=None), 0, 2, {"episode": 0}))
    run_lanes(job.config, replace(job.world, events=None), recorder={0: bare})
    kept = bare.finish()
    assert kept.ticks[-1].goals is None and np.array_equal(kept.frame(1.0).goals, job.world.goals[0])
    assert kept.frame(1.0).alive.all()


def test_a_world_with_empty_events_is_the_world_without() -> None:
    job = job_of("surprise", "orca", QUIET, ticks=40)
    empty = Events(boxes=np.zeros((2, 0, 5), np.float32))
    assert not job.world.changes
    left = run_lanes(job.config, replace(job.world, events=empty))
    assert left.digest() == run_lanes(job.config, replace(job.world, events=None)).digest()
