"""Planning over a map that every row knows in its own way: nobody plans to be where it has not seen it to be free."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

import agentsc
from agentsc.actors.fleet import LocalFleet
from agentsc.experiment.runner import nearest
from agentsc.links.medium import Medium
from agentsc.mapping.service import MapService, MapView
from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.terrain import Terrain
from envs.arena import Arena
from envs.geometry import Obstacles
from envs.navigation import NavigationGrid
from envs.scenarios import SCENARIOS
from envs.unknown import draw

RADIUS = 0.3
QUICK = {"samples": 4, "belief_samples": 2, "neighbours": 2}


def terrain_of(cells: np.ndarray, goals: np.ndarray, chance: np.ndarray | None = None) -> Terrain:
    """Rows that know ``cells`` [row, R, C]."""
    rows, high, wide = cells.shape
    obstacles = Obstacles((), (0.0, 0.0, float(wide), float(high)))
    grid = NavigationGrid(obstacles, RADIUS, 1.0)
    made = Terrain(grid, obstacles, 1.4 * RADIUS, 8.0, goals.astype(np.float32))
    chance = np.zeros(cells.shape, np.float32) if chance is None else chance
    every = np.arange(rows)
    made.learn(every, MapView(cells[None], chance[None]), np.zeros(rows, np.int64), every)
    return made


def dijkstra(cells: np.ndarray, toll: np.ndarray, goal: tuple[int, int]) -> np.ndarray:
    """What the kernel's field is, by another algorithm."""
    found = np.full(cells.shape, np.inf)
    found[goal] = 0.0
    heap = [(0.0, goal)]
    while heap:
        cost, (r, c) = heapq.heappop(heap)
        if cost > found[r, c]:
            continue
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                i, j = r + dr, c + dc
                if not (0 <= i < cells.shape[0] and 0 <= j < cells.shape[1]) or (dr == 0 and dc == 0):
                    continue
                if cells[i, j] == 1 or cells[r, j] == 1 or cells[i, c] == 1:
                    continue
                way = cost + np.hypot(dr, dc) * 0.5 * (toll[r, c] + toll[i, j])
                if way < found[i, j] - 1e-9:
                    found[i, j] = way
                    heapq.heappush(heap, (way, (i, j)))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_fields_are_shortest_ways_over_what_is_not_known_to_be_filled(seed: int) -> None:
    rng = np.random.default_rng(seed)
    filled = draw("rooms", seed)
    cells = np.where(rng.random(filled.shape) < 0.5, filled, -1).astype(np.int8)[None]
    chance = rng.random(cells.shape).astype(np.float32)
    free = np.argwhere(cells[0] != 1)
    row, column = free[rng.integers(len(free))]
    made = terrain_of(cells, np.array([[column + 0.5, row + 0.5]]), chance)
    expected = dijkstra(cells[0], made.toll[0], (int(row), int(column)))
    assert np.allclose(made.fields[0].reshape(filled.shape), expected, atol=1e-2)
    # The likelier an unknown cell is filled, the more it costs; known ones cost what they are long.
    unknown = cells[0] < 0
    order = np.argsort(chance[0][unknown])
    assert (np.diff(made.toll[0][unknown][order]) >= 0).all() and (made.toll[0][cells[0] == 0] == 1.0).all()


def test_a_disc_is_clear_only_where_all_that_it_touches_is_known_to_be_free() -> None:
    cells = np.full((1, 6, 6), 0, np.int8)
    cells[0, 2, 3], cells[0, 4, 1] = 1, -1
    made = terrain_of(cells, np.array([[0.5, 0.5]]))
    rng = np.random.default_rng(0)
    start, end = rng.uniform(0.2, 5.8, (2, 400, 1, 2))
    share = np.linspace(0.0, 1.0, 9)[:, None]
    path = (start + share * (end - start) * 0.3).astype(np.float32)
    rows = np.zeros(len(path), np.int64)
    clear = made.clear(rows, path, RADIUS)
    fine = path[:, :1] + np.linspace(0, 1, 200, dtype=np.float32)[:, None] * (path[:, -1:] - path[:, :1])
    low = np.array([[3.0, 2.0], [1.0, 4.0]])  # corners of the two cells that are not free
    away = np.maximum(np.maximum(low - fine[:, :, None], fine[:, :, None] - low - 1.0), 0.0)
    gap = np.linalg.norm(away, axis=-1).min((1, 2))
    assert not (clear & (gap < RADIUS)).any()  # never wrong
    assert (clear | (gap < RADIUS + 0.05)).all()  # and hardly ever too careful
    assert clear.any() and not clear.all()


def test_routes_end_where_knowledge_does_and_go_on_when_there_is_more() -> None:
    cells = np.full((1, 5, 12), -1, np.int8)
    cells[0, :, :6] = 0
    goal = np.array([[11.5, 2.5]])
    made = terrain_of(cells, goal)
    start = np.array([[0.5, 2.5]], np.float32)
    route = made.routes(start, np.zeros(1, np.int64))
    assert route.vertices[0, -1].tolist() == [5.5, 2.5]
    assert 11.0 < float(route.remaining[0]) < 13.0  # the whole way, the unknown part a little dearer
    before = made.key[0]
    cells[0] = 0
    view = MapView(cells[None], np.zeros((1, *cells.shape), np.float32))
    made.learn(np.array([0]), view, np.array([0]), np.array([0]))
    assert made.routes(start, np.zeros(1, np.int64)).vertices[0, -1].tolist() == goal[0].tolist()
    assert made.key[0] != before and float(made.cost_to_go(start, np.zeros(1, np.int64))[0]) == pytest.approx(11.0)


def test_likely_walls_are_gone_around() -> None:
    cells = np.full((1, 9, 9), -1, np.int8)
    cells[0, :, :3] = 0
    chance = np.zeros((1, 9, 9), np.float32)
    chance[0, :7, 4] = 0.95
    goal, start = np.array([[8.5, 4.5]]), np.array([[1.5, 4.5]], np.float32)
    zero = np.zeros(1, np.int64)
    plain, wary = terrain_of(cells, goal), terrain_of(cells, goal, chance)
    assert float(wary.cost_to_go(start, zero)[0]) > float(plain.cost_to_go(start, zero)[0]) + 1.0
    assert wary.routes(start, zero).vertices[0, -1, 1] > plain.routes(start, zero).vertices[0, -1, 1]


def test_tables_of_peers_goals_follow_the_rows_map() -> None:
    cells = np.full((2, 7, 7), 0, np.int8)
    cells[1, :6, 3] = 1
    goals = np.array([[0.5, 0.5], [0.5, 0.5]])
    made = terrain_of(cells, goals)
    peer = np.array([[6.5, 0.5]] * 2, np.float32)
    slots = made.goal_index(peer, np.array([0, 1]))
    here = np.array([[0.5, 0.5]] * 2, np.float32)
    near, far = made.cost_to_go(here, slots)
    assert near == pytest.approx(6.0) and far > 12.0
    assert (made.goal_index(peer, np.array([0, 1])) == slots).all()  # kept
    assert made.goal_index(goals.astype(np.float32), np.array([0, 1])).tolist() == [0, 1]
    cells[1] = 0
    view = MapView(cells[None], np.zeros((1, *cells.shape), np.float32))
    made.learn(np.array([1]), view, np.array([0]), np.array([1]))
    assert made.cost_to_go(here, made.goal_index(peer, np.array([0, 1])))[1] == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("sharing", "link"),
    [("none", "erasure:p=0.5"), ("tokens", "erasure:p=0.5+delay:ms=300"), ("prior", "erasure:p=0.2")],
)
def test_nobody_ever_commits_to_what_it_does_not_know_to_be_free(sharing: str, link: str) -> None:
    world = SCENARIOS.create("unknown-map", agents=4, family="maze").build(11, [0, 1])
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=11)
    fleet = LocalFleet(PROTOCOLS.create("negotiated", map_sharing=sharing, **QUICK), setup, None, "cpu", steps=2)
    block, arena = fleet.block, Arena(world)
    core = None
    if sharing == "prior":
        from agentsc.mapping.prior import map_core

        core = map_core()
    shared = MapService(world, sharing, link, 11, 2, core)  # type: ignore[arg-type]
    medium = Medium(link, 11, world.episodes, world.agents, world.dt / 2)
    every = np.arange(len(block.rows))  # type: ignore[attr-defined]
    moved, looked = np.zeros(len(every)), 0
    for tick in range(44):
        shared.look(arena.position, tick)
        for number in range(2):
            clock = 2 * tick + number
            inbox = medium.deliver(clock)
            shared.exchange(arena.position, clock)
            if number == 0 and shared.changed:
                fleet.survey(shared.view(), tick)
            medium.transmit(fleet.round(inbox, clock, deciding=number == 0), clock, arena.position)
        # Both the plan that is carried out and the one that follows lie in what their own agent knows to be free.
        for slot in (0, 1):
            clear = block.terrain.clear(every, block.own.path[:, slot], RADIUS)  # type: ignore[attr-defined]
            assert clear.all(), (tick, slot, np.flatnonzero(~clear))
            looked += len(clear)
        before = arena.position
        step = arena.step(fleet.act(arena.position, arena.velocity, nearest(arena.position), tick))
        assert not step.crashed.any() and not step.hit.any()
        moved += np.linalg.norm(arena.position - before, axis=-1).ravel()
    assert moved.mean() > 2.0 and looked > 600  # it is not safe by standing still


def test_sharing_lets_agents_know_more_and_costs_bits(tmp_path: object) -> None:
    rows = {}
    for sharing in ("none", "tokens", "oracle"):
        result = agentsc.run(
            {"prior": {"steps": 2}}, scenario={"name": "unknown-map", "agents": 3},
            protocol={"name": "negotiated", "map_sharing": sharing, **QUICK}, link="erasure:p=0.2", episodes=1, seed=3,
            ticks=60, set=["record.episodes=[]"], out=f"{tmp_path}/{sharing}",
        )  # fmt: skip
        rows[sharing] = {name: float(values[0]) for name, values in result.log.radio.items()}
        assert result.log.obstacle_hits.sum() == 0 and np.isfinite(result.log.shortest).all()
    known = {name: row["map_known_share"] for name, row in rows.items()}
    assert known["none"] < known["tokens"] < known["oracle"] == 1.0
    assert rows["tokens"]["map_up_bits"] > 0 and rows["tokens"]["map_down_bits"] > 0
    assert rows["none"]["map_up_bits"] == rows["oracle"]["map_up_bits"] == 0


def test_the_same_run_comes_out_on_other_lanes(tmp_path: object) -> None:
    options = {
        "scenario": {"name": "unknown-map", "agents": 3}, "link": "erasure:p=0.3", "seed": 3, "ticks": 24,
        "protocol": {"name": "negotiated", **QUICK}, "set": ["record.episodes=[]"],
    }  # fmt: skip
    both = agentsc.run({"prior": {"steps": 2}}, episodes=2, out=f"{tmp_path}/both", **options)  # type: ignore[arg-type]
    config = {"prior": {"steps": 2}, "first_episode": 1}
    one = agentsc.run(config, episodes=1, out=f"{tmp_path}/one", **options)  # type: ignore[arg-type]
    assert both.log.lane_digest(1) == one.log.lane_digest(0)
