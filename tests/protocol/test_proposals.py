"""Courses that keep to proposals: tubes, stops, falling back, and everybody drawing the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agentsc.actors.fleet import make_core
from agentsc.protocol import PROTOCOLS, Setup
from agentsc.protocol.joint import search
from agentsc.protocol.joint.lattice import UNREACHED, Claim, Lattice
from agentsc.protocol.joint.one import Trip, find
from agentsc.protocol.joint.order import Course
from agentsc.protocol.joint.proposals import How, Proposer, harmonious, joined, tracks_of
from agentsc.protocol.joint.search import Kept, Proposals, at_ticks, in_turn, straighten
from agentsc.protocol.joint.settle import Settler, digest
from agentsc.protocol.joint.tubes import Leg, Tube, cover
from agentsc.protocol.variants.intent import IntentBlock
from envs.scenarios import SCENARIOS
from envs.world import World

RADII = 3.0


@cache
def world_of(name: str, agents: int) -> World:
    return SCENARIOS.create(name, agents=agents).build(seed=5, episodes=np.arange(3))


def proposer_of(world: World, how: How = "joint", count: int = 3) -> Proposer:
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=5)
    return Proposer(setup, make_core(setup, None, "cpu").sample, count, 30.0, how)


def settler_of(world: World, proposer: Proposer | None) -> Settler:
    return Settler(world, world.separation + 0.1 * world.radius, 20, 10, proposer, RADII * world.radius)


def course_of(world: World, proposer: Proposer | None, lane: int = 0) -> Course:
    course = settler_of(world, proposer).course(world.starts[lane], world.goals[lane], (5, lane))
    assert course is not None
    return course


def line(*points: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(points, np.float32)


# -- the search in layers --------------------------------------------------------------------------


def arrival(lattice: Lattice, tube: Tube, trip: Trip) -> int:
    """The first step at which a trip through a tube can be over, by spreading through all moves."""
    rows, columns = lattice.shape
    possible = lattice.ends.reshape(rows, columns)
    reached = np.zeros((len(tube.inside), rows, columns), bool)
    inside, gate = (part.reshape(reached.shape) for part in (tube.inside, tube.gate))

    def arrive(there: NDArray[np.bool_]) -> NDArray[np.bool_]:
        there = there & inside
        onward = np.zeros_like(there)
        onward[1:] = (there & gate)[:-1]
        return (there & ~gate) | onward

    first = np.zeros_like(reached)
    first[0].ravel()[trip.leave.node] = True
    reached = arrive(first)
    for step in range(1, 400):
        if reached[-1].ravel()[trip.arrive.node].any():
            return step + 1
        grown = np.zeros_like(reached)
        for number, (dy, dx) in enumerate(lattice.moves.tolist()):
            moved = np.zeros_like(reached)
            moved[:, max(dy, 0) : rows + min(dy, 0), max(dx, 0) : columns + min(dx, 0)] = reached[
                :, max(-dy, 0) : rows + min(-dy, 0), max(-dx, 0) : columns + min(-dx, 0)
            ]
            grown |= moved & ((possible >> np.uint64(number)) & np.uint64(1)).astype(bool)
        reached = arrive(grown)
    return UNREACHED


@pytest.mark.parametrize(("name", "lane"), [("conveyor", 0), ("conveyor", 1), ("drop-region", 0)])
def test_a_way_through_layers_is_as_short_as_spreading_finds(name: str, lane: int) -> None:
    world = world_of(name, 4)
    lattice = Lattice.of(world)
    ways = proposer_of(world, count=1).propose(world.starts[lane], world.goals[lane], (1,))
    for agent, (proposal,) in enumerate(ways):
        for width in (RADII * world.radius, None):
            tube = Tube.of(lattice, proposal, width)
            assert len(tube.inside) >= 2
            trip = Trip.of(lattice, world.starts[lane, agent], world.goals[lane, agent])
            bound = trip.within(lattice, tube.inside, tube.gate)
            assert bound.least == arrival(lattice, tube, trip)
            claim = find(lattice, bound, [], bound.least)
            assert claim is not None and claim.steps == bound.least
            assert (np.diff(claim.layer) >= 0).all() and claim.layer[-1] == len(tube.inside) - 1
            assert (np.linalg.norm(np.diff(claim.path, axis=0), axis=-1) <= lattice.step_m * 1.0001).all()
            # It was in the layer that it left with each of its steps.
            assert tube.holds(lattice, claim.path[1:-1], claim.layer[:-2]).all()


def test_who_may_arrive_soon_minds_those_who_pass_its_goal_late() -> None:
    world = world_of("weave", 4)
    lattice = Lattice.of(world)
    start, goal = line((-0.2, 0.0), (0.2, 0.0))
    trip = Trip.of(lattice, start, goal)
    late = Claim(np.vstack([np.tile([0.2, 0.9], (40, 1)), [[0.2, 0.9 - 0.1 * k] for k in range(18)]]))
    assert find(lattice, trip, [late], trip.least + 6) is None
    assert find(lattice, trip, [late], 80) is not None


# -- tubes -----------------------------------------------------------------------------------------


def test_a_tube_is_what_is_near_its_proposal() -> None:
    lattice = Lattice.of(world_of("weave", 4))
    path = line((-0.5, -0.5), (0.1, 0.2), (0.6, 0.2))
    near = cover(lattice, path, 0.12)
    spots = lattice.spots(np.arange(lattice.free.size))
    dense = np.concatenate([np.linspace(a, b, 400) for a, b in zip(path[:-1], path[1:], strict=True)])
    gap = np.array([np.linalg.norm(dense - spot, axis=-1).min() for spot in spots])
    assert (gap[near] < 0.12 + 1e-6).all()
    assert near[gap < 0.9 * 0.12].all()


def test_a_way_that_comes_back_is_cut_into_legs() -> None:
    bow = [(float(np.cos(a)), float(np.sin(a))) for a in np.linspace(0.0, 1.9 * np.pi, 39)]
    windows = [Leg(line(*bow[k : k + 7]), np.inf) for k in range(0, 36, 6)]
    legs = joined(windows)
    assert 1 < len(legs) < len(windows)
    np.testing.assert_array_equal(np.concatenate([legs[0].path, *(leg.path[1:] for leg in legs[1:])]), line(*bow[:37]))
    straight = [Leg(line((k, 0.0), (k + 1.0, 0.0)), np.inf) for k in range(5)]
    assert len(joined(straight)) == 1
    stop = [straight[0], Leg(straight[1].path, 0.1, 4), *straight[2:]]
    assert [leg.ticks for leg in joined(stop)] == [4, 0]


@pytest.mark.parametrize("name", ["highways", "weave"])
def test_courses_stay_near_what_was_proposed(name: str) -> None:
    world = world_of(name, 6)
    proposer = proposer_of(world)
    wide = 2 * RADII * world.radius
    for lane in range(3):
        course = course_of(world, proposer, lane)
        ways = proposer.propose(world.starts[lane], world.goals[lane], (5, lane))
        for agent, mine in enumerate(ways):
            away = min(
                max(
                    np.linalg.norm(np.concatenate([leg.path for leg in way]) - spot, axis=-1).min()
                    for spot in course.route[:, agent]
                )
                for way in mine
            )
            # Nearest way-points of a proposal, which are up to a tick's way apart; nearest nodes, a cell's half.
            assert away <= wide + 0.6 * world.v_max * world.dt + 0.02


def test_straightening_stays_in_the_tube() -> None:
    world = world_of("weave", 4)
    lattice = Lattice.of(world)
    start, goal = line((-0.6, 0.0), (0.6, 0.0))
    tube = Tube.of(lattice, [Leg(line((-0.6, 0.0), (0.0, 0.6), (0.6, 0.0)), np.inf)], 0.1)
    trip = Trip.of(lattice, start, goal).within(lattice, tube.inside, tube.gate)
    claim = find(lattice, trip, [], 80)
    assert claim is not None
    claim.tube = tube
    paths = at_ticks([claim], lattice.ticks)
    kept = Kept.of(lattice, [claim], len(paths) - 1)
    free, bound = straighten(world, paths.copy()), straighten(world, paths.copy(), kept=kept)
    assert np.abs(free[:, 0, 1]).max() < 0.05 < 0.4 < bound[:, 0, 1].max()
    # But for single moves across a bend, which no straight piece is longer than.
    legs = np.concatenate([np.linspace((-0.6, 0.0), (0.0, 0.6), 400), np.linspace((0.0, 0.6), (0.6, 0.0), 400)])
    away = np.array([np.linalg.norm(legs - spot, axis=-1).min() for spot in bound[:, 0]])
    assert away.max() < 0.1 + lattice.cell and (away < 0.1 + 0.5 * lattice.cell).mean() > 0.9


# -- a map's pattern -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["joint", "alone", "route"])
@pytest.mark.parametrize("name", ["conveyor", "drop-region"])
def test_courses_pass_the_stops_that_the_pattern_has(name: str, how: How) -> None:
    world = world_of(name, 5)
    measure = world.adherence
    assert measure is not None
    kept = [measure(course_of(world, proposer_of(world, how), lane).route).mean() for lane in range(2)]
    free = [measure(course_of(world, None, lane).route).mean() for lane in range(2)]
    assert min(kept) == 1.0 and np.mean(free) < 0.6


def test_on_highways_nearly_everybody_goes_round_the_right_way() -> None:
    world = world_of("highways", 10)
    measure = world.adherence
    assert measure is not None
    kept, free = (
        np.mean([measure(course_of(world, proposer, lane).route) for lane in range(3)])
        for proposer in (proposer_of(world), None)
    )
    assert kept > 0.8 and kept > free + 0.1


# -- falling back ----------------------------------------------------------------------------------


def test_proposals_that_lead_nowhere_are_left() -> None:
    """One leads out of the map, one through the block in the middle; the third one is longer than it has to be."""
    lattice = Lattice.of(world_of("highways", 4))
    starts, goals = line((-0.5, 0.0)), line((0.5, 0.0))
    outside = [Leg(line((-0.5, 0.0), (-3.0, 0.0)), np.inf), Leg(line((-3.0, 0.0), (0.5, 0.0)), np.inf)]
    through = [Leg(line((-0.5, 0.0), (0.5, 0.0)), np.inf)]
    around = [Leg(line((-0.5, 0.0), (-0.5, 0.55), (0.5, 0.55), (0.5, 0.0)), np.inf)]
    for mine, high in (([outside, through, around], True), ([outside, through], False), ([], False)):
        paths = in_turn(lattice, starts, goals, (0,), 8, 4, proposals=Proposals([mine], 0.1, (1.0,)))
        assert paths is not None
        np.testing.assert_array_equal(paths[-1], goals)
        assert (paths[:, 0, 1].max() > 0.44) == high


def test_who_is_held_up_in_a_tube_takes_another_one() -> None:
    """Somebody is led through the first one for long."""
    lattice = Lattice.of(world_of("weave", 4))
    starts, goals = line((-0.5, 0.0), (0.0, 0.0)), line((0.5, 0.0), (0.0, -0.6))
    straight = [Leg(line((-0.5, 0.0), (0.5, 0.0)), np.inf)]
    around = [Leg(line((-0.5, 0.0), (0.0, 0.5), (0.5, 0.0)), np.inf)]
    lead = search.Lead(np.repeat(starts[None], 61, axis=0), np.array([0, 60]))
    for mine, high in (([straight, around], True), ([around, straight], True), ([straight], False)):
        paths = in_turn(
            lattice, starts, goals, (0,), 1, 0, lead, proposals=Proposals([mine, []], 0.08, (1.0,))
        )  # fmt: skip
        assert paths is not None
        assert (np.abs(paths[:, 0, 1]).max() > 0.25) == high


def test_repairs_never_leave_proposals_that_were_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of("drop-region", 5)
    found: list[list[bool]] = []
    improve = search._improve

    def watched(*told: Any) -> list[Claim]:
        claims = improve(*told)
        found.append([before.astray < after.astray for before, after in zip(told[1], claims, strict=True)])
        return claims

    monkeypatch.setattr(search, "_improve", watched)
    course_of(world, proposer_of(world))
    assert found and not np.any(found)


# -- everybody the same ----------------------------------------------------------------------------


def test_everybody_draws_the_same_proposals_and_works_out_the_same_course() -> None:
    world = world_of("highways", 6)
    one, two = (proposer_of(world) for _ in range(2))
    starts, goals = world.starts[1], world.goals[1]
    first, again, other = one.propose(starts, goals, (1, 2)), two.propose(starts, goals, (1, 2)), (
        two.propose(starts, goals, (1, 3))
    )
    for mine, same in zip(first, again, strict=True):
        for a, b in zip(mine, same, strict=True):
            for leg, twin in zip(a, b, strict=True):
                np.testing.assert_array_equal(leg.path, twin.path)
    assert any((mine[0][0].path != its[0][0].path).any() for mine, its in zip(first, other, strict=True))
    assert digest(course_of(world, one, 1)) == digest(course_of(world, two, 1))


def test_samples_are_chosen_that_go_well_together() -> None:
    rng = np.random.default_rng(3)
    agent = np.repeat(np.arange(5), [3, 3, 0, 2, 4])
    tracks = np.cumsum(rng.normal(0.0, 0.3, (len(agent), 12, 2)), 1).astype(np.float32)

    def meetings(chosen: NDArray[np.int64]) -> int:
        spots = tracks[[np.flatnonzero(agent == k)[chosen[k]] for k in (0, 1, 3, 4)]]
        gap = np.linalg.norm(spots[:, None] - spots, axis=-1)
        return int((gap[np.triu_indices(4, 1)] < 0.5).sum())

    chosen = harmonious(tracks, agent, 0.5)
    assert chosen[2] == 0 and (chosen[[0, 1, 3, 4]] < (3, 3, 2, 4)).all()
    assert meetings(chosen) < meetings(np.zeros(5, np.int64))
    for k, count in ((0, 3), (1, 3), (3, 2), (4, 4)):
        for other in range(count):
            changed = chosen.copy()
            changed[k] = other
            assert meetings(changed) >= meetings(chosen), "nobody can do better alone"


def test_what_is_drawn_together_meets_less_often() -> None:
    world = SCENARIOS.create("random", agents=14).build(seed=5, episodes=np.arange(4))

    def meetings(how: How) -> int:
        proposer, count = proposer_of(world, how, 4), 0
        for lane in range(4):
            ways = proposer.propose(world.starts[lane], world.goals[lane], (5, lane))
            tracks = tracks_of([way[0] for way in ways])
            gap = np.linalg.norm(tracks[:, None] - tracks, axis=-1)
            count += int((gap[np.triu_indices(14, 1)] < world.separation).any(-1).sum())
        return count

    assert meetings("joint") < 0.85 * meetings("alone")


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [("highways", {}, True), ("highways", {"proposals": 0}, False), ("weave", {}, False),
     ("weave", {"proposals_for": "every"}, True)],
)  # fmt: skip
def test_proposals_are_drawn_where_they_are_asked_for(name: str, options: dict[str, Any], wanted: bool) -> None:
    world = world_of(name, 4)
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=5)
    block = IntentBlock(PROTOCOLS.create("intent", **options), setup, [0, 1, 2, 3])
    block._prepare()
    assert block.settler.proposer is None, "without a core there is nothing to draw from"
    block.sample = make_core(setup, None, "cpu").sample
    block._prepare()
    assert (block.settler.proposer is not None) == wanted
