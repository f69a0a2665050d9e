"""The complete joint search: against brute force on tiny graphs, and what becomes of its moves."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsc.protocol.joint.complete import Answer, search
from agentsc.protocol.joint.graph import Graph
from agentsc.protocol.joint.lattice import Lattice
from agentsc.protocol.joint.moves import Moves
from agentsc.protocol.joint.order import Course, needs
from agentsc.protocol.joint.search import Lead, plan, sound, thoroughly
from agentsc.protocol.joint.settle import Settler
from envs.geometry import Obstacles, segment_closest
from envs.keyed import hash_words
from envs.maps import write_map
from envs.scenarios import SCENARIOS
from envs.world import World

DISTANCE = 0.63


def world_of(picture: list[str], starts: list[tuple[int, int]], goals: list[tuple[int, int]]) -> World:
    """A grid map, # is blocked, and agents that go from cell to cell (column, row)."""
    blocked = np.array([[c == "#" for c in row] for row in picture])
    cells = np.float32([starts, goals])[:, None] + np.float32(0.5)
    return World(
        name="drawn", obstacles=Obstacles.from_grid(blocked), radius=0.3, v_max=1.0, a_max=np.inf, dt=0.25,
        dynamics="single", goal_tolerance=0.2, separation=0.6, max_ticks=400, cell=1.0,
        starts=cells[0], goals=cells[1], episodes=np.zeros(1, np.int64),
    )  # fmt: skip


def graph_of(world: World, parts: int = 1) -> tuple[Graph, np.ndarray, np.ndarray]:
    graph, (start, goal) = Graph.of(world, np.stack([world.starts[0], world.goals[0]]), DISTANCE, parts)
    return graph, start, goal


def blocking(graph: Graph) -> np.ndarray:
    """bool [edge, place]: nearer than the distance, from many points of each edge."""
    share = np.linspace(0.0, 1.0, 401)[:, None, None]
    a, b = graph.place[graph.ends[:, 0]].astype(float), graph.place[graph.ends[:, 1]].astype(float)
    points = a * (1 - share) + b * share
    away = np.linalg.norm(points[:, :, None] - graph.place, axis=-1).min(0)
    return away < graph.distance


def reachable(graph: Graph, start: np.ndarray, goal: np.ndarray) -> bool:
    """Breadth-first search over configurations, one agent moving at a time."""
    near = blocking(graph)
    seen, waiting = {tuple(start.tolist())}, deque([tuple(start.tolist())])
    while waiting:
        at = waiting.popleft()
        if at == tuple(goal.tolist()):
            return True
        for agent, place in enumerate(at):
            others = [p for k, p in enumerate(at) if k != agent]
            for edge, (a, b) in enumerate(graph.ends.tolist()):
                if place in (a, b) and not near[edge, others].any():
                    then = (*at[:agent], a + b - place, *at[agent + 1 :])
                    if then not in seen:
                        seen.add(then)
                        waiting.append(then)
    return False


def check(graph: Graph, start: np.ndarray, goal: np.ndarray, moves: Moves) -> None:
    """Each move is along its edge and clear of everybody, and they lead from start to goal."""
    near, at = blocking(graph), start.copy()
    for agent, edge, to in zip(moves.agent, moves.edge, moves.to, strict=True):
        assert {int(at[agent]), int(to)} == set(graph.ends[edge].tolist())
        assert not near[edge, np.delete(at, agent)].any()
        at[agent] = to
    np.testing.assert_array_equal(at, goal)


VERDICTS: list[str] = []


def agrees(graph: Graph, start: np.ndarray, goal: np.ndarray, seed: int) -> Answer:
    answer = search(graph, start, goal, (seed,))
    assert answer.verdict == ("found" if reachable(graph, start, goal) else "none")
    if answer.moves is not None:
        check(graph, start, goal, answer.moves)
        check(graph, start, goal, answer.moves.spared())
        assert len(answer.moves.spared()) <= len(answer.moves)
    VERDICTS.append(answer.verdict)
    return answer


def test_on_tiny_grids_it_finds_what_brute_force_finds_and_no_more() -> None:
    VERDICTS.clear()

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 2**31), st.integers(2, 4), st.integers(2, 3), st.integers(3, 4))
    def any_grid(seed: int, agents: int, rows: int, columns: int) -> None:
        rng = np.random.default_rng(seed)
        free = rng.random((rows, columns)) < 0.75
        cells = np.argwhere(free)[:, ::-1]
        if len(cells) < agents:
            return
        picture = ["".join(".#"[int(not c)] for c in row) for row in free]
        starts, goals = (rng.permutation(cells)[:agents].tolist() for _ in range(2))
        agrees(*graph_of(world_of(picture, starts, goals)), seed)

    any_grid()
    assert min(VERDICTS.count("found"), VERDICTS.count("none")) >= 25


def test_on_any_geometric_graph_too() -> None:
    """Places anywhere, so that edges cross and agents at rest block edges that do not end there."""
    VERDICTS.clear()

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 2**31), st.integers(2, 3), st.integers(5, 9))
    def any_graph(seed: int, agents: int, places: int) -> None:
        rng = np.random.default_rng(seed)
        place = rng.uniform(0.0, 2.2, (places, 2)).astype(np.float32)
        first, second = np.triu_indices(places, 1)
        joined = np.linalg.norm(place[first] - place[second], axis=-1) < 1.1
        graph = Graph.joined(place, np.stack([first, second], -1)[joined].astype(np.int32), 1.0, 0.5)
        if not len(graph.ends):
            return
        start, goal = (rng.permutation(places)[:agents].astype(np.int32) for _ in range(2))
        spots = np.stack([place[start], place[goal]])
        gap = np.linalg.norm(spots[:, :, None] - spots[:, None], axis=-1) + 9.0 * np.eye(agents)
        if abs(gap - graph.distance).min() < 1e-3 or gap.min() < graph.distance:
            return
        agrees(graph, start, goal, seed)

    any_graph()
    assert min(VERDICTS.count("found"), VERDICTS.count("none")) >= 25


def test_a_ring_that_is_full_cannot_turn_and_with_one_gap_it_can() -> None:
    ring = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    picture = ["...", ".#.", "..."]
    full = search(*graph_of(world_of(picture, ring, ring[1:] + ring[:1])), (0,))
    assert full.verdict == "none"
    gap = search(*graph_of(world_of(picture, ring[:-1], ring[1:])), (0,))
    assert gap.verdict == "found"


def test_it_says_when_rounds_run_out_and_when_there_is_no_way_at_all() -> None:
    corridor = world_of(["....."], [(0, 0), (4, 0)], [(4, 0), (0, 0)])
    assert search(*graph_of(corridor), (0,)).verdict == "none"
    assert search(*graph_of(corridor), (0,), rounds=6).verdict == "unknown"
    apart = world_of([".#."], [(0, 0)], [(2, 0)])
    assert search(*graph_of(apart), (0,)).verdict == "none"
    same = world_of(["..."], [(0, 0), (2, 0)], [(0, 0), (2, 0)])
    answer = search(*graph_of(same), (0,))
    assert answer.verdict == "found" and answer.moves is not None and len(answer.moves) == 0


TRADE = ["....#", "..#.#", "#.#..", ".###.", "....."]
"""A maze of dead ends, where planning one after the other fails."""


def trading(seed: int, agents: int = 4) -> World:
    cells = [(x, y) for y, row in enumerate(TRADE) for x, c in enumerate(row) if c == "."]
    start, goal = (
        [cells[k] for k in np.argsort(hash_words(seed, which, np.arange(len(cells))))[:agents]] for which in (0, 1)
    )
    return world_of(TRADE, start, goal)


@pytest.mark.parametrize("seed", range(6))
def test_its_moves_are_a_course_without_ties_and_safe_in_lockstep(seed: int) -> None:
    world = trading(seed)
    graph, start, goal = graph_of(world)
    answer = search(graph, start, goal, (seed,))
    assert answer.moves is not None
    check(graph, start, goal, answer.moves)
    route = answer.moves.spared().routes(world.v_max * world.dt)
    np.testing.assert_array_equal(route[[0, -1]], np.stack([world.starts[0], world.goals[0]]))
    assert needs(route, DISTANCE)[1] == (0, 0)
    course = Course.of(route, DISTANCE)
    assert course is not None and course.steps == len(route) - 1, "no waits had to be added"
    first, second = np.triu_indices(route.shape[1], 1)
    closest = segment_closest(route[:-1, first], route[1:, first], route[:-1, second], route[1:, second])
    assert closest.min() >= DISTANCE
    assert sound(world, route)


@pytest.mark.parametrize(("distance", "wait"), [(0.63, 0), (0.8, 1), (0.99, 1)])
def test_moves_that_come_close_keep_their_order_and_others_go_at_once(distance: float, wait: int) -> None:
    """A quarter of a metre per tick, one metre apart: three in a row need to wait if 0.75 m is too close."""
    world = world_of(["......", "######", "......"], [(2, 0), (1, 0), (0, 0), (0, 2)], [(5, 0), (4, 0), (3, 0), (3, 2)])
    graph, (start, goal) = Graph.of(world, np.stack([world.starts[0], world.goals[0]]), distance)
    answer = search(graph, start, goal, (0,))
    assert answer.moves is not None
    route = answer.moves.routes(world.v_max * world.dt)
    assert len(route) - 1 == 12 + 2 * wait
    left = (route != route[0]).any(-1).argmax(0)
    assert left.tolist() == [1, 1 + wait, 1 + 2 * wait, 1]
    assert needs(route, distance)[1] == (0, 0)


def test_a_needless_round_trip_is_left_out_and_one_that_gives_way_is_kept() -> None:
    graph, start, _ = graph_of(world_of([".....", "##.##"], [(2, 0), (0, 0)], [(2, 0), (4, 0)]))
    number = {tuple(spot): k for k, spot in enumerate((graph.place - 0.5).astype(int).tolist())}

    def moves(*steps: tuple[int, int, int]) -> Moves:
        at, edges, ends = start.tolist(), [], graph.ends.tolist()
        for agent, x, y in steps:
            pair = sorted((at[agent], number[x, y]))
            edges.append([sorted(e) for e in ends].index(pair))
            at[agent] = number[x, y]
        to = [number[x, y] for _, x, y in steps]
        return Moves(graph, start, np.array([s[0] for s in steps]), np.array(edges), np.array(to))

    aside = moves((0, 2, 1), (1, 1, 0), (1, 2, 0), (1, 3, 0), (0, 2, 0), (1, 4, 0))
    assert len(aside.spared()) == len(aside)
    idle = moves((0, 2, 1), (1, 1, 0), (0, 2, 0), (1, 0, 0), (1, 1, 0))
    assert idle.spared().agent.tolist() == [1]


def test_the_settler_finds_courses_where_planning_in_turn_fails() -> None:
    found = 0
    for seed in range(6):
        world = trading(seed)
        course = Settler(world, DISTANCE, 4, 4).course(world.starts[0], world.goals[0], (0, seed))
        again = Settler(world, DISTANCE, 4, 4).course(world.starts[0], world.goals[0], (0, seed))
        answer = search(*graph_of(world), (0, seed))
        if answer.verdict == "found":
            assert course is not None and again is not None
            np.testing.assert_array_equal(course.route, again.route)
            np.testing.assert_array_equal(course.route[-1], world.goals[0])
            found += 1
    assert found >= 3


def test_who_is_still_led_to_its_start_is_waited_for() -> None:
    world = trading(0)
    starts, goals = world.starts[0], world.goals[0]
    path = np.repeat(starts[None], 4, axis=0)
    path[:, 0, 0] += np.float32([0.15, 0.1, 0.05, 0.0])
    lead = Lead(path, np.array([3, 0, 0, 0]))
    routes = thoroughly(Lattice.of(world), starts, goals, (0, 0), 4, DISTANCE, lead)
    assert len(routes) >= 2
    for route in routes:
        np.testing.assert_array_equal(route[:4, 0], np.repeat(starts[:1], 4, axis=0))
        np.testing.assert_array_equal(route[-1], goals)
    np.testing.assert_array_equal(routes[-1][:4], np.repeat(starts[None], 4, axis=0))
    course = Settler(world, DISTANCE, 4, 4).course(starts, goals, (0, 0), 7, lead)
    assert course is not None and course.tick == 7 and course.covered.tolist() == [3, 0, 0, 0]
    np.testing.assert_array_equal(course.route[:4, 0], path[:, 0])


def test_central_search_falls_back_on_it() -> None:
    world = trading(0)
    lattice = Lattice.of(world)
    paths = plan(lattice, world.starts[0], world.goals[0], (0, 0), 2, 4)
    np.testing.assert_array_equal(paths[-1], world.goals[0])
    assert sound(world, paths)


@pytest.mark.parametrize(("scenario", "agents"), [("weave", 8), ("conveyor", 6)])
def test_starts_and_goals_off_the_grid_are_reached_exactly(scenario: str, agents: int) -> None:
    world = SCENARIOS.create(scenario, agents=agents).build(5, range(2))
    lattice = Lattice.of(world)
    for lane in range(2):
        routes = thoroughly(lattice, world.starts[lane], world.goals[lane], (5, lane), 2, 0.105)
        assert routes
        for route in routes:
            np.testing.assert_array_equal(route[[0, -1]], np.stack([world.starts[lane], world.goals[lane]]))
            assert sound(world, route)


def test_a_goal_a_little_off_a_cell_is_reached_from_that_cell_alone(tmp_path: Path) -> None:
    write_map(tmp_path / "open.map", np.zeros((3, 3), bool))
    world = SCENARIOS.create("movingai", map=str(tmp_path / "open.map"), agents=2).build(0, [0])
    world = replace(world, goals=world.starts[:, ::-1] + np.float32(0.01))
    graph, start, goal = graph_of(world)
    assert (np.diff(graph.first)[goal] == 1).all()
    assert search(graph, start, goal, (0,)).verdict == "found"
