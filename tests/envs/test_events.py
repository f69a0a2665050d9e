"""Events: what is refused, and what the arena makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.arena import Arena
from envs.errors import ConfigError
from envs.events import BOX, DIE, FAIL, GOAL, JOIN, PLAN_TICKS, START, Events, LateMaps
from envs.geometry import Obstacles, box_distance
from envs.scenarios import SCENARIOS
from envs.scenarios.surprise import doors, floor, spare_doors
from envs.tasks import GoalQueue, Sites
from envs.world import World

BOUNDS = (-10.0, -10.0, 10.0, 10.0)


def world_of(events=None, lanes=1, **changes) -> World:
    """Three agents of radius 0.3 in a square; velocities are commands, 0.25 s a tick."""
    starts = np.float32([[-5, 0], [0, 4], [0, -4]])[None].repeat(lanes, 0)
    goals = np.float32([[5, 0], [5, 4], [5, -4]])[None].repeat(lanes, 0)
    values = {
        "name": "test", "obstacles": Obstacles((), BOUNDS), "radius": 0.3, "v_max": 1.0, "a_max": np.inf, "dt": 0.25,
        "dynamics": "single", "goal_tolerance": 0.2, "separation": 0.6, "max_ticks": 200, "cell": 1.0,
        "starts": starts, "goals": goals, "episodes": np.arange(lanes), "events": events,
    }  # fmt: skip
    return World(**(values | changes))


def events_of(*rows, boxes=(), lanes=1, **options) -> Events:
    """Rows (tick, lane, kind, subject[, x, y]) and the same boxes in every lane."""
    table = np.array([(*row, np.nan, np.nan)[:6] for row in rows], float).reshape(-1, 6)
    tick, lane, kind, subject = table[:, :4].T.astype(np.int64)
    late = np.array(boxes, np.float32).reshape(-1, 5)[None].repeat(lanes, 0)
    return Events(tick, lane, kind, subject, table[:, 4:].astype(np.float32), late, **options)


def still(world: World) -> np.ndarray:
    return np.zeros_like(world.starts)


def drive(arena: Arena, ticks: int, **velocities) -> list:
    """Steps with some agents (``a0=(vx, vy)``) under way in all lanes."""
    command = np.zeros_like(arena.position)
    for name, velocity in velocities.items():
        command[:, int(name[1:])] = velocity
    return [arena.step(command) for _ in range(ticks)]


# ---------------------------------------------------------------------------------------- geometry


def test_the_distance_to_one_box_is_the_distance_of_its_map():
    rng = np.random.default_rng(1)
    points = rng.uniform(-3, 3, (50, 2)).astype(np.float32)
    for box in ([0.5, -0.5, 1.0, 0.3, 0.1], [0, 0, 0.4, 0.4, 0.4], [1, 1, 0.2, 2, 0]):
        obstacles = Obstacles([box], cutoff=50.0)
        assert np.allclose(box_distance(points, np.float32(box)), obstacles.signed_distance(points), atol=1e-5)


def test_maps_hold_what_the_mask_names_and_are_built_once():
    base = Obstacles([[3, 3, 0.5, 0.5, 0]], BOUNDS)
    boxes = np.float32([[[0, 0, 1, 1, 0], [5, 0, 1, 1, 0]], [[0, 0, 1, 1, 0], [-5, 0, 1, 1, 0]]])
    maps = LateMaps(base, boxes)
    none, first = np.array([False, False]), np.array([True, False])
    assert maps.of(0, none) is base
    assert maps.of(0, first) is maps.of(0, first) is maps.of(1, first)  # equal boxes, equal map
    both = maps.of(1, np.array([True, True]))
    assert both.signed_distance([[-5, 0], [5, 0], [3, 3]]).tolist() == pytest.approx([-1, 2, -0.5])
    assert both is not maps.of(0, np.array([True, True]))


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: events_of((0, 0, 7, 0)), "one of box, fail, join, goal"),
        (lambda: events_of((-1, 0, FAIL, 0)), "start at tick 0 or later"),
        (lambda: events_of((0, 0, GOAL, 0, 1, 1)), "change goals at tick 1 or later"),
        (lambda: replace(events_of((1, 0, FAIL, 0)), lane=np.zeros(2, int)), "columns of one length"),
        (lambda: events_of((99, 0, BOX, 0), boxes=[[0, 0, 1, 1, 0]], notice_ticks=55), "at least 56"),
        (lambda: events_of((55, 0, BOX, 0), boxes=[[0, 0, 1, 1, 0]]), "full notice of boxes"),
        (lambda: events_of(sense_m=0), "sense_m must be positive"),
        (lambda: world_of(events_of((1, 1, FAIL, 0))), "name one of 1 lanes"),
        (lambda: world_of(events_of((1, 0, FAIL, 3))), "3 agents"),
        (lambda: world_of(events_of((60, 0, BOX, 1), boxes=[[0, 0, 1, 1, 0]])), "1 boxes"),
        (lambda: world_of(events_of((1, 0, GOAL, 0))), "goal must be finite"),
        (lambda: world_of(events_of((1, 0, JOIN, 0), (2, 0, JOIN, 0))), "one event of kind join"),
        (lambda: world_of(events_of((1, 0, DIE, 0), (1, 0, START, 0))), "once per tick at most"),
        (lambda: world_of(events_of((60, 0, BOX, 0), boxes=[[-5, 1, 1, 0.8, 0]])), "keep 0.3 m from starts and goals"),
        (lambda: world_of(events_of(lanes=2)), r"boxes must be \[1, boxes, 5\]"),
    ],
)
def test_events_that_make_no_sense_are_refused(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


def test_goals_change_for_one_reason_only():
    change = events_of((3, 0, GOAL, 0, 1, 1))
    queue = GoalQueue(np.stack([world_of().goals, world_of().starts], 2))
    with pytest.raises(ConfigError, match="leave goals alone"):
        world_of(change, queue=queue)
    spots = np.zeros((1, 1, 2), np.float32)
    with pytest.raises(ConfigError, match="leave goals alone"):
        world_of(change, sites=Sites(spots, np.ones((1, 1)), np.ones((1, 1))))
    with pytest.raises(ConfigError, match="must be the first ones of world.queue"):
        world_of(goals=world_of().starts, queue=queue)


def test_plan_ticks_is_what_the_shipped_plans_can_last():
    from agentsc.protocol.variants.negotiated import MAX_LEAD
    from policies.trajectory.presets import PRIORS

    assert MAX_LEAD + max(PRIORS.create(name).horizon_ticks for name in PRIORS) <= PLAN_TICKS


# ------------------------------------------------------------------------------------ goals and agents


def test_without_events_nothing_is_ever_another_object():
    arena = Arena(world_of())
    goals, alive = arena.goals, arena.alive
    drive(arena, 5, a0=(1, 0))
    assert arena.goals is goals and arena.alive is alive and arena.story.settled.all()
    assert arena.known_boxes().shape == (1, 3, 0) and alive.all()


def test_a_goal_changes_at_its_tick_in_its_lane():
    arena = Arena(world_of(events_of((3, 1, GOAL, 2, 0, -4), lanes=2), lanes=2))
    before = arena.goals
    steps = drive(arena, 2)
    assert arena.goals is before and not arena.story.settled[1] and arena.story.settled[0]
    steps += drive(arena, 1)
    assert not steps[-1].at_goal.any()  # what counted in the tick that ends now
    assert arena.goals[1, 2].tolist() == [0, -4] and np.array_equal(arena.goals[0], before[0])
    assert drive(arena, 1)[0].at_goal.tolist() == [[False] * 3, [False, False, True]]
    assert arena.story.settled.all() and np.array_equal(before[1], before[0])


def test_who_has_not_joined_does_not_move_and_who_failed_does():
    arena = Arena(world_of(events_of((4, 0, JOIN, 0), (2, 0, FAIL, 1))))
    assert arena.alive.tolist() == [[False, True, True]]
    drive(arena, 2, a0=(1, 0), a1=(1, 0))
    assert arena.position[0, 0].tolist() == [-5, 0] and not arena.velocity[0, 0].any()
    assert arena.alive.tolist() == [[False, False, True]] and arena.story.failed.tolist() == [[False, True, False]]
    drive(arena, 2, a0=(1, 0), a1=(1, 0))
    # A failed agent drives on as it is commanded; the one that joins moves from its tick on.
    assert arena.position[0, :2].tolist() == [[-5, 0], [1, 4]]
    assert arena.alive.tolist() == [[True, False, True]]
    drive(arena, 1, a0=(1, 0))
    assert arena.position[0, 0].tolist() == [-4.75, 0]


def test_processes_die_start_again_and_come_late():
    arena = Arena(world_of(events_of((2, 0, DIE, 0), (4, 0, START, 0), (3, 0, START, 1), (4, 0, DIE, 1))))
    running = [arena.running]
    for _ in range(5):
        drive(arena, 1, a0=(1, 0))
        running.append(arena.running)
    assert [each[0].tolist() for each in running] == [
        [True, False, True], [True, False, True], [False, False, True], [False, True, True], [True, False, True],
        [True, False, True],
    ]  # fmt: skip
    assert running[1] is running[0] and arena.alive.all(), "their vehicles go on"
    assert arena.position[0, 0].tolist() == [-3.75, 0]


def test_a_goal_is_served_after_a_rest_and_then_the_next_one_counts():
    first = world_of().goals
    queue = GoalQueue(np.stack([first, first + np.float32([0, 1])], 2), service_ticks=3)
    arena = Arena(world_of(queue=queue, starts=first - np.float32([0.5, 0])))
    assert drive(arena, 2, a0=(1, 0))[-1].at_goal.tolist() == [[True, False, False]]
    goals = arena.goals
    drive(arena, 2)
    assert arena.tasks_done.tolist() == [[0, 0, 0]] and arena.goals is goals
    drive(arena, 1)
    assert arena.tasks_done.tolist() == [[1, 0, 0]] and arena.goals[0, 0].tolist() == [5, 1]
    assert arena.goals[0, 1].tolist() == [5, 4] and not arena.story.settled.any()
    # A rest that is broken starts again, and passing by is none.
    drive(arena, 4, a0=(0, 1))
    drive(arena, 2)
    drive(arena, 1, a0=(0, 0.3))
    drive(arena, 2)
    assert arena.tasks_done[0, 0] == 1
    drive(arena, 1)
    assert arena.tasks_done[0, 0] == 2 and arena.goals[0, 0].tolist() == [5, 0]


def test_sites_count_when_somebody_rests_there_and_anybody_may():
    spots = np.float32([[[-4.5, 0], [0, 4]]])
    sites = Sites(spots, np.ones((1, 2)), np.full((1, 2), np.inf))
    arena = Arena(world_of(sites=sites))
    step = drive(arena, 1)[0]
    assert step.at_goal.tolist() == [[False, True, False]]
    assert arena.story.visited_tick.tolist() == [[-1, 1]]
    step = drive(arena, 2, a0=(1, 0))[-1]
    # All sites have an agent: the third is where it should be anywhere. But nobody rests at the first one yet.
    assert step.at_goal.all() and arena.story.visited_tick.tolist() == [[-1, 1]]
    drive(arena, 1)
    assert arena.story.visited_tick.tolist() == [[4, 1]]


# ---------------------------------------------------------------------------------------- late boxes

BAR = [0, 0, 0.5, 1.0, 0]


def test_a_box_is_announced_seen_and_then_solid():
    arena = Arena(world_of(events_of((70, 0, BOX, 0), boxes=[BAR], sense_m=4.0)))
    drive(arena, 13)
    assert not arena.story.visible.any() and not arena.known_boxes().any()
    drive(arena, 1)
    # Announced at tick 14: agent 1 and 2 are 3 m from it, agent 0 is 4.5 m away.
    assert arena.story.visible.all() and not arena.story.solid.any()
    assert arena.known_boxes()[0, :, 0].tolist() == [False, True, True]
    drive(arena, 2, a0=(1, 0), a1=(0, 1))
    drive(arena, 5, a1=(0, 1))
    assert arena.known_boxes()[0, :, 0].tolist() == [True, True, True]  # once seen, it is known
    drive(arena, 48)
    assert not arena.story.solid.any() and drive(arena, 1)[0].clearance[0] > 1
    assert arena.tick == 70 and arena.story.solid.all()
    crashed = np.array([step.crashed[0, 0] for step in drive(arena, 40, a0=(1, 0))])
    # From -4.5 the rim meets the bar after 3.7 m, in the fifteenth tick, and is clear of it after 5.3 m.
    assert crashed[14:].tolist() == [True] * 8 + [False] * 18 and not crashed[:14].any()


def test_a_box_that_nobody_announced_never_comes():
    arena = Arena(world_of(events_of((1, 0, FAIL, 2), boxes=[BAR])))
    drive(arena, 100)
    assert not arena.story.visible.any() and not arena.story.solid.any() and not arena.known_boxes().any()


def test_a_box_waits_until_nobody_is_where_it_closes_nor_may_be_a_tick_later():
    world = world_of(events_of((60, 0, BOX, 0), (1, 0, FAIL, 0), boxes=[BAR]))
    arena = Arena(world)
    drive(arena, 20, a0=(1, 0))  # a failed agent on its way, which ends in the middle
    drive(arena, 60)
    assert arena.story.visible.all() and not arena.story.solid.any() and arena.tick == 80
    steps = drive(arena, 4, a0=(1, 0))  # its rim has left the bar by 0.2 m
    assert not arena.story.solid.any()
    steps += drive(arena, 1, a0=(1, 0))
    assert arena.story.solid.all() and not any(step.crashed.any() for step in steps + drive(arena, 5))


def test_boxes_stand_in_their_own_lane_only():
    arena = Arena(world_of(events_of((60, 1, BOX, 0), boxes=[BAR], lanes=2), lanes=2))
    steps = drive(arena, 60) + drive(arena, 20, a0=(1, 0))
    assert arena.story.solid[:, 0].tolist() == [False, True]
    assert np.array([step.crashed[:, 0] for step in steps]).any(0).tolist() == [False, True]
    alone = Arena(world_of(events_of((60, 0, BOX, 0), boxes=[BAR])))
    again = drive(alone, 60) + drive(alone, 20, a0=(1, 0))
    for together, single in zip(steps, again, strict=True):
        assert together.clearance[1] == single.clearance[0]
        assert np.array_equal(together.crashed[1], single.crashed[0])


def test_a_thin_box_cannot_be_jumped_over_within_a_tick():
    thin = [-3.0, 0, 0.01, 1.0, 0]
    arena = Arena(world_of(events_of((60, 0, BOX, 0), boxes=[thin]), radius=0.05, separation=0.1))
    drive(arena, 60)
    drive(arena, 1, a0=(0.5, 0))
    steps = drive(arena, 9, a0=(1, 0))  # ends of ticks at ±0.125 of the box, outside of touching
    assert sum(step.crashed[0, 0] for step in steps) == 1


@pytest.mark.parametrize("dynamics", ["single", "double"])
def test_lanes_with_events_do_not_see_each_other(dynamics):
    scenario = SCENARIOS.create("surprise", dynamics=dynamics)
    together, alone = scenario.build(2, [3, 8, 5]), scenario.build(2, [8])
    picked = together.select([1])
    for name in ("tick", "lane", "kind", "subject", "boxes"):
        assert np.array_equal(getattr(picked.events, name), getattr(alone.events, name)), name
    assert np.array_equal(picked.events.goal, alone.events.goal, equal_nan=True)
    many, one = Arena(together), Arena(alone)
    rng = np.random.default_rng(0)
    for _ in range(150):
        command = rng.normal(size=many.position.shape).astype(np.float32)
        step, single = many.step(command), one.step(command[1:2])
        assert step.clearance[1] == single.clearance[0] and np.array_equal(step.crashed[1], single.crashed[0])
    for name in ("goals", "alive", "known", "solid", "failed"):
        assert np.array_equal(getattr(many.story, name)[1:2], getattr(one.story, name)), name
    assert one.story.solid.any() and one.story.failed.any() and not np.array_equal(one.goals, alone.goals)


# ---------------------------------------------------------------------------------- the scenario surprise


def test_surprises_are_as_many_as_asked_for_and_nobody_has_two():
    options = {"agents": 12, "obstacles": 5, "doors": 3, "failures": 2, "joins": 3, "role_changes": 2}
    world = SCENARIOS.create("surprise", **options).build(0, range(6))
    for lane in range(6):
        mine = world.events.lane == lane
        kind, subject, tick = (getattr(world.events, name)[mine] for name in ("kind", "subject", "tick"))
        assert np.bincount(kind, minlength=4).tolist() == [8, 2, 3, 4]
        people = subject[kind != BOX]
        assert len(set(people.tolist())) == len(people)
        assert (tick[kind == BOX] >= 64).all() and (tick[kind == BOX] <= 64 + 60).all()
        assert (tick[kind != BOX] >= 8).all() and (tick[kind != BOX] <= 68).all()
        # A role change is a swap: after all of them the goals are the same set.
        goals = world.goals[lane].copy()
        swapped = subject[kind == GOAL]
        goals[swapped] = world.events.goal[mine][kind == GOAL]
        assert sorted(map(tuple, goals.tolist())) == sorted(map(tuple, world.goals[lane].tolist()))
        assert (goals[swapped] != world.goals[lane][swapped]).any(1).all()


def test_every_restart_of_surprise_follows_a_death():
    world = SCENARIOS.create("surprise", agents=8, restarts=3, down_s=2.0).build(0, range(3))
    for lane in range(3):
        rows = world.events.lane == lane
        dies, starts = (
            {int(who): int(tick) for who, tick in zip(world.events.subject[mine], world.events.tick[mine], strict=True)}
            for mine in (rows & (world.events.kind == kind) for kind in (DIE, START))
        )
        assert len(dies) == 3 and {who: tick + 8 for who, tick in dies.items()} == starts
        failing = world.events.subject[rows & np.isin(world.events.kind, (FAIL, JOIN, GOAL))]
        assert not set(failing.tolist()) & set(dies)


def test_surprises_at_the_very_start_are_sound():
    world = SCENARIOS.create("surprise", first_s=0, window_s=0).build(0, [0])
    tick, kind = world.events.tick, world.events.kind
    assert (tick[kind == BOX] == PLAN_TICKS).all() and (tick[kind == GOAL] == 1).all()
    # Who fails at the start never was there; who joins does so a tick later.
    assert (~Arena(world).alive).sum() == 2


def test_every_room_stays_reachable_whatever_comes():
    from envs.navigation import NavigationGrid

    world = SCENARIOS.create("surprise", agents=16, obstacles=8, doors=9).build(4, range(12))
    maps = LateMaps(world.obstacles, world.events.boxes)
    for lane in range(12):
        ways = NavigationGrid(maps.of(lane, np.ones(17, bool)), world.radius, world.cell)
        assert np.isfinite(ways.lengths(world.starts[lane], world.goals[lane])).all()


def test_twenty_four_doors_of_which_nine_can_be_spared():
    cells, joined = doors()
    assert cells.shape == (24, 2, 2) and joined.shape == (24, 2)
    assert not floor().blocked[cells[..., 1], cells[..., 0]].any()
    assert len({tuple(pair) for pair in joined.tolist()}) == 24
    for seed in range(20):
        assert len(spare_doors(np.random.default_rng(seed).permutation(24), 24)) == 9


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"agents": 3}, "scenario.surprise.agents must be at least 4"),
        ({"obstacles": 60, "agents": 200, "failures": 0, "joins": 0}, "scenario.surprise.obstacles must be at most"),
        ({"doors": 10}, "scenario.surprise.doors"),
        ({"notice_ticks": 10}, "scenario.surprise.notice_ticks"),
    ],
)
def test_surprises_that_do_not_fit_are_refused(wrong, says):
    with pytest.raises(ConfigError, match=says):
        SCENARIOS.create("surprise", **wrong).build(0, [0])
