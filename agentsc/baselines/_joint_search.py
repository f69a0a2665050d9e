"""Plans for everybody at once: prioritised search, re-ordered by failures, then improved bit by bit.

1. One agent after the other is planned around those before it, longest trips first. Who finds no
   way comes first in the next attempt.
2. Large neighbourhood search: some agents, one of them late and the others in its way, give up
   their paths and are planned anew in another order; what is no worse is kept.
3. Paths are sampled at ticks and straightened, checked exactly and in continuous time.

All loops are bounded by counts, and all choices are keyed: the result is a function of the world,
the seed and the episode's number.

References: M. Cap et al., "Prioritized planning algorithms for trajectory coordination of multiple
mobile robots", 2015 (1); J. Li, Z. Chen, D. Harabor, P. J. Stuckey and S. Koenig, "Anytime
multi-agent path finding via large neighborhood search", IJCAI 2021 (2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.baselines._lattice import UNREACHED, Claim, Floats, Ints, Lattice
from agentsc.baselines._space_time_search import Places, Trip, find
from agentsc.protocol.plans import boxes, gaps
from envs import keyed
from envs.geometry import segment_clearance, segment_closest
from envs.world import World

SLIP = 1.001
"""Plans keep this many times the separation, and stay under top speed by as much."""


def plan(lattice: Lattice, starts: Floats, goals: Floats, key: tuple[int, ...], attempts: int, repairs: int) -> Floats:
    """Paths of all agents that keep apart and arrive; if none are found, everybody stays.

    Args:
        starts, goals: float32 [agent, 2], metres. key: words that all random choices are keyed by.
        attempts: orders tried until everybody has a path. repairs: neighbourhoods searched after that.

    Returns:
        float32 [T + 1, agent, 2], positions at ticks, metres; everybody rests after the last.
    """
    stay = starts[None].astype(np.float32)
    trips = [Trip.of(lattice, start, goal) for start, goal in zip(starts, goals, strict=True)]
    latest = max(lattice.world.max_ticks - 1, 0) // lattice.ticks
    if max(trip.least for trip in trips) == UNREACHED:
        return stay
    claims = _first(lattice, trips, latest, key, attempts)
    if claims is None:
        return stay
    claims = _improve(lattice, trips, claims, key, repairs)
    paths = straighten(lattice.world, at_ticks(claims, lattice.ticks))
    return paths if sound(lattice.world, paths) else stay


def _first(
    lattice: Lattice, trips: list[Trip], latest: int, key: tuple[int, ...], attempts: int
) -> list[Claim] | None:
    """A path for everybody, from prioritised planning in several orders."""
    urgency = np.array([float(trip.least) for trip in trips])
    failures = np.zeros(len(trips))
    for attempt in range(attempts):
        # Who failed before comes first; the rest by length of trip, in later attempts roughly.
        chance = keyed.uniform(*key, keyed.stream_id("order"), attempt, np.arange(len(trips)))
        rank = failures + urgency / urgency.max(initial=1.0) * 0.5 + chance * min(attempt, 5) * 0.1
        found: dict[int, Claim] = {}
        for agent in np.argsort(-rank, kind="stable").tolist():
            path = find(lattice, trips[agent], list(found.values()), latest)
            if path is None:
                failures[agent] = failures.max() + 1.0
                break
            found[agent] = Claim(lattice, path)
        if len(found) == len(trips):
            return [found[agent] for agent in range(len(trips))]
    return None


def _value(claims: list[Claim]) -> tuple[int, int, float]:
    """What is minimised, in this order: last arrival, sum of arrivals, length."""
    steps = [claim.steps for claim in claims]
    return max(steps), sum(steps), round(sum(claim.length for claim in claims), 6)


def _improve(
    lattice: Lattice, trips: list[Trip], claims: list[Claim], key: tuple[int, ...], repairs: int
) -> list[Claim]:
    """Large neighbourhood search around a solution."""
    count = len(trips)
    alone = [_alone(lattice, trip) for trip in trips]
    value = _value(claims)
    for repair in range(repairs):
        chance = keyed.uniform(*key, keyed.stream_id("repair"), repair, np.arange(2 * count + 1))
        arrival = np.array([claim.steps for claim in claims])
        delay = arrival - np.array([claim.steps for claim in alone])
        if not delay.any():
            break
        # In turn: somebody who is delayed, the more the likelier; and one of the last to arrive.
        weight = delay.astype(float) if repair % 2 else delay * (arrival >= arrival.max() - 1)
        if not weight.any():
            weight = delay.astype(float)
        late = int(np.searchsorted(np.cumsum(weight) / weight.sum(), chance[-1], side="right").clip(0, count - 1))
        rivals = _rivals(alone[late], claims, late, lattice.distance)
        size = 2 + repair % 4
        wish = chance[:count] + rivals
        wish[late] = 2.5
        redo = np.argsort(-wish, kind="stable")[:size]
        order = redo[np.argsort(-(chance[count : 2 * count][redo] + (redo == late) * (repair % 3 > 0)), kind="stable")]
        tried = _again(lattice, trips, claims, order.tolist(), value[0])
        if tried is not None and _value(tried) <= value:
            claims, value = tried, _value(tried)
    return claims


def _alone(lattice: Lattice, trip: Trip) -> Claim:
    path = find(lattice, trip, [], trip.least)
    assert path is not None, "a trip's least number of steps is reached without traffic"
    return Claim(lattice, path)


def _rivals(wished: Claim, claims: list[Claim], own: int, distance: float) -> NDArray[np.float64]:
    """1 for agents that the wished-for path comes too close to, 0 for others."""
    steps = np.arange(2 * max(max(claim.steps for claim in claims), wished.steps) + 1)
    gap = np.array([np.linalg.norm(claim.at(steps) - wished.at(steps), axis=-1).min() for claim in claims])
    return (gap < distance) * 1.0


def _again(
    lattice: Lattice, trips: list[Trip], claims: list[Claim], order: list[int], latest: int
) -> list[Claim] | None:
    """Plan some agents anew, in this order, around all others; None if one arrives later than ``latest``."""
    kept = {agent: claim for agent, claim in enumerate(claims) if agent not in order}
    for agent in order:
        path = find(lattice, trips[agent], list(kept.values()), latest)
        if path is None:
            return None
        kept[agent] = Claim(lattice, path)
    return [kept[agent] for agent in range(len(claims))]


def at_ticks(claims: list[Claim], ticks: int) -> Places:
    """Positions [T + 1, agent, 2] at ticks."""
    last = max(claim.steps for claim in claims)
    when = np.arange(last * ticks + 1) / ticks
    low = np.minimum(when.astype(np.int64), max(last - 1, 0))
    share = (when - low)[:, None]
    paths = []
    for claim in claims:
        path = claim.path[np.minimum(np.arange(last + 2), claim.steps)]
        paths.append(path[low] * (1.0 - share) + path[low + 1] * share)
    return np.stack(paths, axis=1)


def straighten(world: World, paths: Places) -> Floats:
    """Straight pieces for bent ones where nobody minds, and earlier arrivals [T + 1, agent, 2].

    A piece between two ticks is replaced by a straight one at constant speed, or by one at full
    speed to the goal, if that keeps clear of obstacles and of all others.
    """
    paths = paths.astype(np.float32)
    last = len(paths) - 1
    tick_m = world.v_max * world.dt / SLIP
    for _ in range(2):
        for agent in np.argsort(-_arrivals(paths), kind="stable").tolist():
            arrival = int(_arrivals(paths)[agent])
            goal = paths[-1, agent]
            for begin in range(0, arrival, 2):
                way = goal - paths[begin, agent]
                needed = int(np.ceil(np.linalg.norm(way) / tick_m))
                if begin + needed < arrival and _replace(world, paths, agent, begin, begin + needed, arrival):
                    arrival = begin + needed
                    break
            span = arrival
            while span >= 2:
                for begin in range(0, max(arrival - span // 2, 1), max(span // 2, 1)):
                    end = min(begin + span, arrival)
                    _replace(world, paths, agent, begin, end, end)
                span = span * 2 // 3 if span > 8 else span // 2
    return paths[: int(_arrivals(paths).max(initial=0)) + 1] if last else paths


def _arrivals(paths: Floats) -> Ints:
    """Tick from which each agent [agent] rests at its end."""
    moving = (paths != paths[-1]).any(-1)
    return np.asarray(np.where(moving.any(0), len(paths) - moving[::-1].argmax(0), 0), np.int64)


def _replace(world: World, paths: Floats, agent: int, begin: int, end: int, until: int) -> bool:
    """Go straight between ticks ``begin`` and ``end``, and rest until ``until``, if that is shorter or earlier."""
    a, b = paths[begin, agent], paths[until, agent]
    old = paths[begin : until + 1, agent]
    share = np.minimum(np.arange(until - begin + 1) / max(end - begin, 1), 1.0).astype(np.float32)[:, None]
    new = a + (b - a) * share
    new[-1] = b
    gain = np.linalg.norm(np.diff(old, axis=0), axis=-1).sum() - np.linalg.norm(b - a)
    if end == until and gain <= 1e-4 * world.radius:
        return False
    if np.linalg.norm(b - a) > (end - begin) * world.v_max * world.dt / SLIP:
        return False
    others = np.delete(paths[begin : until + 1], agent, axis=1)
    keep = SLIP * world.separation
    near = np.flatnonzero(gaps(boxes(new[None]), boxes(others.swapaxes(0, 1))) < keep)
    if len(near):
        others, line = others[:, near], new[:, None]
        if segment_closest(line[:-1], line[1:], others[:-1], others[1:]).min() < keep:
            return False
    if not _roomy(world, a[None], b[None]):
        return False
    paths[begin : until + 1, agent] = new
    return True


def _roomy(world: World, begin: Floats, end: Floats) -> bool:
    """Whether a disc fits along all segments [n, 2] (what touches exactly, fits)."""
    need = 0.9995 * world.radius
    room = segment_clearance(world.obstacles, begin, end, need, 2e-4 * world.radius)
    return bool((room >= need - 2e-4 * world.radius).all())


def sound(world: World, paths: Floats) -> bool:
    """The exact check of the result [T + 1, agent, 2]: apart in continuous time, clear of obstacles, not too fast."""
    if len(paths) < 2:
        return True
    step = np.linalg.norm(np.diff(paths, axis=0), axis=-1)
    first, second = np.triu_indices(paths.shape[1], 1)
    closest = segment_closest(paths[:-1, first], paths[1:, first], paths[:-1, second], paths[1:, second])
    apart = closest.min(initial=np.inf) >= world.separation
    return bool(
        apart
        and step.max() <= world.v_max * world.dt * (1.0 + 1e-5)
        and _roomy(world, paths[:-1].reshape(-1, 2), paths[1:].reshape(-1, 2))
    )
