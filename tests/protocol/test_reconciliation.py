"""Reconciliation terms in the protocol: off is off, and on they do what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentsc.experiment.config import resolve
from agentsc.experiment.log import RunLog
from agentsc.experiment.run import prepare
from agentsc.experiment.runner import run_lanes
from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.reconcile import ReconcilingBlock
from agentsc.protocol.terms import TERMS
from agentsc.protocol.terms.formation import places
from agentsc.protocol.terms.resources import ResourcesTerm, waits
from agentsc.protocol.wishes import matched, queueing
from envs.errors import ConfigError
from envs.scenarios import SCENARIOS


def run(scenario: dict[str, Any], protocol: str = "negotiated", episodes: int = 3, **options: Any) -> RunLog:
    tree = {"scenario": scenario, "episodes": episodes, "seed": 3, "device": "cpu", "link": "perfect"}
    ticks = {"ticks": options.pop("ticks")} if "ticks" in options else {}
    job = prepare(resolve(None, {**tree, **ticks, "protocol": {"name": protocol, **options}}))
    return run_lanes(job.config, job.world)


def block_of(scenario: str, terms: str, ids: list[int] | None = None, name: str = "negotiated", **own: Any) -> Any:
    """A block of a world's first episode, as it is before the first tick."""
    world = SCENARIOS.create(scenario, **own).build(3, [0])
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=3)
    block: Any = PROTOCOLS.create(name, terms=terms).block(setup, list(range(world.agents)) if ids is None else ids)
    block.advance(0)
    return block


# -- names and weights -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("covrage", "coverage"),
        ("coverage:wieght=1", "weight"),
        ("coverage:weight=-1", "greater than or equal to 0"),
        ("coverage+coverage", "must name each term once"),
    ],
)
def test_wrong_terms_are_refused_before_any_work(spec: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match="protocol.negotiated.terms") as error:
        PROTOCOLS.create("negotiated", terms=spec)
    assert sentence in str(error.value)


def test_terms_are_those_that_the_world_has_something_for() -> None:
    everything = "+".join(TERMS)
    assert {type(t).__name__ for t in block_of("coverage", everything).terms} == {
        "CoverageTerm", "PricesTerm", "AnchorTerm",
    }  # fmt: skip
    assert block_of("weave", "coverage+formation+resources+prices").terms == ()


@pytest.mark.parametrize(
    ("scenario", "term"),
    [
        ({"name": "coverage", "agents": 4, "sites": 4}, "coverage"),
        ({"name": "formation", "agents": 3}, "formation"),
        ({"name": "corridor", "agents": 2}, "resources"),
    ],
)
def test_weight_zero_is_off_to_the_bit_and_another_is_not(scenario: dict[str, Any], term: str) -> None:
    plain = run(scenario, episodes=1, ticks=40).digest()
    assert run(scenario, episodes=1, ticks=40, terms=f"{term}:weight=0").digest() == plain
    assert run(scenario, episodes=1, ticks=40, terms=term).digest() != plain


# -- sharing out -------------------------------------------------------------------------------------


def test_sharing_out_takes_the_best_pair_first_and_nothing_that_is_worth_nothing() -> None:
    worth = np.array([[[3.0, 2.0], [2.9, 0.0], [0.0, 0.0]]])
    assert matched(worth).tolist() == [[0, -1, -1]]  # the second wants only what the first takes
    worth[0, 1, 1] = 0.5
    assert matched(worth).tolist() == [[0, 1, -1]]
    assert matched(worth[:, ::-1]).tolist() == [[-1, 1, 0]]


def test_sharing_out_is_worth_at_least_half_of_the_best() -> None:
    from scipy.optimize import linear_sum_assignment

    worth = np.random.default_rng(0).random((50, 6, 5))
    took = matched(worth)
    for table, mine in zip(worth, took, strict=True):
        row, column = linear_sum_assignment(table, maximize=True)
        there = np.flatnonzero(mine >= 0)
        assert len(set(mine[there])) == len(there) == 5
        assert table[there, mine[there]].sum() >= 0.5 * table[row, column].sum()


def test_a_queue_serves_one_after_the_other() -> None:
    arrival = np.array([[[1.0], [1.5], [9.0], [np.inf]]])
    wait = lambda mine: queueing(arrival, 2.0, np.array([[mine]])).item()  # noqa: E731
    assert wait(0.5) == 0.5  # nobody is there before
    assert wait(2.0) == 5.0  # 1 → 3 → 5
    assert wait(6.0) == 6.0
    assert wait(9.5) == 11.0


# -- coverage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["negotiated", "intent"])
def test_wished_sites_collect_more_than_drawn_ones(protocol: str) -> None:
    scenario = {"name": "coverage", "agents": 5, "sites": 5}
    drawn, wished = (run(scenario, protocol, terms=terms) for terms in ("", "coverage"))
    assert wished.success.all() and wished.collision_free.all()
    assert wished.outcome["coverage_collected"].sum() > 1.02 * drawn.outcome["coverage_collected"].sum()


def test_a_site_that_a_peer_says_it_goes_for_is_left_to_it() -> None:
    block = block_of("coverage", "coverage", agents=3, sites=3)
    block.rethink()
    first = block.goal.copy()
    assert len(np.unique(first, axis=0)) == 3
    # Agent 1 hears that agent 0 goes where agent 1 wants to go, and is nearly there.
    block.intents.goal[1, 0], block.intents.clock[1, 0] = first[1], 1
    block.knowledge.plans.path[1, 0] = first[1]
    block._newly[1] = True
    block.rethink()
    assert (block.goal[1] != first[1]).any() and (block.goal[[0, 2]] == first[[0, 2]]).all()


def test_a_goal_that_is_given_again_does_not_undo_a_wish_but_a_new_one_does() -> None:
    block = block_of("coverage", "coverage", agents=3, sites=3)
    given = block.goal.copy()
    block.rethink()
    wished = block.goal.copy()
    assert (wished != given).any()
    block.retarget(given[None], 1)
    np.testing.assert_array_equal(block.goal, wished)
    new = given.copy()
    new[0] = 0.123
    block.retarget(new[None], 2)
    np.testing.assert_array_equal(block.goal[0], new[0])
    np.testing.assert_array_equal(block.goal[1:], wished[1:])


# -- formation ---------------------------------------------------------------------------------------


def test_places_are_where_the_shape_has_them_and_nowhere_near_the_gap() -> None:
    block: ReconcilingBlock = block_of("formation", "formation", march=8)
    rows, ticks = block.rows, np.zeros((len(block.rows), 1), np.int64)
    place, kept = places(block, rows, ticks, None)
    assert kept.all()
    np.testing.assert_allclose(place[:, 0], block.setup.world.starts[0], atol=1e-5)
    # As known to the others, one has strayed by half a metre: they make up for its share, it has to go all the way.
    block.knowledge.plans.path[:, 0] += np.float32([0.5, 0.0])
    block.own.path[0] += np.float32([0.5, 0.0])
    place, _ = places(block, rows, ticks, None)
    np.testing.assert_allclose(place[0, 0], block.setup.world.starts[0, 0], atol=1e-5)
    np.testing.assert_allclose(place[1, 0] - block.setup.world.starts[0, 1], [0.125, 0.0], atol=1e-5)
    gap = block.setup.world.shape.gap
    assert gap is not None
    block.own.path[:] = np.float32([(gap[0] + gap[2]) / 2, 2.5])
    assert not places(block, rows, ticks, None)[1].any()


def test_with_the_term_a_formation_is_kept_better() -> None:
    scenario = {"name": "formation", "march": 6}
    without, kept = (run(scenario, terms=terms, episodes=2) for terms in ("", "formation"))
    assert kept.success.all() and without.success.all()
    assert (kept.outcome["formation_error_m"] < 0.85 * without.outcome["formation_error_m"]).all()


# -- resources ---------------------------------------------------------------------------------------


def tell(block: ReconcilingBlock, row: int, peer: int, goal: Any, at: Any, priority: int = 1) -> None:
    """Agent ``row`` hears where a peer is and wants to go."""
    block.intents.goal[row, peer], block.intents.clock[row, peer] = np.float32(goal), 1
    block.intents.priority[row, peer] = priority
    block.knowledge.plans.path[row, peer] = np.float32(at)


def waiting(block: ReconcilingBlock) -> Any:
    """Whom agent 0 waits for: bool [peer]."""
    block.due, block._start = np.array([0]), np.array([0])
    block.ahead[:] = 0
    block.reconcile()
    return block.ahead[0] > 0


def test_who_is_in_the_corridor_goes_before_those_who_come_against_it() -> None:
    block = block_of("corridor", "resources", agents=4)
    left, right = (2.5, 2.5), (19.5, 2.5)
    for row in range(4):
        block.own.path[row] = np.float32(left)
    block.goal[:] = np.float32(right)
    for peer in (1, 2, 3):
        tell(block, 0, peer, left, left)  # they stay on this side
    assert not waiting(block).any()
    tell(block, 0, 1, left, (10.5, 2.5))  # one comes against
    assert waiting(block).tolist() == [False, True, False, False]
    tell(block, 0, 1, right, (10.5, 2.5))  # it goes the same way
    assert not waiting(block).any()
    tell(block, 0, 3, left, (18.5, 2.5), priority=1)  # against that stream nobody starts
    assert not waiting(block).any()
    tell(block, 0, 1, right, right)  # the corridor is empty: ranks decide, and 0 ranks before 3 …
    assert not waiting(block).any()
    tell(block, 0, 3, left, (18.5, 2.5), priority=2)  # … unless 3 is stuck
    assert waiting(block).tolist() == [False, False, False, True]


def test_who_waits_is_charged_for_the_corridor_and_not_for_the_room() -> None:
    block = block_of("corridor", "resources", agents=2)
    block.own.path[0], block.goal[0] = np.float32((2.5, 2.5)), np.float32((19.5, 2.5))
    tell(block, 0, 1, (2.5, 2.5), (10.5, 2.5))
    assert waiting(block)[1]
    (_, charge), ticks = block._charges[0], block.waypoint_ticks().shape[1]
    stay = np.full((1, 1, ticks, 2), np.float32((2.5, 2.5)))
    enter = np.full((1, 1, ticks, 2), np.float32((8.5, 2.5)))
    assert charge.charge(stay)[0].item() == 0.0 and charge.charge(enter)[0].item() > 0.5


def test_open_goals_go_where_there_is_no_queue() -> None:
    block = block_of("lifelong-warehouse", "resources", agents=6, any_station=True)
    centre = block.setup.world.resources.centre
    assert block.setup.world.queue.anywhere is not None
    block.own.path[0] = centre[0] + np.float32([3.0, 0.0])
    block.goal[0] = centre[0]
    for peer in range(1, 6):
        tell(block, 0, peer, centre[0], centre[0] + np.float32([0.2 * peer, 0.0]))
    ready, here = waits(block, 20.0)
    assert here[0] == 0 and ready[0, 0] > 60.0
    wish = ResourcesTerm(service_s=20.0).wish(block)
    assert np.isfinite(wish[0]).all() and (wish[0] != centre[0]).any()
    shelf = block_of("lifelong-warehouse", "resources", agents=6)
    assert ResourcesTerm().wish(shelf) is None, "stations are not interchangeable unless the scenario says so"


def test_stations_that_are_as_good_serve_whoever_comes() -> None:
    from envs.arena import Arena

    for free, served in ((True, 1), (False, 0)):
        world = SCENARIOS.create("lifelong-warehouse", agents=2, any_station=free, service_ticks=1).build(3, [0])
        arena = Arena(world)
        arena.story.tasks_done[:] = 1  # a station is next
        arena.story.goals = world.queue.current(arena.story.tasks_done)
        other = world.resources.centre[(np.abs(world.resources.centre - arena.goals[0, 0]).sum(-1) > 0.1)][0]
        arena.position[0, 0] = other
        arena.step(np.zeros((1, 2, 2), np.float32))
        assert arena.tasks_done[0, 0] == 1 + served


# -- prices ------------------------------------------------------------------------------------------


def test_prices_are_what_others_have_bid() -> None:
    block = block_of("coverage", "prices", name="market", agents=3, sites=3)
    auction = block.exchange.auction
    auction.winner[0], auction.bid[0] = [0, 1, -1], [254, 127, 0]
    np.testing.assert_allclose(block.prices(np.array([0])), [[0.0, 0.5, 0.0]])
    block.due, block._start = np.array([0]), np.array([0])
    block.reconcile()
    assert [type(term).__name__ for term, _ in block._charges] == ["PricesTerm"]
    plain = block_of("coverage", "prices", agents=3, sites=3)
    plain.due, plain._start = np.array([0]), np.array([0])
    assert plain.reconcile() == () and plain._charges == []


# -- collisions under uncertainty ----------------------------------------------------------------------


def test_believed_peers_get_wider_with_age_and_known_plans_do_not() -> None:
    from agentsc.protocol.planner import PlanningBlock

    def radii(spread: float) -> Any:
        world = SCENARIOS.create("weave", agents=3).build(3, [0])
        variant = PROTOCOLS.create("negotiated", age_spread=spread, collision_weight=0.5)
        block: Any = variant.block(Setup.of(world, prior="edge-prior", rounds=2, seed=3), [0])
        assert isinstance(block, PlanningBlock)
        block.advance(8)
        block.due, block._start = np.array([0]), np.array([9])
        block._near = np.array([[1, 2]])
        block._keys = np.zeros(2, np.uint64)
        block.intents.clock[0] = [-1, 16, 4]  # rounds: eight ticks, and two
        peers = block._discs(block.due, np.ones((1, 2), np.float32))
        assert peers.weight[0, :2].tolist() == [0.5, 0.5]
        return peers.radius[0]

    plain, spread = radii(0.0), radii(0.25)
    np.testing.assert_array_equal(spread[:2], plain[:2])
    assert (spread[2:] > plain[2:]).all() and (spread[3] >= spread[2]).all() and spread[3, 0] > spread[2, 0]
