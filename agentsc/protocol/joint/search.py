"""Plans for everybody at once: prioritised search, re-ordered by failures, else a complete one, then improvements.

1. One agent after the other is planned around those before it, longest trips first. Who finds no
   way comes first in the next attempt. After some attempts agents also leave late, by chance:
   where two have to pass each other at the only bay of a corridor, the first one must wait.
   Where no attempt succeeds, a complete search on a coarse graph does it (`agentsc.protocol.joint.complete`).
2. Large neighbourhood search: some agents, one of them late and the others in its way, give up
   their paths and are planned anew in another order; what is no worse is kept.
3. Paths are sampled at ticks and straightened, checked exactly and in continuous time.

Agents may have *proposals*, ways drawn from the trajectory prior (`agentsc.protocol.joint.proposals`). Then each is
planned, and its path straightened, in a tube around one of its own, around another one where that does not do within
some patience, then in wider ones, and at last anywhere.

All loops are bounded by counts, and all choices are keyed: the result is a function of the world,
the seed and the episode's number.

References: M. Cap et al., "Prioritized planning algorithms for trajectory coordination of multiple
mobile robots", 2015 (1); J. Li, Z. Chen, D. Harabor, P. J. Stuckey and S. Koenig, "Anytime
multi-agent path finding via large neighborhood search", IJCAI 2021 (2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint import complete
from agentsc.protocol.joint.graph import Graph
from agentsc.protocol.joint.lattice import UNREACHED, Claim, Floats, Ints, Lattice, fits
from agentsc.protocol.joint.one import Trip, find
from agentsc.protocol.joint.tubes import Proposal, Tube
from envs import keyed
from envs.geometry import segment_closest
from envs.world import World

SLIP = 1.001
"""Plans keep this many times the separation, and stay under top speed by as much."""
PUNCTUAL = 6
"""Attempts in which everybody may leave at once."""
GLANCES = 48
"""Ticks at which a straight dash to the goal is considered."""
PATIENCE = 8
"""Steps that an agent is held up in a tube at most before the next one is tried."""
PARTS = (1, 2)
"""Places per planning cell at which the complete search is tried."""


@dataclass(frozen=True)
class Lead:
    """Where agents still go before a search may decide for them: a way to their starts, already promised to others.

    Attributes:
        path: float32 [L + 1, agent, 2], metres, at ticks. until: int64 [agent], ticks after which each is at its start.
    """

    path: Floats
    until: Ints

    @classmethod
    def none(cls, starts: Floats) -> Lead:
        """Everybody is at its start [agent, 2] already."""
        return cls(starts[None].astype(np.float32), np.zeros(len(starts), np.int64))


@dataclass(frozen=True)
class Proposals:
    """Ways that the search is to keep to.

    Attributes:
        ways: several for each agent, or none. width: metres, half of a tube's. widths: factors of it, as tried.
    """

    ways: list[list[Proposal]]
    width: float
    widths: tuple[float, ...] = (1.0, 2.0)


class _Choice:
    """The ways that one agent may be planned in: tubes around its proposals, the narrow ones first, then the map."""

    def __init__(self, lattice: Lattice, trip: Trip, proposals: Proposals | None, agent: int) -> None:
        self.lattice, self.trip = lattice, trip
        ways = [] if proposals is None else proposals.ways[agent]
        self.asked: list[tuple[Proposal, float | None]] = []
        if proposals is not None:
            self.asked = [(way, factor * proposals.width) for factor in proposals.widths for way in ways]
            # The places to pass hold even where nothing else does.
            self.asked += [(way, None) for way in ways[:1] if any(leg.within_m < np.inf for leg in way)]
        self.count = len(ways)
        self.anywhere = len(self.asked)
        self._made: dict[int, tuple[Trip, Tube | None]] = {self.anywhere: (trip, None)}

    def way(self, number: int) -> tuple[Trip, Tube | None]:
        """The trip in the tube of that number; the last one is the whole map."""
        if number not in self._made:
            tube = Tube.of(self.lattice, *self.asked[number])
            self._made[number] = self.trip.within(self.lattice, tube.inside, tube.gate), tube
        return self._made[number]

    def order(self, luck: int) -> list[int]:
        """Numbers of the tubes, in the order they are tried: proposals take turns in being the first one."""
        tubes = [k for k, (_, width) in enumerate(self.asked) if width is not None]
        turned = [k - k % self.count + (k + luck) % self.count for k in tubes]
        return turned + list(range(len(turned), self.anywhere + 1))

    def possible(self) -> Trip:
        """The trip in the first tube that leads to the goal."""
        trips = (self.way(number)[0] for number in range(self.anywhere + 1))
        return next((trip for trip in trips if trip.least < UNREACHED), self.trip)


@dataclass(frozen=True)
class _Task:
    """What is searched: trips [agent], the step by which everybody is at its start, and ways that are promised.

    Attributes:
        choices: per agent, where it may be planned. ready: int64 [agent], steps.
        promised: per agent, its claims until it is ready.
    """

    lattice: Lattice
    choices: list[_Choice]
    trips: list[Trip]
    ready: Ints
    promised: list[list[Claim]]

    @classmethod
    def of(
        cls, lattice: Lattice, starts: Floats, goals: Floats, lead: Lead, proposals: Proposals | None = None
    ) -> _Task:
        trips = [Trip.of(lattice, start, goal) for start, goal in zip(starts, goals, strict=True)]
        choices = [_Choice(lattice, trip, proposals, agent) for agent, trip in enumerate(trips)]
        trips = [choice.possible() for choice in choices]
        ready = -(-lead.until // lattice.ticks)
        gone = lattice.origin - 1e3 * lattice.step_m  # a claim's last place is for ever
        promised: list[list[Claim]] = []
        for agent, steps in enumerate(ready.tolist()):
            tick = np.minimum(np.arange(steps + 1) * lattice.ticks, lead.until[agent])
            way = np.vstack([lead.path[tick, agent], gone[None]]).astype(np.float64)
            rest = np.vstack([np.repeat(starts[agent][None], steps + 1, axis=0), gone[None]]).astype(np.float64)
            promised.append([Claim(way, True), Claim(rest, True)] if steps else [])
        return cls(lattice, choices, trips, ready, promised)

    def find(
        self, agent: int, found: dict[int, Claim], latest: int, hold: int = 0, luck: int = 0, astray: bool = True
    ) -> Claim | None:
        """The way of one agent around those found, and around what all others have promised.

        Args:
            luck: says which of its proposals is tried first. astray: whether it may leave its proposals, if all else
                fails.
        """
        others = list(found.values())
        for other, promised in enumerate(self.promised):
            if other != agent and promised:
                others += promised[: 1 if other in found else 2]
        choice, ready = self.choices[agent], int(self.ready[agent])
        for number in choice.order(luck):
            trip, tube = choice.way(number)
            anywhere = number == choice.anywhere
            off = anywhere and choice.count > 0
            if trip.least == UNREACHED or (off and not astray):
                continue
            patient = max(hold, ready) + trip.least + PATIENCE
            if anywhere or choice.asked[number][1] is None:
                patient = latest
            claim = find(self.lattice, trip, others, min(latest, patient), hold, ready)
            if claim is not None:
                claim.tube, claim.astray = tube, off
                return claim
        return None


def plan(
    lattice: Lattice, starts: Floats, goals: Floats, key: tuple[int, ...], attempts: int, repairs: int,
    lead: Lead | None = None, distance: float | None = None,
) -> Floats:  # fmt: skip
    """Paths of all agents that keep apart and arrive; if none are found, everybody stays.

    Args:
        starts, goals: float32 [agent, 2], metres. key: words that all random choices are keyed by.
        attempts: orders tried until everybody has a path. repairs: neighbourhoods searched after that.
        lead: how agents come to their starts. Their paths rest there from the beginning, too: they must not be
            in anybody's way there, however early they come.
        distance: metres that centres have to keep, if that is less than what the search aims at.

    Returns:
        float32 [T + 1, agent, 2], positions at ticks, metres; everybody rests after the last.
    """
    paths = in_turn(lattice, starts, goals, key, attempts, repairs, lead, distance)
    if paths is not None:
        return paths
    apart = SLIP * lattice.world.separation if distance is None else distance
    found = thoroughly(lattice, starts, goals, key, repairs, apart, lead)
    found = [paths for paths in found if sound(lattice.world, paths, distance)]
    return min(found, key=len, default=starts[None].astype(np.float32))


def in_turn(
    lattice: Lattice, starts: Floats, goals: Floats, key: tuple[int, ...], attempts: int, repairs: int,
    lead: Lead | None = None, distance: float | None = None, proposals: Proposals | None = None,
) -> Floats | None:  # fmt: skip
    """Paths from planning one after the other, improved: see `plan`; None if none are found.

    Args:
        proposals: ways to keep to.
    """
    lead = Lead.none(starts) if lead is None else lead
    task = _Task.of(lattice, starts, goals, lead, proposals)
    longest = max(trip.least for trip in task.trips)
    if longest == UNREACHED:
        return None
    longest += int(task.ready.max())
    # Whoever cannot make it in time is on its way all the same.
    latest = max(lattice.world.max_ticks // lattice.ticks, 3 * longest + 32)
    claims = _first(task, latest, key, attempts)
    return None if claims is None else _improved(task, claims, key, repairs, lead, distance)


def thoroughly(
    lattice: Lattice, starts: Floats, goals: Floats, key: tuple[int, ...], repairs: int, distance: float,
    lead: Lead | None = None, proposals: Proposals | None = None,
) -> list[Floats]:  # fmt: skip
    """Paths from the complete search, improved in two ways and as they are: see `plan`; none if none are found.

    Nobody leaves its start before everybody is there.

    Args:
        distance: metres, kept by the last of them between steps at the same tick, taken as sets of points; those
            improved keep it at any time.
    """
    world = lattice.world
    lead = Lead.none(starts) if lead is None else lead
    for parts in PARTS:
        graph, (start, goal) = Graph.of(world, np.stack([starts, goals]), distance, parts)
        moves = complete.search(graph, start, goal, (*key, parts)).moves
        if moves is None:
            continue
        moves = moves.spared()
        paths = _later(moves.routes(world.v_max * world.dt), int(lead.until.max()))
        found = [straighten(world, paths.copy(), lead.until), paths]
        task = _Task.of(lattice, starts, goals, lead, proposals)
        if max(trip.least for trip in task.trips) < UNREACHED:
            steps = _later(moves.routes(lattice.step_m), int(task.ready.max()))
            rests = _arrivals(steps).tolist()
            claims = [Claim(steps[: rest + 1, agent].astype(np.float64)) for agent, rest in enumerate(rests)]
            better = _improved(task, claims, key, repairs, lead, distance)
            found = [better, *found] if better is not None else found
        return found
    return []


def _later(paths: Floats, rows: int) -> Floats:
    """Paths [T + 1, agent, 2] after so many rows of rest."""
    return np.concatenate([np.repeat(paths[:1], rows, axis=0), paths])


def _improved(
    task: _Task, claims: list[Claim], key: tuple[int, ...], repairs: int, lead: Lead, distance: float | None
) -> Floats | None:
    """Paths at ticks, from neighbourhood search and straightening; None if they are not sound after all."""
    world = task.lattice.world
    claims = _improve(task, claims, key, repairs)
    paths = at_ticks(claims, task.lattice.ticks)
    paths = straighten(world, paths, lead.until, Kept.of(task.lattice, claims, len(paths) - 1))
    return paths if sound(world, paths, distance) else None


def _first(task: _Task, latest: int, key: tuple[int, ...], attempts: int) -> list[Claim] | None:
    """A path for everybody, from prioritised planning in several orders."""
    trips = task.trips
    urgency = np.array([float(trip.least) for trip in trips])
    failures = np.zeros(len(trips))
    for attempt in range(attempts):
        # Who failed before comes first; the rest by length of trip, in later attempts roughly.
        chance = keyed.uniform(*key, keyed.stream_id("order"), attempt, np.arange(len(trips)))
        rank = failures + urgency / urgency.max(initial=1.0) * 0.5 + chance * min(attempt, 5) * 0.1
        waits = keyed.uniform(*key, keyed.stream_id("wait"), attempt, np.arange(2 * len(trips))).reshape(2, -1)
        most = urgency.max() * max(attempt - PUNCTUAL + 1, 0) / max(attempts - PUNCTUAL, 1)
        hold = np.where(waits[0] < 0.5, waits[1] * most, 0.0).astype(np.int64)
        found: dict[int, Claim] = {}
        for agent in np.argsort(-rank, kind="stable").tolist():
            claim = task.find(agent, found, latest, int(hold[agent]), attempt)
            if claim is None:
                failures[agent] = failures.max() + 1.0
                break
            found[agent] = claim
        if len(found) == len(trips):
            return [found[agent] for agent in range(len(trips))]
    return None


def _value(claims: list[Claim]) -> tuple[int, int, int, float]:
    """What is minimised, in this order: agents that leave their proposals, last arrival, sum of arrivals, length."""
    steps = [claim.steps for claim in claims]
    astray = sum(claim.astray for claim in claims)
    return astray, max(steps), sum(steps), round(sum(claim.length for claim in claims), 6)


def _improve(task: _Task, claims: list[Claim], key: tuple[int, ...], repairs: int) -> list[Claim]:
    """Large neighbourhood search around a solution."""
    count, lattice = len(task.trips), task.lattice
    alone = [_alone(task, agent) for agent in range(count)]
    value = _value(claims)
    for repair in range(repairs):
        chance = keyed.uniform(*key, keyed.stream_id("repair"), repair, np.arange(2 * count + 1))
        arrival = np.array([claim.steps for claim in claims])
        delay = np.maximum(arrival - [claim.steps for claim in alone], 0)
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
        tried = _again(task, claims, order.tolist(), value[1], (chance[:count] * 1e6).astype(np.int64))
        if tried is not None and _value(tried) <= value:
            claims, value = tried, _value(tried)
    return claims


def _alone(task: _Task, agent: int) -> Claim:
    trip, ready = task.trips[agent], int(task.ready[agent])
    claim = find(task.lattice, trip, [], trip.least + ready, ready=ready)
    assert claim is not None, "a trip's least number of steps is reached without traffic"
    return claim


def _rivals(wished: Claim, claims: list[Claim], own: int, distance: float) -> NDArray[np.float64]:
    """1 for agents that the wished-for path comes too close to, 0 for others."""
    steps = np.arange(2 * max(max(claim.steps for claim in claims), wished.steps) + 1)
    gap = np.array([np.linalg.norm(claim.at(steps) - wished.at(steps), axis=-1).min() for claim in claims])
    return np.asarray(gap < distance, np.float64)


def _again(task: _Task, claims: list[Claim], order: list[int], latest: int, luck: Ints) -> list[Claim] | None:
    """Plan some agents anew, in this order, around all others; None if one arrives later than ``latest``.

    Args:
        luck: int64 [agent], says which proposal of each is tried first.
    """
    kept = {agent: claim for agent, claim in enumerate(claims) if agent not in order}
    for agent in order:
        claim = task.find(agent, kept, latest, luck=int(luck[agent]), astray=claims[agent].astray)
        if claim is None:
            return None
        kept[agent] = claim
    return [kept[agent] for agent in range(len(claims))]


def at_ticks(claims: list[Claim], ticks: int) -> Floats:
    """Positions [T + 1, agent, 2] at ticks, metres."""
    last = max(claim.steps for claim in claims)
    when = np.arange(last * ticks + 1) / ticks
    low = np.minimum(when.astype(np.int64), max(last - 1, 0))
    share = (when - low)[:, None]
    paths = []
    for claim in claims:
        path = claim.path[np.minimum(np.arange(last + 2), claim.steps)]
        paths.append(path[low] * (1.0 - share) + path[low + 1] * share)
    return np.stack(paths, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Kept:
    """Which straight pieces stay in the tubes that paths were found in.

    Attributes:
        tubes: per agent; None for one that may go anywhere. layer: int64 [T, agent], of its tube, between ticks.
    """

    lattice: Lattice
    tubes: list[Tube | None]
    layer: Ints

    @classmethod
    def of(cls, lattice: Lattice, claims: list[Claim], ticks: int) -> Kept | None:
        """What claims keep to during so many ticks; None if none keeps to anything."""
        if all(claim.tube is None for claim in claims):
            return None
        step = np.arange(ticks) // lattice.ticks
        layer = np.stack([claim.layer[np.minimum(step, claim.steps)] for claim in claims], axis=1)
        return cls(lattice, [claim.tube for claim in claims], layer)

    def allows(self, agent: int, begin: Ints, until: Ints, tick: Ints, new: Floats) -> NDArray[np.bool_]:
        """bool [n]: whether positions [n, k, 2] at ticks [n, k] may replace those between two ticks [n] each."""
        tube = self.tubes[agent]
        if tube is None:
            return np.ones(len(begin), bool)
        layer = self.layer[:, agent]
        changes = np.append(0, np.cumsum(np.diff(layer) != 0))
        at = np.minimum(np.stack([begin, until - 1]), len(layer) - 1)
        one = (changes[at[0]] == changes[at[1]]) & ~tube.held[layer[at[0]]]
        within = tube.holds(self.lattice, new, np.broadcast_to(layer[at[0], None], tick.shape))
        ends = (tick == begin[:, None]) | (tick == until[:, None])
        return np.asarray(one & (within | ends).all(1))


def straighten(world: World, paths: Floats, since: Ints | None = None, kept: Kept | None = None) -> Floats:
    """Straight pieces for bent ones where nobody minds, and earlier arrivals.

    A piece between two ticks gives way to a straight one at constant speed, or to one at full speed
    that ends at the goal, if that keeps clear of obstacles and of all others.

    Args:
        paths: float32 [T + 1, agent, 2], metres; changed in place.
        since: int64 [agent], ticks before which nobody moves; 0 if not given. kept: what paths have to keep to.

    Returns:
        The same paths, [T' + 1, agent, 2], without the rest at the end.
    """
    tick_m = world.v_max * world.dt / SLIP
    for _ in range(2):
        for agent in np.argsort(-_arrivals(paths), kind="stable").tolist():
            arrival = _arrival(paths[:, agent])
            early = 0 if since is None else min(int(since[agent]), arrival)
            begin = np.unique(np.linspace(early, max(arrival - 1, early), GLANCES).astype(np.int64))
            gap = np.linalg.norm(paths[-1, agent] - paths[begin, agent], axis=-1)
            end = begin + np.maximum(np.ceil(gap / tick_m).astype(np.int64), 1)
            sooner = end < arrival
            earliest = np.argsort(end[sooner], kind="stable")
            _replace(world, paths, agent, begin[sooner][earliest], end[sooner][earliest], arrival, kept, one=True)
            arrival = _arrival(paths[:, agent])
            span = arrival - early
            while span >= 2:
                # Pieces of one pass do not overlap, so that all of them may be replaced.
                for first in (0, span // 2):
                    begin = np.arange(early + first, arrival - span + 1, span)
                    _replace(world, paths, agent, begin, begin + span, begin + span, kept)
                span = span * 2 // 3 if span > 8 else span // 2
    return paths[: int(_arrivals(paths).max()) + 1]


def _arrivals(paths: Floats) -> Ints:
    """Tick from which each agent [agent] rests at its end."""
    moving = (paths != paths[-1]).any(-1)
    return np.asarray(np.where(moving.any(0), len(paths) - moving[::-1].argmax(0), 0), np.int64)


def _arrival(path: Floats) -> int:
    """The same for one agent's path [T + 1, 2]."""
    moving = np.flatnonzero((path != path[-1]).any(-1))
    return int(moving[-1]) + 1 if len(moving) else 0


def _replace(
    world: World, paths: Floats, agent: int, begin: Ints, end: Ints, until: Ints | int, kept: Kept | None,
    one: bool = False,
) -> None:  # fmt: skip
    """Go straight between ticks ``begin`` and ``end`` [n], then rest until ``until`` [n], where that is better.

    It has to keep clear of obstacles and others. Better is shorter, or earlier (``end`` before ``until``).
    Pieces must not overlap, unless only the first allowed ``one`` is wanted.
    """
    from agentsc.protocol.joint import _kernels

    until = np.broadcast_to(until, begin.shape)
    a, b = paths[begin, agent], paths[until, agent]
    gap = np.linalg.norm(b - a, axis=-1)
    gone = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(paths[:, agent], axis=0), axis=-1)))
    better = (end < until) | (gone[until] - gone[begin] > gap + 1e-3 * world.radius)
    some = np.flatnonzero(better & (gap <= (end - begin) * world.v_max * world.dt / SLIP))
    some = some[fits(world, a[some], b[some])]
    if not len(some):
        return
    begin, end, until, a, b = begin[some], end[some], until[some], a[some], b[some]
    tick = np.minimum(begin[:, None] + np.arange((until - begin).max() + 1), until[:, None])
    share = np.minimum((tick - begin[:, None]) / (end - begin)[:, None], 1.0).astype(np.float32)[..., None]
    new = np.where(share < 1.0, a[:, None] + (b - a)[:, None] * share, b[:, None])
    if kept is not None:
        fine = kept.allows(agent, begin, until, tick, new)
        if not fine.any():
            return
        begin, until, tick, new = begin[fine], until[fine], tick[fine], new[fine]
    allowed = np.zeros(len(tick), bool)
    _kernels.clear(paths, agent, tick, new, SLIP * world.separation, allowed)
    for n in np.flatnonzero(allowed)[: 1 if one else None].tolist():
        paths[tick[n], agent] = new[n]


def sound(world: World, paths: Floats, distance: float | None = None) -> bool:
    """The exact check of the result [T + 1, agent, 2]: apart in continuous time, clear of obstacles, not too fast."""
    distance = world.separation if distance is None else distance
    if len(paths) < 2:
        return True
    step = np.linalg.norm(np.diff(paths, axis=0), axis=-1)
    first, second = np.triu_indices(paths.shape[1], 1)
    closest = segment_closest(paths[:-1, first], paths[1:, first], paths[:-1, second], paths[1:, second])
    apart = closest.min(initial=np.inf) >= distance
    return bool(
        apart
        and step.max() <= world.v_max * world.dt * (1.0 + 1e-5)
        and fits(world, paths[:-1].reshape(-1, 2), paths[1:].reshape(-1, 2)).all()
    )
