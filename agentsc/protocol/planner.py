"""What every planning protocol shares: beliefs about peers, foresight, and what to sample.

`PlanningBlock` carries the propose step, on top of `agentsc.protocol.situation` (where everybody is)
and `agentsc.protocol.choice` (which sample becomes the plan). Subclasses say how plans and intents
cross the air (`agentsc/protocol/variants`, `agentsc/baselines`) and when a plan may be executed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import confidence, confidence_code
from agentsc.protocol import Beliefs, SampleReply, SampleRequest, Setup
from agentsc.protocol.beliefs import Believed
from agentsc.protocol.choice import STRIDE
from agentsc.protocol.outlook import Known, Outlook
from agentsc.protocol.reconcile import ReconcilingBlock
from agentsc.protocol.situation import Floats, Ints, PlanningVariant, homotopy
from agentsc.protocol.space_time import Foresight, foresee
from envs import keyed
from policies.requests import Peers
from policies.trajectory.context import CRUISE, build, nominal_plan
from policies.trajectory.spline import fit, greville


class PlanningBlock(ReconcilingBlock):
    """Beliefs, foresight and guided sampling; see the module's docstring."""

    def __init__(self, variant: PlanningVariant, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(variant, setup, ids)
        self._believed = Believed(self.horizon)
        self._outlook = Outlook.load() if variant.beliefs == "calibrated" else None

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
        if self.boxes:  # who knows other boxes believes other things
            self._keys ^= self.boxes.key[row]
        if self.terrain is not None:  # and so does who knows more of the map
            self._keys ^= keyed.hash_words(self._episode[row], self.id[row], self.terrain.key[row])
        heard = np.flatnonzero(when_heard >= 0)
        wanted = heard[self._believed.missing(self._keys[heard])]
        if not len(wanted):
            return None
        self._asked = wanted
        row, peer, used = row[wanted], peer[wanted], used[wanted]
        self._of = row, peer
        self._homotopy = self.intents.homotopy[row, peer]
        when = np.full((len(row), 2), 4 * bucket) + np.arange(2)
        spots = plans.take((row, peer, used)).at(when)
        velocity = (spots[:, 1] - spots[:, 0]) / np.float32(self.setup.world.dt)
        goal = self.guide.goal_index(self.intents.goal[row, peer], self.map[row])
        routes = self.guide.routes(spots[:, 0], goal)
        context = build(
            self.ground(row), self.setup.vehicle, velocity, routes,
            np.zeros(len(row), np.float32), self.intents.role[row, peer], self.intents.mode[row, peer],
        )  # fmt: skip
        # The seed is what sender and receiver share: who spoke, and in which round.
        keys = keyed.hash_words(
            self.setup.seed, keyed.stream_id("belief"), self._episode[row], peer, self.intents.clock[row, peer]
        )
        # A sender that is unsure is believed to do more different things: here, or when it leaves its plan.
        sure = confidence(self.intents.confidence[row, peer])
        temperature = 1.4 - 0.6 * sure if self._outlook is None else 1.0
        return SampleRequest(self.setup.prior, context, keys, self.variant.belief_samples, temperature=temperature)

    def _whose_turn(self, tick: int) -> Ints:
        started = self.own.start[:, 1] <= tick
        period = np.where(self.home, 2 * self.variant.replan_ticks, self.variant.replan_ticks)
        turn = ((tick + self.id) % period == 0) | (self.retry == tick)
        return np.flatnonzero(started & ~self.pending.valid & turn & self.negotiating)

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
            # Guidance looks at the known plan anyway; the prior says where a peer goes that leaves it.
            self._believed.put(self._keys[self._asked], since, points[:, 0])
            row, peer = self._of
            samples = points if self._outlook is None else self.foretold(self._outlook, self.known(since), points)
            self.formed.append(Beliefs(self.lane[row], peer, since, samples, self.intents.confidence[row, peer]))
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
        steer = self.reconcile()
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
            self.ground(due), self.setup.vehicle, velocity, routes,
            np.full(len(due), self.variant.margin * world.radius, np.float32),
            self._yields.astype(np.int64), (self.id[due] + tick) % 8 == 0,
        )  # fmt: skip
        peers = self._discs(due, uphill)
        self._peers = peers
        keys = keyed.hash_words(self.setup.seed, keyed.stream_id("plan"), self._episode[due], self.id[due], tick)
        return SampleRequest(
            self.setup.prior, own, keys, self.variant.samples,
            np.stack(warm, axis=1).astype(np.float32), 3, peers, steer=steer,
        )  # fmt: skip

    def known(self, tick: int) -> Known:
        """What has been heard of the peers that were asked about, from ``tick`` on."""
        row, peer = self._of
        ticks = np.broadcast_to(tick + np.arange(self.horizon + 1), (len(row), self.horizon + 1))
        path = self.peer_positions(row, peer[:, None], ticks)[:, 0]
        plans = self.knowledge.plans
        newest = plans.valid[row, peer, 1].astype(np.int64)
        left = (plans.start[row, peer, newest] - tick) / self.horizon + 1.0
        return Known(path, np.clip(left, 0.0, 1.0), self.intents.goal[row, peer], self.setup.vehicle.reach)

    def foretold(self, outlook: Outlook, known: Known, free: Floats) -> Floats:
        """Calibrated samples [n, K, H + 1, 2] from what is known and the prior's samples, keyed by what was heard."""
        row, peer = self._of
        return outlook.foretell(known, free, self.intents.confidence[row, peer], self._keys[self._asked])

    def token(self, rows: Ints) -> dict[str, NDArray[np.integer]]:
        """See `SituatedBlock.token`; with calibrated beliefs its confidence is the certainty to keep the plan."""
        fields = super().token(rows)
        if self._outlook is not None:
            fields["confidence"] = confidence_code(self._outlook.certainty(self.stance(rows)))
        return fields

    def stance(self, rows: Ints) -> NDArray[np.float64]:
        """What the certainty of some rows is regressed on, see `Known.features`."""
        ticks = np.broadcast_to(self.now + np.arange(self.horizon + 1), (len(rows), self.horizon + 1))
        path, start = self.executed(rows, ticks), self.own.start[rows, 1].copy()
        new = self.pending.valid[rows]
        path[new], start[new] = self.pending.path[rows[new]], self.pending.start[rows[new]]
        left = np.clip((start - self.now) / self.horizon + 1.0, 0.0, 1.0)
        peers = np.broadcast_to(np.arange(self.agents), (len(rows), self.agents))
        spots = self.peer_positions(rows, peers, np.full((len(rows), 1), self.now))[:, :, 0]
        gap = np.linalg.norm(spots - path[:, :1], axis=-1)
        gap[np.arange(len(rows)), self.id[rows]] = np.inf
        known = Known(path, left, self.aim[rows], self.setup.vehicle.reach)
        return known.features(confidence(self.sureness[rows]).astype(np.float64), self.role[rows], gap.min(1))

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
        uphill = self.right_of_way(due, near, theirs > mine[:, None]).astype(np.float32)
        half = np.arange(2 * steps + 1) * 0.5 * self.step_s
        ticks = self._start[:, None] + np.rint(half / self.setup.world.dt).astype(np.int64)
        brisk = self.peer_positions(due, near, ticks)
        slow = brisk.copy()
        heard = self.intents.clock[due[:, None], near] >= 0
        row, k = np.nonzero(heard & (uphill > 0))
        if len(row):
            peer = near[row, k]
            goal = self.guide.goal_index(self.intents.goal[due[row], peer], self.map[due[row]])
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
        variant = self.variant
        if variant.age_spread:
            radius[:, near.shape[1] :] += self._spread(due, ticks)
        return Peers(
            discs, radius, np.float32(variant.collision_weight) * weights,
            np.full(len(due), world.radius * 1.08, np.float32),
        )  # fmt: skip

    def _spread(self, due: Ints, ticks: Ints) -> Floats:
        """How much wider believed peers are at ``ticks`` [n, k] for the age of what was heard: [n, peer, k], metres."""
        world = self.setup.world
        heard = np.maximum(self.intents.clock[due[:, None], self._near], 0) / self.setup.rounds
        age_s = (ticks[:, None] - heard[..., None]) * world.dt
        most = 2.0 * self.distance
        return np.minimum(self.variant.age_spread * world.v_max * age_s, most).astype(np.float32)
