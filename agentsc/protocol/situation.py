"""Where everybody is: own plans, what is known of peers, right of way, and following the plan.

Rows are the block's agents of all lanes, flattened: row = lane · B + position in the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from agentsc.intent.fields import goal_code, margin_code
from agentsc.mapping.service import MapView
from agentsc.protocol import Block, Setup, Trace, Variant
from agentsc.protocol.boxes import Boxes, Seen, box_code, box_of, with_boxes
from agentsc.protocol.grants import Knowledge
from agentsc.protocol.plans import PlanTable
from agentsc.protocol.space_time import Foresight
from agentsc.protocol.terms import ReconciliationTerm, parse_terms
from agentsc.protocol.terrain import Terrain
from envs import keyed
from envs.errors import ConfigError
from envs.navigation import NavigationGrid
from policies.requests import Peers
from policies.trajectory.context import CRUISE, Ground
from policies.trajectory.route import CLEARANCE
from policies.trajectory.spline import basis

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


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
    beliefs: Literal["prior", "calibrated"] = Field(
        "prior", description="of peers: the prior's samples, or calibrated ones that keep known plans for a while"
    )
    terms: str = Field(
        "", description="reconciliation terms beside collisions, NAME:key=value,… joined by +, see agentsc list terms"
    )
    collision_weight: float = Field(
        1.0, ge=0.0, description="weight of peers when plans are sampled and chosen; committed plans keep apart anyway"
    )
    age_spread: float = Field(
        0.0, ge=0.0, description="by which share of what it can have moved since it was heard a believed peer is wider"
    )

    @field_validator("terms")
    @classmethod
    def _known_terms(cls, spec: str) -> str:
        try:
            parse_terms(spec)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return spec

    def reconciliation(self, setup: Setup) -> tuple[ReconciliationTerm, ...]:
        """The terms that the world offers something to, and that are not switched off."""
        return tuple(t for t in parse_terms(self.terms) if t.weight > 0.0 and t.offered(setup.world))

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


class SituatedBlock(Block):
    """Agents with plans: where they and their peers are, who gives way, and driving along the plan."""

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
        # What each row knows of a map that nobody was told; the guide then has a map for every row.
        self.terrain: Terrain | None = None
        if world.unknown is not None:
            grid = NavigationGrid(world.obstacles, world.radius, world.cell, extent=world.bounds)
            self.terrain = Terrain(grid, world.obstacles, world.radius * CLEARANCE, setup.vehicle.reach, self.goal)
            self.guide = self.terrain
        # Late boxes that rows know of, and which of the guide's maps each plans on because of them.
        names = keyed.hash_words(setup.seed, keyed.stream_id("boxes"), world.episodes[self.lane], self.id)
        self.boxes = Boxes(names, setup.spec, world.cell)
        self.map = np.zeros(rows, np.int64) if self.terrain is None else self.rows.copy()
        self.goal_row = self.guide.goal_index(self.goal, self.map)
        self._maps: dict[int, int] = {0: 0}
        start = world.starts[self.lane, self.id]
        # Slot 0: executed until slot 1 (the committed plan) starts.
        self.own = PlanTable.resting(np.repeat(start[:, None], 2, axis=1), self.horizon)
        self.pending = PlanTable.resting(start, self.horizon, valid=False)
        self.knowledge = Knowledge.of_roster(world.starts[self.lane], self.horizon)
        self.intents = Intents.unknown(world.starts[self.lane])
        self.may_move = world.release[self.id]
        self.lead = np.ones(rows, np.int64)
        self.retry = np.zeros(rows, np.int64)
        self.role = np.zeros(rows, np.int64)
        self.aim = self.goal.copy()
        self.sureness = np.full(rows, 8)
        self.home = np.zeros(rows, bool)
        self.arrived = np.zeros(rows, bool)
        self.own_priority = np.ones(rows, np.int64)
        self.best_to_go = np.full(rows, np.inf, np.float32)
        self.progress_tick = np.zeros(rows, np.int64)
        # What one decision hands from step to step: who decides, from which tick and place on, among which
        # peers, along which way of foresight's, and who makes room.
        self.due: Ints = np.zeros(0, np.int64)
        self._start: Ints = np.zeros(0, np.int64)
        self._here: Floats = np.zeros((0, 2), np.float32)
        self._near: Ints = np.zeros((0, 0), np.int64)
        self._way: Floats = np.zeros((0, setup.spec.control_points, 2), np.float32)
        self._yields: Flags = np.zeros(0, bool)
        self._peers = Peers(*(np.zeros(shape, np.float32) for shape in ((0, 0, 0, 2), (0, 0, 0), (0, 0), (0,))))
        self._foresight: tuple[Ints, Foresight] | None = None
        self._charges: list[tuple[ReconciliationTerm, Any]] = []
        self._basis = basis(setup.spec.control_points, self.horizon + 1)
        self._episode = world.episodes[self.lane]
        self.distance = world.separation + variant.margin * world.radius
        self.exact = not len(world.obstacles.boxes) and self.terrain is None
        self.speed = CRUISE * world.v_max

    @property
    def taking_part(self) -> Flags:
        """bool [row]: neither failed nor still to join, in lanes that still run."""
        return np.asarray((self.active[:, None] & self.alive).ravel())

    @property
    def negotiating(self) -> Flags:
        """bool [row]: who plans for itself and asks for grants."""
        return self.taking_part

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

    def retarget(self, goal: Floats, tick: int) -> None:
        """See `Block.retarget`: whoever has a new goal is under way again, and its patience starts anew."""
        goal = goal.reshape(-1, 2)
        rows = np.flatnonzero((goal != self.goal).any(1))
        if self.terrain is not None:
            self.terrain.head_for(rows, goal[rows])
        self.goal[rows] = self.aim[rows] = goal[rows]
        self.goal_row[rows] = self.guide.goal_index(goal[rows], self.map[rows])
        self.home[rows] = self.arrived[rows] = False
        self.best_to_go[rows], self.progress_tick[rows] = np.inf, tick

    # -- late boxes ------------------------------------------------------------------------------

    def sense(self, boxes: Floats, tick: int) -> None:
        """See `Block.sense`: whoever sees another box plans around it from now on."""
        lane, place, box = np.nonzero(np.isfinite(boxes[..., 0]))
        row = lane * len(self.ids) + place
        codes = box_code(boxes[lane, place, box], self.setup.spec, self.setup.world.cell)
        self.learn(row, codes, tick)

    def learn(self, row: Ints, codes: Ints, tick: int) -> Ints:
        """Rows [n] have seen or heard of boxes [n, 4] by ``tick``: those to whom some are new."""
        rows = self.boxes.note(row, codes)
        if len(rows):
            self.remap(rows, tick)
        return rows

    def remap(self, rows: Ints, tick: int) -> None:
        """From ``tick`` on, plan on the map with all that rows know of."""
        boxes = self.boxes
        for each in rows.tolist():
            key = int(boxes.key[each])
            if key not in self._maps:
                self._maps[key] = self._map_with(box_of(np.array(boxes.of(each)), boxes.spec, boxes.cell))
            self.map[each] = self._maps[key]
        self.goal_row[rows] = self.guide.goal_index(self.goal[rows], self.map[rows])
        # Ways have become longer, which is not the same as standing still.
        self.best_to_go[rows], self.progress_tick[rows] = np.inf, tick
        self.retry[rows] = tick

    def survey(self, view: MapView, tick: int) -> None:
        """See `Block.survey`: whoever knows more of the map plans on it from now on."""
        terrain = self.terrain
        if terrain is None:
            return
        lanes, places = np.divmod(self.rows, len(self.ids))
        rows = self.rows[terrain.differs(view, lanes, places) & self.taking_part]
        if not len(rows):
            return
        here = self.executed(rows, np.full((len(rows), 1), tick))[:, 0]
        before = self.guide.cost_to_go(here, self.goal_row[rows])
        terrain.learn(rows, view, lanes[rows], places[rows])
        # Ways have changed, which is not the same as standing still.
        after = self.guide.cost_to_go(here, self.goal_row[rows])
        moved = rows[~(np.abs(after - before) < 0.25 * self.setup.world.cell)]
        self.best_to_go[moved], self.progress_tick[moved] = np.inf, tick
        self.retry[moved] = tick

    def _map_with(self, boxes: Floats) -> int:
        """Another map of the guide's: with these boxes [n, 5]."""
        world = self.setup.world
        obstacles = with_boxes(world.obstacles, boxes)
        grid = NavigationGrid(obstacles, world.radius, world.cell, flow=world.flow, extent=world.bounds)
        return self.guide.add_map(grid, obstacles)

    def ground(self, rows: Ints) -> Ground:
        """What rows [n] know to be solid."""
        if self.terrain is not None:
            return self.terrain.ground(rows)
        obstacles = self.setup.world.obstacles
        return Seen(obstacles, self.boxes.shapes[rows]) if self.boxes else obstacles

    def muster(self, alive: Flags, tick: int) -> None:
        """See `Block.muster`: what an agent that fails has proposed is dead."""
        super().muster(alive, tick)
        self.pending.valid[~alive.ravel()] = False

    def advance(self, tick: int) -> None:
        """Plans that have started replace the ones before them, own and peers' alike."""
        self.now = tick
        # Who may not move yet has a rest that always begins next: nothing is planned beyond it before its time.
        waits = self.may_move > tick
        self.own.start[waits, 1] = tick + 1
        self.retry[self.may_move == tick] = tick
        self.own.valid[:, 0] = self.own.start[:, 1] > tick
        self.knowledge.advance(tick)

    def _points(self, control: Floats) -> Floats:
        """Way-points at ticks, float32 [..., H + 1, 2]."""
        return np.asarray(self._basis @ control, np.float32)

    def commit(self, rows: Ints) -> None:
        """Pending plans become committed ones."""
        zero, one = np.zeros_like(rows), np.ones_like(rows)
        self.own.copy((rows, zero), self.own, (rows, one))
        self.own.copy((rows, one), self.pending, (rows,))
        self.pending.valid[rows] = False
        np.add.at(self.counters.commits, self.lane[rows], 1)

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

    def token(self, rows: Ints) -> dict[str, NDArray[np.integer]]:
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
