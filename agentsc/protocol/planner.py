"""What every planning protocol shares: its own plans, beliefs about peers, sampling and choosing.

`PlanningBlock` carries the propose and reconcile steps. Subclasses say how plans and intents
cross the air (`agentsc/protocol/variants`, `agentsc/baselines`) and when a plan may be executed.
Rows are the block's agents of all lanes, flattened: row = lane · B + position in the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.intent.fields import confidence, confidence_code, goal_code, margin_code
from agentsc.protocol import Beliefs, Block, SampleReply, SampleRequest, Setup, Trace, Variant
from agentsc.protocol.beliefs import Believed
from agentsc.protocol.grants import Knowledge, clear_of_peers
from agentsc.protocol.plans import PlanTable
from agentsc.protocol.space_time import Foresight, foresee
from envs import keyed
from envs.geometry import segment_clearance
from policies.requests import Peers
from policies.trajectory.context import CRUISE, build, nominal_plan
from policies.trajectory.spline import basis, fit, greville

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

WALL_S = 60.0
"""Seconds charged to samples that scrape along a wall, so that they come last."""
STRIDE = 2
"""Ticks between the way-points that guidance looks at (the core uses the same)."""


class PlanningVariant(Variant):
    """Parameters that all planning protocols share."""

    samples: int = Field(16, ge=2, description="plans drawn from noise per decision")
    neighbours: int = Field(6, ge=1, description="peers that guidance looks at, nearest first")
    belief_samples: int = Field(8, ge=2, description="samples that a receiver regenerates per peer")
    replan_ticks: int = Field(4, ge=1, description="ticks between decisions of one agent")
    margin: float = Field(0.1, ge=0.0, description="clearance between committed plans beyond touching, in radii")
    gain_s: float = Field(0.15, ge=0.0, description="seconds that a new plan must save to be worth proposing")
    foresight_steps: int = Field(14, ge=4, description="steps of the space-time value function")
    consider: int = Field(4, ge=1, description="best samples that are checked exactly, in order of cost")

    @property
    def monitored(self) -> bool:
        """Every block that follows plans runs the monitor."""
        return True


def homotopy(points: Floats) -> Ints:
    """Four bits [...] of a plan [..., H + 1, 2]: in each quarter, does it run left of its own chord?"""
    quarter = np.rint(np.linspace(0.1, 0.9, 4) * (points.shape[-2] - 1)).astype(np.int64)
    chord = points[..., -1:, :] - points[..., :1, :]
    off = points[..., quarter, :] - points[..., :1, :]
    left = chord[..., 0] * off[..., 1] - chord[..., 1] * off[..., 0] > 0
    return np.asarray((left << np.arange(4)).sum(-1), np.int64)


def shortened(control: Floats, keep: int) -> Floats:
    """The same plans [..., P, 2], coming to rest at their control point number ``keep``."""
    cut = control.copy()
    cut[..., keep:, :] = control[..., keep - 1 : keep, :]
    return cut


@dataclass
class Intents:
    """What each row believes each peer wants, from the newest token heard (arrays [row, peer])."""

    goal: Floats
    priority: Ints
    role: Ints
    mode: Ints
    homotopy: Ints
    confidence: Ints
    clock: Ints

    @classmethod
    def unknown(cls, starts: Floats) -> Intents:
        """Nothing heard yet: peers stay at their starts [row, peer, 2]."""
        shape = starts.shape[:2]
        priority, role, mode, bits, sure = (np.zeros(shape, np.int64) for _ in range(5))
        return cls(starts.copy(), priority, role, mode, bits, sure, np.full(shape, -1, np.int64))


class PlanningBlock(Block):
    """Own plans, foresight, guided sampling and choice; see the module's docstring."""

    variant: PlanningVariant

    def __init__(self, variant: PlanningVariant, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(setup, ids)
        world = setup.world
        self.variant = variant
        self.guide = setup.guide()
        self.horizon = setup.spec.horizon_ticks
        self.lanes, self.agents = world.lanes, world.agents
        self.lane = np.repeat(np.arange(self.lanes), len(self.ids))
        self.id = np.tile(self.ids, self.lanes)
        rows = len(self.id)
        self.rows = np.arange(rows)
        self.goal = world.goals[self.lane, self.id]
        self.goal_row = self.guide.goal_index(self.goal)
        start = world.starts[self.lane, self.id]
        # Slot 0: executed until slot 1 (the committed plan) starts.
        self.own = PlanTable.resting(np.repeat(start[:, None], 2, axis=1), self.horizon)
        self.pending = PlanTable.resting(start, self.horizon, valid=False)
        self.knowledge = Knowledge.of_roster(world.starts[self.lane], self.horizon)
        self.intents = Intents.unknown(world.starts[self.lane])
        self.lead = np.ones(rows, np.int64)
        self.retry = np.zeros(rows, np.int64)
        self.role = np.zeros(rows, np.int64)
        self.aim = self.goal.copy()
        self.sureness = np.full(rows, 8)
        self.home = np.zeros(rows, bool)
        self.arrived = np.zeros(rows, bool)
        self.best_to_go = np.full(rows, np.inf, np.float32)
        self.progress_tick = np.zeros(rows, np.int64)
        self.due: Ints = np.zeros(0, np.int64)
        self._believed = Believed(self.horizon)
        self._foresight: tuple[Ints, Foresight] | None = None
        self._basis = basis(setup.spec.control_points, self.horizon + 1)
        self._episode = world.episodes[self.lane]
        self.distance = world.separation + variant.margin * world.radius
        self.exact = not len(world.obstacles.boxes)
        self.speed = CRUISE * world.v_max

    # -- where everybody is -------------------------------------------------------------------

    def tick(self, clock: int) -> int:
        """Control step that message round ``clock`` belongs to."""
        return clock // self.setup.rounds

    def executed(self, rows: Ints, ticks: Ints) -> Floats:
        """Own positions [rows, k, 2] at ``ticks`` [rows, k], as committed."""
        start = self.own.start[rows]
        slot = np.where(ticks < start[:, 1, None], 0, 1)
        step = np.minimum(np.maximum(ticks - np.take_along_axis(start, slot, 1), 0), self.horizon)
        return self.own.path[rows[:, None], slot, step]

    def peer_positions(self, rows: Ints, peers: Ints, ticks: Ints) -> Floats:
        """Positions [rows, peer, k, 2] of known plans at ``ticks`` [rows, k]; the newest one once it has started."""
        plans, ticks, row = self.knowledge.plans, ticks[:, None, :], rows[:, None]
        old, new = plans.start[row, peers, 0, None], plans.start[row, peers, 1, None]
        use = plans.valid[row, peers, 1, None] & (ticks >= new)
        step = np.minimum(np.maximum(ticks - np.where(use, new, old), 0), self.horizon)
        return plans.path[row[..., None], peers[..., None], use.astype(np.int64), step]

    def rank(self, priority: Ints, ids: Ints) -> Ints:
        """Order of right of way: priority first, then the lower id."""
        return priority * 1024 - ids

    def priority(self, tick: int) -> Ints:
        """0 for those who have been home once, 1 under way, 2 without progress for long (int64 [row]).

        Who has arrived makes room for those who have not, and keeps doing so on the way back;
        otherwise two agents would push each other to and fro for ever.
        """
        here = self.executed(self.rows, np.full((len(self.rows), 1), tick))[:, 0]
        to_go = self.guide.cost_to_go(here, self.goal_row)
        better = to_go < self.best_to_go - 0.25 * self.setup.world.cell
        self.best_to_go = np.where(better, to_go, self.best_to_go)
        self.progress_tick = np.where(better, tick, self.progress_tick)
        home = np.linalg.norm(here - self.goal, axis=-1) <= self.setup.world.goal_tolerance
        patience = 12.0 / self.setup.world.dt * self.setup.world.radius / 0.3 / self.setup.world.v_max
        stuck = tick - self.progress_tick > patience * (1.0 + 0.25 * (self.id % 4))
        self.home = home
        self.arrived |= home
        return np.where(self.arrived, np.where(stuck & ~home, 1, 0), np.where(stuck, 2, 1))

    def advance(self, tick: int) -> None:
        """Plans that have started replace the ones before them, own and peers' alike."""
        self.now = tick
        self.own.valid[:, 0] = self.own.start[:, 1] > tick
        self.knowledge.advance(tick)

    # -- propose ------------------------------------------------------------------------------

    def imagine(self, clock: int) -> SampleRequest | None:
        """Ask for samples of what nearby peers will do, one row per distinct thing heard."""
        tick = self.now
        self.own_priority = self.priority(tick)
        self.due = self._whose_turn(tick)
        if not len(self.due):
            return None
        self._near = self._nearest(self.due, tick)
        bucket = tick // 4
        self._believed.forget(4 * (bucket - 1))
        # What each due row heard of each of its near peers, [due · peer].
        plans = self.knowledge.plans
        row, peer = np.repeat(self.due, self._near.shape[1]), self._near.ravel()
        started = self.knowledge.confirmed[row, peer] & (plans.start[row, peer, 1] <= 4 * bucket)
        used, when_heard = started.astype(np.int64), self.intents.clock[row, peer]
        self._keys = keyed.hash_words(
            self.lane[row], peer, when_heard, plans.seq[row, peer, used], plans.start[row, peer, used], bucket
        )
        heard = np.flatnonzero(when_heard >= 0)
        wanted = heard[self._believed.missing(self._keys[heard])]
        if not len(wanted):
            return None
        self._asked = wanted
        row, peer, used = row[wanted], peer[wanted], used[wanted]
        self._about = np.stack([self.lane[row], peer], -1)
        self._homotopy = self.intents.homotopy[row, peer]
        when = np.full((len(row), 2), 4 * bucket) + np.arange(2)
        spots = plans.take((row, peer, used)).at(when)
        velocity = (spots[:, 1] - spots[:, 0]) / np.float32(self.setup.world.dt)
        routes = self.guide.routes(spots[:, 0], self.guide.goal_index(self.intents.goal[row, peer]))
        context = build(
            self.setup.world.obstacles, self.setup.vehicle, velocity, routes,
            np.zeros(len(row), np.float32), self.intents.role[row, peer], self.intents.mode[row, peer],
        )  # fmt: skip
        # The seed is what sender and receiver share: who spoke, and in which round.
        keys = keyed.hash_words(
            self.setup.seed, keyed.stream_id("belief"), self._episode[row], peer, self.intents.clock[row, peer]
        )
        # A sender that is unsure is believed to do more different things.
        sure = confidence(self.intents.confidence[row, peer])
        return SampleRequest(
            self.setup.prior, context, keys, self.variant.belief_samples, temperature=1.4 - 0.6 * sure
        )

    def _whose_turn(self, tick: int) -> Ints:
        started = self.own.start[:, 1] <= tick
        period = np.where(self.home, 2 * self.variant.replan_ticks, self.variant.replan_ticks)
        turn = ((tick + self.id) % period == 0) | (self.retry == tick)
        return np.flatnonzero(started & ~self.pending.valid & turn & self.active[self.lane])

    def _nearest(self, rows: Ints, tick: int) -> Ints:
        """Ids [rows, k] of the nearest known peers."""
        peers = np.broadcast_to(np.arange(self.agents), (len(rows), self.agents))
        spots = self.peer_positions(rows, peers, np.full((len(rows), 1), tick))[:, :, 0]
        here = self.executed(rows, np.full((len(rows), 1), tick))
        gap = np.linalg.norm(spots - here, axis=-1)
        gap[np.arange(len(rows)), self.id[rows]] = np.inf
        count = min(self.variant.neighbours, self.agents - 1)
        return np.argsort(gap, axis=1, kind="stable")[:, :count]

    def propose(self, imagined: SampleReply | None, clock: int) -> SampleRequest | None:
        """Ask for own plans: from noise, and from ways that foresight has found."""
        if imagined is not None:
            points = self._points(imagined.control)
            points = self._agreeing_first(points)
            since = 4 * (self.now // 4)
            self._believed.put(self._keys[self._asked], since, points[:, 0])
            self.formed.append(Beliefs(self._about[:, 0], self._about[:, 1], since, points))
        due = self.due
        if not len(due):
            return None
        world, tick = self.setup.world, self.now
        self._start = tick + self.lead[due]
        spots = self.executed(due, self._start[:, None] + np.array([-1, 0]))
        here = self.setup.spec.point(self.setup.spec.lattice(spots[:, 1]))
        self._here = here
        velocity = (spots[:, 1] - spots[:, 0]) / np.float32(world.dt)
        routes = self.guide.routes(here, self.goal_row[due])
        trails, toll, uphill = self._traffic(due)
        contested = self._contested(routes, trails, toll)
        nominal = nominal_plan(routes, self.setup.vehicle)
        slow = nominal_plan(routes, self.setup.vehicle, 0.5 * CRUISE)
        around, again = nominal.copy(), slow.copy()
        self._foresight = None
        self._yields = np.zeros(len(due), bool)
        if len(contested):
            seen = self._foresee(due, contested, here, trails, toll)
            self._foresight = contested, seen
            around[contested, 1:] = again[contested, 1:] = self._along(seen)[:, 1:]
            free = self.guide.cost_to_go(here[contested], self.goal_row[due][contested]) / self.speed
            delayed = seen.value[np.arange(len(contested)), 0, *self._centre(seen)] > free + 2.5 * seen.step_s
            self._yields[contested] = delayed & (uphill[contested] > 0).any(1)
        self._way = around
        warm = [nominal, slow, self._continued(due), around, again, nominal, around]
        own = build(
            world.obstacles, self.setup.vehicle, velocity, routes,
            np.full(len(due), self.variant.margin * world.radius, np.float32),
            self._yields.astype(np.int64), (self.id[due] + tick) % 8 == 0,
        )  # fmt: skip
        peers = self._discs(due, uphill)
        self._peers = peers
        keys = keyed.hash_words(self.setup.seed, keyed.stream_id("plan"), self._episode[due], self.id[due], tick)
        return SampleRequest(
            self.setup.prior, own, keys, self.variant.samples,
            np.stack(warm, axis=1).astype(np.float32), 3, peers,
        )  # fmt: skip

    def _agreeing_first(self, points: Floats) -> Floats:
        """Samples [n, K, H + 1, 2] in order of how well their turns match the homotopy bits of the token."""
        differing = np.bitwise_count(homotopy(points) ^ self._homotopy[:, None])
        order = np.argsort(differing, axis=1, kind="stable")
        return np.take_along_axis(points, order[:, :, None, None], axis=1)

    @staticmethod
    def _centre(seen: Foresight) -> tuple[int, int]:
        half = seen.value.shape[2] // 2
        return half, half

    def _continued(self, due: Ints) -> Floats:
        """Control points [due, P, 2] of the committed plan's rest."""
        ticks = self._start[:, None] + np.arange(self.horizon + 1)
        return fit(self.executed(due, ticks), self.setup.spec.control_points)

    @property
    def step_s(self) -> float:
        """Seconds that foresight gives one move between neighbouring nodes."""
        return 1.15 * self.setup.world.cell / self.speed

    def _traffic(self, due: Ints) -> tuple[Floats, Floats, Floats]:
        """What near peers will do, coarsely, and what being near them costs.

        Returns:
            trails [due, 2·peer, 2·steps + 1, 2] every half step of foresight, each peer brisk and slow;
            toll [due, 2·peer, step + 1], seconds per step; uphill [due, peer], whether the peer has right of way.
        """
        near, steps = self._near, self.variant.foresight_steps
        mine = self.rank(self.own_priority[due], self.id[due])
        theirs = self.rank(self.intents.priority[due[:, None], near], near)
        uphill = (theirs > mine[:, None]).astype(np.float32)
        half = np.arange(2 * steps + 1) * 0.5 * self.step_s
        ticks = self._start[:, None] + np.rint(half / self.setup.world.dt).astype(np.int64)
        brisk = self.peer_positions(due, near, ticks)
        slow = brisk.copy()
        heard = self.intents.clock[due[:, None], near] >= 0
        row, k = np.nonzero(heard & (uphill > 0))
        if len(row):
            peer = near[row, k]
            goal = self.guide.goal_index(self.intents.goal[due[row], peer])
            way = self.guide.walks(brisk[row, k, 0], goal, float(half[-1] * self.speed))
            arc = np.broadcast_to((half * self.speed).astype(np.float32), (len(row), len(half)))
            brisk[row, k], slow[row, k] = way.at(arc), way.at(0.5 * arc)
        # A peer with right of way may come as fast as it can, or be held up: by this very agent,
        # if it does not make room. Both are to be avoided; the second one alone tells it to move on.
        fast_toll = np.where(uphill > 0, 5.0, 0.0)
        slow_toll = np.where(uphill > 0, 200.0, 1.5)
        trails = np.concatenate([brisk, slow], axis=1)
        toll = np.concatenate([fast_toll, slow_toll], axis=1).astype(np.float32)
        # Peers without right of way are expected to make room: being near them costs less and less.
        fading = np.maximum(1.0 - np.arange(steps + 1) / 5.0, 0.0)
        fade = np.where(np.tile(uphill > 0, 2)[..., None], 1.0, fading)
        toll = (toll[..., None] * fade).astype(np.float32)
        # Far peers do not matter within the window.
        far = np.linalg.norm(brisk[:, :, 0] - self.executed(due, self._start[:, None]), axis=-1)
        toll[np.tile(far > 1.5 * steps * self.setup.world.cell, 2)] = 0.0
        return trails, toll, uphill

    def _contested(self, routes: object, trails: Floats, toll: Floats) -> Ints:
        """Rows whose free way comes near a believed peer, at the time the peer is there."""
        half = np.arange(trails.shape[2]) * 0.5 * self.step_s
        arc = np.broadcast_to((half * self.speed).astype(np.float32), (len(trails), len(half)))
        mine = routes.at(arc)  # type: ignore[attr-defined]
        gap = np.linalg.norm(trails - mine[:, None], axis=-1)
        close = (gap < 1.3 * self.distance) & np.asarray(toll.any(-1))[..., None]
        return np.flatnonzero(close.any((1, 2)))

    def _foresee(self, due: Ints, rows: Ints, here: Floats, trails: Floats, toll: Floats) -> Foresight:
        return foresee(
            self.guide, here[rows], self.goal_row[due[rows]], trails[rows], toll[rows],
            1.1 * self.distance, self.variant.foresight_steps, self.step_s, self.speed,
        )  # fmt: skip

    def _along(self, seen: Foresight) -> Floats:
        """Control points [n, P, 2] that follow foresight's best ways."""
        when = greville(self.setup.spec.control_points) * self.setup.spec.horizon_s / seen.step_s
        when[-1] = when[-2]
        leg = np.minimum(when.astype(np.int64), seen.way.shape[1] - 2)
        share = (when - leg)[:, None].astype(np.float32)
        return seen.way[:, leg] * (1.0 - share) + seen.way[:, leg + 1] * share

    def _discs(self, due: Ints, uphill: Floats) -> Peers:
        """Guidance: near peers' known plans, and samples of the intents of those with right of way."""
        world = self.setup.world
        offsets = np.arange(0, self.horizon + 1, STRIDE)
        near = self._near
        ticks = self._start[:, None] + offsets
        # The newest known plan, once it has started; the exact check looks at both it and the one before.
        known = self.peer_positions(due, near, ticks)
        # One sample of the intent, the one that agrees best with the token.
        held, spots = self._believed.at(self._keys, np.repeat(ticks, near.shape[1], axis=0))
        believed, samples = held.reshape(near.shape), known.copy()
        samples[believed] = spots
        weight = np.where(believed, np.where(uphill > 0, np.float32(0.6), np.float32(0.1)), np.float32(0.0))
        discs = np.concatenate([known, samples], axis=1)
        weights = np.concatenate([np.ones_like(weight), weight], axis=1)
        radius = np.full(discs.shape[:3], self.distance + 0.15 * world.radius, np.float32)
        return Peers(
            discs, radius, weights, np.full(len(due), world.radius * 1.08, np.float32)
        )

    # -- reconcile and choose -----------------------------------------------------------------

    def choose(self, sampled: SampleReply) -> tuple[Ints, NDArray[np.int32], PlanTable]:
        """For every due agent the best feasible sample, if it beats keeping the committed plan.

        Returns:
            Indices into ``due`` of those with a new plan, its codes for the air, and the plans.
        """
        due, spec = self.due, self.setup.spec
        everyone = np.arange(len(due))
        ticks = self._start[:, None] + np.arange(self.horizon + 1)
        keep = self.executed(due, ticks)
        bar = self._score(everyone, keep[:, None])[:, 0] - self.variant.gain_s
        # Foresight's way as it is joins the samples: in a narrow place the prior may have nothing that fits.
        control = np.concatenate([sampled.control, self._way[:, None]], axis=1)
        rough = self._points(control)
        total = self._score(everyone, rough)
        # What scrapes along a wall is not worth an exact check.
        walls = self.setup.world.obstacles.signed_distance(rough[:, :, ::STRIDE]).min(-1)
        total += WALL_S * (walls < self.setup.world.radius)
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
        return self._time_to_go(rows, points) + self._penalty(cost) + self._crowding(rows, points[:, :, -1])

    def _crowding(self, rows: Ints, end: Floats) -> Floats:
        """Seconds charged for stopping [n, candidate, 2] so close to where a peer stops that neither can turn."""
        due, near = self.due[rows], self._near[rows]
        room = 0.35 * self.setup.world.cell
        rest = self.knowledge.plans.path[due[:, None], near, 0, -1]
        gap = np.linalg.norm(end[:, :, None] - rest[:, None], axis=-1)
        close = np.clip((self.distance + room - gap) / room, 0.0, 1.0)
        away = np.linalg.norm(end - self.goal[due][:, None], axis=-1) > self.setup.world.goal_tolerance
        return np.asarray(3.0 * close.max(-1, initial=0.0) * away, np.float32)

    def _points(self, control: Floats) -> Floats:
        """Way-points at ticks, float32 [..., H + 1, 2]."""
        return np.asarray(self._basis @ control, np.float32)

    def _time_to_go(self, rows: Ints, points: Floats) -> Floats:
        """Expected arrival [n, candidate], seconds: time passed plus time to go, averaged along the plan."""
        stops = np.array([0.25, 0.5, 0.75, 1.0])
        step = np.rint(stops * self.horizon).astype(np.int64)
        seconds = (step * self.setup.world.dt).astype(np.float32)
        spots = points[:, :, step]
        n, s, k, _ = spots.shape
        if self.exact:
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
            *grid.shape, grid.origin, grid.cell, metres,
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
        if len(some):
            ok[some] &= clear_of_peers(
                self.knowledge, rows[some], points[some], start[some], self.id[rows[some]], self.distance
            )
        return ok

    def commit(self, rows: Ints) -> None:
        """Pending plans become committed ones."""
        zero, one = np.zeros_like(rows), np.ones_like(rows)
        self.own.copy((rows, zero), self.own, (rows, one))
        self.own.copy((rows, one), self.pending, (rows,))
        self.pending.valid[rows] = False
        np.add.at(self.counters.commits, self.lane[rows], 1)

    # -- act ----------------------------------------------------------------------------------

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        """Follow the committed plan exactly; the monitor counts what should never happen."""
        world = self.setup.world
        shape = (self.lanes, len(self.ids), 2)
        ahead = self.executed(self.rows, np.full((len(self.rows), 1), tick + 1))[:, 0].reshape(shape)
        command = (ahead - position) / np.float32(world.dt)
        alarm = (proximity < world.separation + 0.25 * self.variant.margin * world.radius) & self.active[:, None]
        self.counters.brakes += alarm.sum(1)
        if world.dynamics == "double":
            command = (command - velocity) / np.float32(world.dt)
        return np.asarray(command, np.float32)

    def trace(self, tick: int) -> Trace:
        """The committed positions from now on, and proposals that wait for grants."""
        shape = self.lanes, len(self.ids)
        ticks = np.broadcast_to(tick + np.arange(self.horizon + 1), (len(self.rows), self.horizon + 1))
        plan = self.executed(self.rows, ticks)
        waiting = self.pending.valid
        proposal = np.where(waiting[:, None, None], self.pending.path, np.float32(np.nan))
        return Trace(plan.reshape(*shape, -1, 2), waiting.reshape(shape), proposal.reshape(*shape, -1, 2))

    def token(self, rows: Ints) -> dict[str, NDArray[np.int32]]:
        """The fields of the intent token of some rows, as codes for the air."""
        spec, world = self.setup.spec, self.setup.world
        now = self.now + np.arange(self.horizon + 1)
        plan = self.executed(rows, np.broadcast_to(now, (len(rows), self.horizon + 1)))
        new = self.pending.valid[rows]
        plan[new] = self.pending.path[rows[new]]
        goal = goal_code(self.aim[rows], spec.bounds)
        angle = np.arange(8) * (np.pi / 4.0)
        aside = plan[:, :1] + 3.0 * world.radius * np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)
        free = world.obstacles.signed_distance(aside) >= world.radius
        return {
            "goal_x": goal[:, 0],
            "goal_y": goal[:, 1],
            "role": self.role[rows],
            "mode": np.zeros(len(rows), np.int64),
            "homotopy": homotopy(plan),
            "priority": self.own_priority[rows],
            "affordance": (free << np.arange(8)).sum(1),
            "horizon": np.full(len(rows), min(self.horizon - 1, 31)),
            "margin": margin_code(np.full(len(rows), self.variant.margin * world.radius), world.radius),
            "confidence": self.sureness[rows],
        }
