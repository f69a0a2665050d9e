"""What agents propose for a course: ways to their goals, drawn from the trajectory prior with seeds that all share.

A proposal is a chain of windows. Each is a sample of the prior, conditioned on the local map and on the way that the
map's motion pattern suggests from where the window before is left; its first part is kept, and the next window begins
there. Samples with the same number are drawn together: in each window everybody is drawn once, and then from the same
noise once more, guided to keep clear of what others with that number have just drawn. Then everybody is given one of
its samples to begin with, so that together they meet as little as may be. All that goes in is known to everybody who
has heard all wishes, and all noise is keyed, so everybody draws the same; no proposal crosses the air.

Proposals need not keep apart, nor clear of obstacles to the millimetre: the search does that, in tubes around them
(`agentsc.protocol.joint.tubes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol import Sampler, SampleRequest, Setup
from agentsc.protocol.joint.tubes import Leg, Proposal
from envs import keyed
from envs.navigation import NavigationGrid
from policies.requests import Peers
from policies.trajectory.context import Context, build
from policies.trajectory.route import CLEARANCE, Guide, Routes
from policies.trajectory.spline import basis

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
How = Literal["joint", "alone", "route"]
KEPT = 5 / 8
"""Share of a window's ticks that is kept before the next one."""
IN_REACH = 0.8
"""A target so near, in reaches of a plan, is reached with the window; plans slow down at their ends."""
STRIDE = 2
"""Ticks between the way-points that guidance looks at, as in `TrajectoryModel`."""
NEIGHBOURS = 6
"""Others that guidance looks at, nearest first."""
CARE = 1.08
"""Radii that guidance keeps from obstacles."""
SWEEPS = 4
"""Times that everybody may choose another sample, in turn."""
WINDING = 2.5
"""A leg is at most so many times as long as its ends are apart: so it does not come back to where it has been."""
SPARE_WINDOWS = 6
"""Windows beyond those that the length of the way suggests; a proposal that needs more is dropped."""


@dataclass
class _Chains:
    """Proposals in the making, one per row = agent · samples + sample.

    Attributes:
        spot, velocity: float32 [row, 2], where the next window begins. target: int64 [row], of its targets.
        legs: what is kept so far.
    """

    spot: Floats
    velocity: Floats
    target: Ints
    legs: list[Proposal]


class Proposer:
    """Draws proposals on one map.

    Args:
        setup: the map, its motion pattern, the prior. sample: asks the core.
        count: samples per agent. against: a way straight against the pattern costs so many times its length.
        how: "joint": everybody is drawn a second time in each window, to keep clear of the others, and samples are
            chosen to go well together; "alone": none of that; "route": nothing is drawn, the ways that samples are
            conditioned on stand for them.
    """

    def __init__(self, setup: Setup, sample: Sampler, count: int, against: float, how: How) -> None:
        world = setup.world
        self.setup, self.sample, self.count, self.how = setup, sample, count if how != "route" else 1, how
        grid = NavigationGrid(
            world.obstacles, world.radius, world.cell, flow=world.flow, flow_cost=against - 1.0, extent=world.bounds
        )
        self.guide = Guide(grid, world.obstacles, world.radius * CLEARANCE, setup.vehicle.reach)
        self.horizon = setup.spec.horizon_ticks
        self._basis = basis(setup.spec.control_points, self.horizon + 1)

    def propose(self, starts: Floats, goals: Floats, key: tuple[int, ...], stop: bool = True) -> list[list[Proposal]]:
        """Several proposals for each agent, the one to begin with first.

        Args:
            starts, goals: float32 [agent, 2], metres. key: words that all noise is keyed by.
            stop: whether trips pass the stops of the map's motion pattern.
        """
        world, agents = self.setup.world, len(starts)
        stops = world.stops if stop else None
        targets = goals[:, None].astype(np.float32)
        if stops is not None:
            targets = np.concatenate([stops.points(starts, goals), targets], axis=1).astype(np.float32)
        rows = agents * self.count
        agent = np.repeat(np.arange(agents), self.count)
        goal = self.guide.goal_index(targets.reshape(-1, 2)).reshape(agents, -1)[agent]
        chains = _Chains(
            np.repeat(starts, self.count, axis=0).astype(np.float32), np.zeros((rows, 2), np.float32),
            np.zeros(rows, np.int64), [[] for _ in range(rows)],
        )  # fmt: skip
        last = targets.shape[1] - 1
        length = self.guide.cost_to_go(chains.spot, goal[:, 0]) + sum(
            self.guide.cost_to_go(targets[agent, k], goal[:, k + 1]) for k in range(last)
        )
        length = length[np.isfinite(length)].max(initial=0.0)
        windows = int(length / (KEPT * self.setup.vehicle.reach)) + targets.shape[1] + SPARE_WINDOWS
        for window in range(windows):
            due = np.flatnonzero((chains.target <= last) & np.isfinite(length))
            if not len(due):
                break
            points, routes = self._draw(chains, due, goal[due, chains.target[due]], agent, key, window)
            self._keep(chains, due, points, routes, targets[agent[due], chains.target[due]], last)
        done = np.flatnonzero(chains.target > last)
        found: list[list[Proposal]] = [[] for _ in range(agents)]
        for row in done.tolist():
            found[agent[row]].append(joined(chains.legs[row]))
        if self.how == "joint" and len(done):
            tracks = tracks_of([chains.legs[row] for row in done.tolist()])
            first = np.zeros(agents, np.int64)
            chosen = harmonious(tracks, agent[done], 1.1 * world.separation)
            first[: len(chosen)] = chosen
            found = [mine[k:] + mine[:k] for mine, k in zip(found, first.tolist(), strict=True)]
        return found

    def _draw(
        self, chains: _Chains, due: Ints, goal: Ints, agent: Ints, key: tuple[int, ...], window: int
    ) -> tuple[Floats, Routes]:
        """A window of rows ``due``: way-points [n, H + 1, 2] at ticks, and the ways that it follows."""
        world, vehicle = self.setup.world, self.setup.vehicle
        routes = self.guide.routes(chains.spot[due], goal)
        none = np.zeros(len(due), np.int64)
        context = build(
            world.obstacles, vehicle, chains.velocity[due], routes, np.zeros(len(due), np.float32), none, none
        )
        if self.how == "route":
            return np.asarray(self._basis @ context.nominal, np.float32), routes
        keys = self._keys(key, agent[due], due, window)
        points = self._sampled(context, keys, self._walls(len(due)))
        if self.how == "joint" and len(np.unique(agent[due])) > 1:
            peers = self._others(points, agent[due], due % self.count)
            points = self._sampled(context, keys, peers)
        return points, routes

    def _keys(self, key: tuple[int, ...], agent: Ints, row: Ints, window: int) -> NDArray[np.uint64]:
        stream = keyed.stream_id("proposal")
        return np.asarray(keyed.hash_words(*key, stream, agent, row % self.count, window), np.uint64)

    def _sampled(self, context: Context, keys: NDArray[np.uint64], peers: Peers) -> Floats:
        reply = self.sample(SampleRequest(self.setup.prior, context, keys, 1, peers=peers))
        return np.asarray(self._basis @ reply.control[:, 0], np.float32)

    def _walls(self, rows: int) -> Peers:
        """Guidance by the map alone."""
        ticks = len(range(0, self.horizon + 1, STRIDE))
        discs, radius = np.zeros((rows, 0, ticks, 2), np.float32), np.zeros((rows, 0, ticks), np.float32)
        return Peers(discs, radius, np.zeros((rows, 0), np.float32), self._care(rows))

    def _care(self, rows: int) -> Floats:
        return np.full(rows, CARE * self.setup.world.radius, np.float32)

    def _others(self, points: Floats, agent: Ints, sample: Ints) -> Peers:
        """Guidance by what the nearest others with the same number have drawn."""
        count, rows = min(NEIGHBOURS, len(np.unique(agent)) - 1), len(points)
        way = points[:, ::STRIDE]
        discs = np.zeros((rows, count, way.shape[1], 2), np.float32)
        weight = np.zeros((rows, count), np.float32)
        for number in np.unique(sample):
            mine = np.flatnonzero(sample == number)
            gap = np.linalg.norm(way[mine, None] - way[mine], axis=-1).min(-1)
            np.fill_diagonal(gap, np.inf)
            near = np.argsort(gap, axis=1, kind="stable")[:, :count]
            some = near.shape[1]
            discs[mine, :some] = way[mine[near]]
            weight[mine, :some] = np.isfinite(np.take_along_axis(gap, near, 1))
        radius = np.full(discs.shape[:3], 1.2 * self.setup.world.separation, np.float32)
        return Peers(discs, radius, weight, self._care(rows))

    def _keep(
        self, chains: _Chains, due: Ints, points: Floats, routes: Routes, target: Floats, last: int
    ) -> None:
        """Append what is kept of windows, and move on to where the next ones begin."""
        world, vehicle = self.setup.world, self.setup.vehicle
        kept = int(KEPT * self.horizon)
        near = routes.complete & (routes.arc[:, -1] <= IN_REACH * vehicle.reach)
        stops = world.stops
        for k, row in enumerate(due.tolist()):
            if not near[k]:
                chains.legs[row].append(Leg(points[k, : kept + 1], np.inf))
                chains.spot[row] = points[k, kept]
                chains.velocity[row] = (points[k, kept] - points[k, kept - 1]) / np.float32(world.dt)
                continue
            path = np.concatenate([points[k], target[k][None]])
            at_stop = chains.target[row] < last and stops is not None
            within, ticks = (stops.within_m, stops.ticks) if at_stop and stops is not None else (np.inf, 0)
            chains.legs[row].append(Leg(path, within, ticks))
            chains.spot[row], chains.velocity[row] = target[k], 0.0
            chains.target[row] += 1


def joined(windows: Proposal) -> Proposal:
    """The same proposal with windows put together to as few legs as do not come back to where they have been."""
    legs: Proposal = []
    ends: list[tuple[Floats, float]] = []  # of the present leg's windows, and metres until there
    for window in windows:
        length = float(np.linalg.norm(np.diff(window.path, axis=0), axis=-1).sum())
        end, whole = window.path[-1], length + (ends[-1][1] if ends else 0.0)
        winds = any(whole - arc > WINDING * float(np.linalg.norm(end - spot)) for spot, arc in ends)
        if ends and not winds:
            path = np.concatenate([legs[-1].path, window.path[1:]])
            legs[-1] = Leg(path, window.within_m, window.ticks)
        else:
            legs.append(window)
            ends, whole = [(window.path[0], 0.0)], length
        ends.append((end, whole))
        if np.isfinite(window.within_m):  # a place to pass
            ends = []
    return legs


def tracks_of(proposals: list[Proposal]) -> Floats:
    """Where proposals are at every `STRIDE`-th tick, float32 [n, T, 2], metres; they rest where they end."""
    paths = [
        np.concatenate([part for leg in each for part in (leg.path[:-1], np.repeat(leg.path[-1:], leg.ticks + 1, 0))])
        for each in proposals
    ]
    last = max(len(path) for path in paths)
    when = np.arange(0, last, STRIDE)
    return np.stack([path[np.minimum(when, len(path) - 1)] for path in paths])


def harmonious(tracks: Floats, agent: Ints, distance: float) -> Ints:
    """Which of its samples each agent begins with, so that they come too close as seldom as may be.

    Agents choose in turn, a few times over, what comes too close least often to what the others have chosen.

    Args:
        tracks: float32 [n, T, 2], metres. agent: int64 [n], ascending, whose track each is. distance: metres.

    Returns:
        int64 [agent], numbers among the tracks of each; 0 for one that has none.
    """
    count = int(agent.max()) + 1
    begin, end = np.searchsorted(agent, np.arange(count)), np.searchsorted(agent, np.arange(count), side="right")
    meetings = np.zeros((len(tracks), len(tracks)), np.int64)
    for n, track in enumerate(tracks):
        gap = tracks - track
        meetings[n] = ((gap * gap).sum(-1) < np.float32(distance) ** 2).sum(-1)
    meetings[agent[:, None] == agent] = 0
    chosen = begin.copy()
    for _ in range(SWEEPS):
        before = chosen.copy()
        for k in np.flatnonzero(end > begin).tolist():
            others = chosen[(end > begin) & (np.arange(count) != k)]
            chosen[k] = begin[k] + int(meetings[begin[k] : end[k], others].sum(-1).argmin())
        if (chosen == before).all():
            break
    return np.asarray(chosen - begin, np.int64)
