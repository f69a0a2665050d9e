"""Reconcile and choose: what samples are worth, and which of them may be proposed.

A sample costs the time until its agent is home (traffic included, where foresight has looked), and
what peers and crowding charge. The cheapest ones are checked exactly: speed, acceleration, the
static map, and everything known or locked of peers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import confidence_code
from agentsc.protocol import SampleReply
from agentsc.protocol.boxes import clear_of_boxes
from agentsc.protocol.grants import clear_of_peers
from agentsc.protocol.plans import PlanTable
from agentsc.protocol.situation import Flags, Floats, Ints, SituatedBlock
from envs.geometry import segment_clearance
from policies import rows as batch
from policies.trajectory.pacing import paced

WALL_S = 60.0
"""Seconds charged to samples that scrape along a wall, so that they come last."""
PACE = 0.8
"""Share of the acceleration limit that plans are made for; the rest is for their rounding to whole codes."""
GAIN_RADII = 2.0
"""A plan that saves the time in which so many radii are travelled at full speed is always worth proposing."""
STRIDE = 2
"""Ticks between the way-points that guidance looks at (the core uses the same)."""


def shortened(control: Floats, keep: int) -> Floats:
    """The same plans [..., P, 2], coming to rest at their control point number ``keep``."""
    cut = control.copy()
    cut[..., keep:, :] = control[..., keep - 1 : keep, :]
    return cut


class ChoosingBlock(SituatedBlock):
    """The step from samples to a plan that can be proposed."""

    def choose(self, sampled: SampleReply) -> tuple[Ints, NDArray[np.int32], PlanTable]:
        """For every due agent the best feasible sample, if it beats keeping the committed plan.

        Returns:
            Indices into ``due`` of those with a new plan, its codes for the air, and the plans.
        """
        due, spec = self.due, self.setup.spec
        everyone = np.arange(len(due))
        ticks = self._start[:, None] + np.arange(self.horizon + 1)
        keep = self.executed(due, ticks)
        # Where agents are fast for their size, the least gain must not be as long as the way to the goal.
        gain_s = min(self.variant.gain_s, GAIN_RADII * self.setup.world.radius / self.setup.world.v_max)
        bar = self._score(everyone, keep[:, None])[:, 0] - gain_s
        # A plan through a box was made when nobody knew of that: almost any other one is better.
        bar += WALL_S * ~self._passes(due, keep)
        # Foresight's way as it is joins the samples: in a narrow place the prior may have nothing that fits.
        control = self._drivable(np.concatenate([sampled.control, self._way[:, None]], axis=1))
        rough = self._points(control)
        total = self._score(everyone, rough)
        # What scrapes along a wall is not worth an exact check.
        walls = self.ground(due).signed_distance(rough[:, :, ::STRIDE]).min(-1)
        total += WALL_S * (walls < self.setup.world.radius)
        if self.terrain is not None:  # nor is what leads to where nobody has looked
            count = rough.shape[1]
            flat = rough.reshape(-1, *rough.shape[2:])
            known = self.terrain.clear(np.repeat(due, count), flat, self.setup.world.radius)
            total += WALL_S * ~known.reshape(-1, count)
        order = np.argsort(total, axis=1, kind="stable")[:, : self.variant.consider]
        best = np.take_along_axis(control, order[..., None, None], axis=1)
        total = np.take_along_axis(total, order, axis=1)

        codes = np.zeros((len(due), spec.columns), np.int32)
        path = np.zeros((len(due), self.horizon + 1, 2), np.float32)
        found = self._first_feasible(everyone, best[:, :1], total[:, :1], bar, codes, path)
        # The best sample mostly does. Where it does not: the others, and then going part of the way,
        # which often fits where nothing else does.
        left = np.flatnonzero(~found & (total.min(1) - WALL_S < bar))
        if len(left):
            cut = np.concatenate([shortened(best[left], k) for k in (8, 6, 4, 3)], axis=1)
            cut = self._drivable(cut, left)
            again = self._score(left, self._points(cut))
            again = np.where(again < bar[left, None], again + 0.5 * WALL_S, np.inf)
            more = np.concatenate([best[left, 1:], cut], axis=1)
            rest = np.where(total[left, 1:] < bar[left, None], total[left, 1:], np.inf)
            again = np.concatenate([rest, again], axis=1)
            order = np.argsort(again, axis=1, kind="stable")
            more = np.take_along_axis(more, order[..., None, None], axis=1)
            again = np.take_along_axis(again, order, axis=1)
            found[left] = self._first_feasible(left, more, again, np.full(len(left), np.inf), codes, path)
        new = np.flatnonzero(found)
        table = PlanTable(np.zeros(len(new), np.int64), self._start[new], path[new], np.ones(len(new), bool))
        end = rough[:, :, -1]
        spread = np.linalg.norm(end - self._points(best)[:, :1, -1], axis=-1).mean(1)
        self.sureness[due] = confidence_code(1.0 - 2.0 * spread / self.setup.vehicle.reach)
        self.role[due] = self._yields
        self.aim[due] = np.where(self._yields[:, None], keep[:, -1], self.goal[due])
        self.aim[due[new]] = np.where(self._yields[new, None], path[new, -1], self.goal[due[new]])
        return new, codes[new], table

    def _drivable(self, control: Floats, rows: Ints | slice = slice(None)) -> Floats:
        """Candidates [n, candidate, P, 2] of ``rows`` (of ``due``) as a vehicle can drive them, where it is limited.

        The prior's plans are at full speed from the start; with an acceleration limit nobody is.
        """
        world, spec = self.setup.world, self.setup.spec
        if not np.isfinite(world.a_max):
            return control
        spots = self.executed(self.due[rows], self._start[rows, None] + np.array([-1, 0]))
        velocity = (spots[:, 1] - spots[:, 0]) / np.float32(world.dt)
        return paced(control, velocity, spec.horizon_s, world.v_max, PACE * world.a_max)

    def _first_feasible(
        self, rows: Ints, control: Floats, total: Floats, bar: Floats, codes: NDArray[np.int32], path: Floats
    ) -> Flags:
        """Fill ``codes`` and ``path`` of ``rows`` with their first feasible candidates that are under the bar.

        Args:
            rows: [n], indices into ``due``. control: [n, candidate, P, 2], in the order to try.
            total: [n, candidate], bar: [n], seconds.

        Returns:
            bool [n], one was found.
        """
        spec = self.setup.spec
        which, k = np.nonzero(total < bar[:, None])
        part = rows[which]
        # Wherever a candidate claims to begin: a plan continues the one being executed.
        code = spec.quantise(control[which, k], spec.lattice(self._here[part]))
        points = self._points(spec.dequantise(code))
        good = np.zeros(total.shape, bool)
        good[which, k] = self._feasible(self.due[part], points, self._start[part])
        # Candidates are in order, so the first good one of a row is its best.
        found = good.any(1)
        first = np.full(len(rows), -1)
        first[found] = good[found].argmax(1)
        taken = k == first[which]
        codes[part[taken]], path[part[taken]] = code[taken], points[taken]
        return np.asarray(found)

    def _score(self, rows: Ints, points: Floats) -> Floats:
        """Seconds [n, candidate] that plans ``points`` [n, candidate, H + 1, 2] of ``rows`` (of ``due``) cost."""
        from agentsc.protocol import _kernels

        peers = self._peers
        cost = np.empty(points.shape[:2], np.float32)
        decay = (0.98 ** np.arange(peers.discs.shape[2])).astype(np.float32)
        plans = np.ascontiguousarray(points, np.float32)
        _kernels.disc_cost(plans, STRIDE, rows, peers.discs, peers.radius, peers.weight, decay, cost)
        total = self._time_to_go(rows, points) + self._penalty(cost) + self._crowding(rows, points[:, :, -1])
        for term, charge in self._charges:
            some = charge if len(rows) == len(self.due) else batch.take(charge, rows)
            total += np.float32(term.weight) * some.charge(plans[:, :, ::STRIDE])[0]
        return total

    def _crowding(self, rows: Ints, end: Floats) -> Floats:
        """Seconds charged for stopping [n, candidate, 2] so close to where a peer stops that neither can turn."""
        due, near = self.due[rows], self._near[rows]
        room = 0.35 * self.setup.world.cell
        rest = self.knowledge.plans.path[due[:, None], near, 0, -1]
        gap = np.linalg.norm(end[:, :, None] - rest[:, None], axis=-1)
        close = np.clip((self.distance + room - gap) / room, 0.0, 1.0)
        away = np.linalg.norm(end - self.goal[due][:, None], axis=-1) > self.setup.world.goal_tolerance
        return np.asarray(3.0 * close.max(-1, initial=0.0) * away, np.float32)

    def _time_to_go(self, rows: Ints, points: Floats) -> Floats:
        """Expected arrival [n, candidate], seconds: time passed plus time to go, averaged along the plan."""
        stops = np.array([0.25, 0.5, 0.75, 1.0])
        step = np.rint(stops * self.horizon).astype(np.int64)
        seconds = (step * self.setup.world.dt).astype(np.float32)
        spots = points[:, :, step]
        n, s, k, _ = spots.shape
        if self.exact and not self.boxes:
            length = np.linalg.norm(spots - self.goal[self.due[rows]][:, None, None], axis=-1)
            result = length / self.speed
        else:
            result = self._geodesic(rows, spots.reshape(n, s * k, 2)).reshape(n, s, k)
        if self._foresight is not None:
            contested, seen = self._foresight
            mine, theirs = np.nonzero(rows[:, None] == contested)
            flat = spots[mine].reshape(len(mine), s * k, 2)
            static = result[mine].reshape(len(mine), s * k)
            result[mine] = seen.time_to_go(theirs, flat, np.tile(seconds, s), static).reshape(len(mine), s, k)
        # Once home, time stops counting; what is left there is only what peers charge.
        length = np.linalg.norm(spots - self.goal[self.due[rows]][:, None, None], axis=-1)
        home = length <= 0.5 * self.setup.world.goal_tolerance
        result = np.maximum(np.where(home, result - length / self.speed, result), 0.0)
        return np.asarray((result + seconds * ~home).mean(-1), np.float32)

    def _geodesic(self, rows: Ints, points: Floats) -> Floats:
        """Seconds to the goal from points [n, k, 2] over the static map."""
        from agentsc.protocol import _kernels

        grid, mine = self.guide.grid, self.due[rows]
        metres = np.empty(points.shape[:2], np.float32)
        _kernels.geodesic(
            np.ascontiguousarray(points, np.float32), self.goal[mine], self.goal_row[mine], self.guide.fields,
            *grid.shape, grid.origin, grid.cell, self.guide.many_maps, metres,
        )  # fmt: skip
        return np.asarray(metres / self.speed, np.float32)

    def _penalty(self, cost: Floats) -> Floats:
        """Seconds charged for the consistency cost."""
        return np.asarray(cost / self.setup.world.radius**2 * 0.5, np.float32)

    def _feasible(self, rows: Ints, points: Floats, start: Ints) -> Flags:
        """Exact checks [n]: speed, acceleration, the static map, and everything known or locked of peers."""
        world = self.setup.world
        step = np.linalg.norm(np.diff(points, axis=1), axis=-1)
        ok = step.max(1) <= world.v_max * world.dt * 1.001
        if np.isfinite(world.a_max):
            before = self.executed(rows, start[:, None] - 1)
            line = np.concatenate([before, points], axis=1)
            bend = np.linalg.norm(np.diff(line, 2, axis=1), axis=-1)
            ok &= bend.max(1) <= world.a_max * world.dt**2 * 1.001
        some = np.flatnonzero(ok)
        if len(some):
            part = points[some]
            clearance = segment_clearance(
                world.obstacles, part[:, :-1], part[:, 1:], world.radius * 1.01, 2e-3 * world.radius
            )
            ok[some] &= clearance.min(1) >= world.radius * 1.005
        some = np.flatnonzero(ok)
        if len(some) and self.terrain is not None:
            ok[some] &= self.terrain.clear(rows[some], points[some], 1.005 * world.radius)
        some = np.flatnonzero(ok)
        if len(some) and self.boxes:
            ok[some] &= self._passes(rows[some], points[some])
        some = np.flatnonzero(ok)
        if len(some):
            ok[some] &= self.clear_of_peers(rows[some], points[some], start[some])
        return ok

    def _passes(self, rows: Ints, points: Floats) -> Flags:
        """Whether plans [n, H + 1, 2] keep clear of the late boxes that rows know of, once they have left them."""
        if not self.boxes or not len(rows):
            return np.ones(len(rows), bool)
        return clear_of_boxes(points, self.boxes.shapes[rows], 1.005 * self.setup.world.radius)

    def clear_of_peers(self, rows: Ints, points: Floats, start: Ints) -> Flags:
        """Whether plans [n, H + 1, 2] of ``rows`` from ticks ``start`` on keep clear of all known and locked ones."""
        return clear_of_peers(self.knowledge, rows, points, start, self.id[rows], self.distance)
