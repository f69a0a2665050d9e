"""Places of limited capacity: who comes later, or against the stream, waits outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.protocol.terms import TERMS, Floats, ReconciliationTerm, fading
from agentsc.protocol.wishes import queueing
from policies.trajectory.terms import Places, Resources

if TYPE_CHECKING:
    from agentsc.protocol.reconcile import ReconcilingBlock
    from envs.world import World

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Window(NamedTuple):
    """When agents use places, and which way they pass: float32 [..., place], seconds and −1, 0 or 1."""

    enter: Floats
    leave: Floats
    way: Floats


@TERMS.register("resources")
class ResourcesTerm(ReconciliationTerm):
    """Keeps agents out of doors, corridors and stations while others use their capacity, and spreads open goals."""

    weight: float = Field(20.0, ge=0.0, description="seconds charged for being where it is full all the time; 0 is off")
    rim_m: float = Field(1.5, gt=0.0, description="metres before a full place at which the charge begins")
    guard_s: float = Field(1.0, ge=0.0, description="seconds by which a use may begin earlier or end later")
    ahead_s: float = Field(30.0, gt=0.0, description="seconds ahead that uses are foreseen")
    service_s: float = Field(2.0, ge=0.0, description="seconds that one takes at a place that is its goal")
    switch_s: float = Field(1.0, ge=0.0, description="seconds that going to another open place must save")

    def offered(self, world: World) -> bool:
        """See `ReconciliationTerm.offered`."""
        return world.resources is not None and world.agents > 1

    def charge(self, block: ReconcilingBlock) -> Any:
        """See `ReconciliationTerm.charge`; also says to the block who goes before whom (``block.ahead``)."""
        resources = block.setup.world.resources
        assert resources is not None
        due = block.due
        windows, peers = self._windows(block, due)
        before = self._goes_before(block, due, windows, peers)
        ticks = block.waypoint_ticks()
        seconds = (ticks - ticks[:, :1]) * block.setup.world.dt
        uses = (seconds[:, None, None] >= peers.enter[..., None] - self.guard_s) & (
            seconds[:, None, None] <= peers.leave[..., None] + self.guard_s
        )  # [n, A, place, waypoint]
        load = (uses & before[..., None]).sum(1).astype(np.float32)
        block.ahead[due] = before.any(2).astype(np.int64)
        # Whoever is inside, and has to get out, is given way by those whom it goes before.
        inside = (windows.enter <= 0.0) & np.isfinite(windows.leave)
        mine = (inside[:, None] & ~before & (peers.way * windows.way[:, None] < 0)).any(2)
        block.ahead[due] -= mine & ~before.any(2)
        if not load.any():
            return None
        n = len(due)
        centre, half = (np.broadcast_to(each, (n, *each.shape)) for each in (resources.centre, resources.half))
        rim = np.full(load.shape[:2], self.rim_m, np.float32)
        places = Places(centre.astype(np.float32), half.astype(np.float32), rim)
        capacity = np.broadcast_to(resources.capacity.astype(np.float32), load.shape[:2])
        return Resources(places, load, capacity.copy(), fading(n, ticks.shape[1]))

    def _windows(self, block: ReconcilingBlock, rows: Ints) -> tuple[Window, Window]:
        """Own uses [n, place], and those of peers [n, peer, place], as far as they are known."""
        world, agents = block.setup.world, block.agents
        resources = world.resources
        assert resources is not None
        spots = block.spots(rows, block._start)
        goals = block.told_goals(rows)
        goals[np.arange(len(rows)), block.id[rows]] = block.goal[rows]
        goals = np.where(np.isfinite(goals), goals, spots)
        metres = self.ahead_s * block.speed
        flat, goal = spots.reshape(-1, 2), block.guide.goal_index(goals.reshape(-1, 2))
        step = 0.5 * world.cell
        arc = np.arange(0.0, metres, step, dtype=np.float32)
        way = block.guide.walks(flat, goal, metres).at(np.broadcast_to(arc, (len(flat), len(arc))))
        inside = self._within(block, way)  # [n·A, k, place]
        enter = inside.argmax(1) * np.float32(step / block.speed)
        last = len(arc) - 1 - inside[:, ::-1].argmax(1)
        leave = last * np.float32(step / block.speed)
        uses = inside.any(1)
        stays = uses & (np.linalg.norm(way[:, -1, None] - resources.centre, axis=-1) < world.cell)
        leave = np.where(stays, enter + self.service_s, leave)
        first = np.take_along_axis(way, np.broadcast_to(inside.argmax(1)[..., None], (*uses.shape, 2)), 1)
        final = np.take_along_axis(way, np.broadcast_to(last[..., None], (*uses.shape, 2)), 1)
        along = np.eye(2, dtype=np.float32)[resources.half.argmax(1)]
        direction = np.sign(((final - first) * along).sum(-1)) * uses
        shape = (len(rows), agents, len(resources.centre))
        never = np.float32(np.inf)
        window = Window(
            np.where(uses, enter, never).reshape(shape),
            np.where(uses, leave, -never).reshape(shape),
            direction.reshape(shape).astype(np.float32),
        )
        one = np.arange(len(rows)), block.id[rows]
        own = Window(*(part[one].copy() for part in window))
        window.enter[one], window.leave[one], window.way[one] = never, -never, 0.0
        return own, window

    def _within(self, block: ReconcilingBlock, spots: Floats) -> Flags:
        """bool [..., k, place]: which of ``spots`` [..., k, 2] are in which places."""
        resources = block.setup.world.resources
        assert resources is not None
        room = np.where(resources.half.any(1), 0.0, 0.6 * self.rim_m)[:, None]
        return np.asarray((np.abs(spots[..., None, :] - resources.centre) <= resources.half + room).all(-1))

    def _goes_before(self, block: ReconcilingBlock, rows: Ints, own: Window, peers: Window) -> Flags:
        """bool [n, peer, place]: peers that rows wait for.

        Who is inside goes before who is not. Of those outside: on a one-way place, whoever goes the way of those
        inside, else whoever has right of way; elsewhere whoever comes first. Who goes the same one way is never waited
        for.
        """
        resources = block.setup.world.resources
        assert resources is not None
        enter, mine = peers.enter, own.enter[:, None]
        overlap = (enter <= own.leave[:, None] + self.guard_s) & (peers.leave >= mine - self.guard_s)
        inside, outside = enter <= 0.0, (mine > 0.0) & np.isfinite(mine)
        everyone = np.broadcast_to(np.arange(block.agents), (len(rows), block.agents))
        rank = block.rank(block.intents.priority[rows], everyone)
        higher = (rank > block.rank(block.own_priority[rows], block.id[rows])[:, None])[..., None]
        if not resources.one_way:
            sooner = (enter < mine - 0.5) | ((enter < mine + 0.5) & higher)
            return np.asarray(overlap & outside & (inside | sooner))
        held = np.sign((peers.way * inside).sum(1))[:, None]
        urgent = (block.intents.priority[rows] > np.maximum(block.own_priority[rows], 1)[:, None])[..., None]
        with_stream = np.where(held == 0, higher, (held == peers.way) | urgent)
        opposing = peers.way * own.way[:, None] < 0
        return np.asarray(overlap & outside & opposing & (inside | with_stream))

    def wish(self, block: ReconcilingBlock) -> Floats | None:
        """Where places are as good as each other: the one where service is to be had first."""
        resources = block.setup.world.resources
        assert resources is not None
        if not resources.interchangeable:
            return None
        ready, here = waits(block, self.service_s)
        rows = np.flatnonzero(here >= 0)
        found = np.full((len(block.rows), 2), np.nan, np.float32)
        if not len(rows):
            return found
        best = ready[rows].argmin(1)
        better = ready[rows, best] < ready[rows, here[rows]] - self.switch_s
        found[rows[better]] = resources.centre[best[better]]
        return found


def waits(block: ReconcilingBlock, service_s: float) -> tuple[NDArray[np.float64], Ints]:
    """When rows would be served at interchangeable places, and which one they go to.

    Returns:
        float [row, place], seconds from now; int64 [row], the place, −1 for who goes elsewhere or is there already.
    """
    world = block.setup.world
    resources = world.resources
    assert resources is not None
    rows, centre = block.rows, np.broadcast_to(resources.centre, (len(block.rows), *resources.centre.shape))
    spots = block.spots(rows)
    seconds = block.seconds_between(spots, centre)
    told = block.told_goals(rows)
    told[rows, block.id] = block.goal
    with np.errstate(invalid="ignore"):
        heads = np.linalg.norm(told[:, :, None] - centre[:, None], axis=-1) < 0.5 * world.cell
    here = np.where(heads[rows, block.id].any(1), heads[rows, block.id].argmax(1), -1)
    here[seconds[rows, block.id, np.maximum(here, 0)] * block.speed < world.cell] = -1
    arrival = np.where(heads, seconds, np.inf)
    arrival[rows, block.id] = np.inf
    return queueing(arrival, service_s, seconds[rows, block.id]), here
