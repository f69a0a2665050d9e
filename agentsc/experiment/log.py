"""What a run leaves in memory: arrays per lane, from which every metric is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]

RESOLUTION = 1e-4
"""Positions are rounded to this many metres before they are hashed."""


class Progress(NamedTuple):
    """A running experiment at one moment, for the progress display.

    Attributes:
        tick, ticks: ticks done, and the limit. home, lanes: lanes whose agents have all arrived, and all.
        bits: offered to the medium so far, all lanes together. sim_s: simulated seconds behind
        those bits, summed over lanes.
    """

    tick: int
    ticks: int
    home: int
    lanes: int
    bits: int
    sim_s: float


ProgressCallback = Callable[[Progress], None]


@dataclass
class RunLog:
    """Arrays of one run. L lanes, A agents, T ticks; counters stop at a lane's finish.

    A counter that the protocol does not keep is ``None``: its metrics become null with a reason,
    never zero.

    Attributes:
        episodes: int64 [L], global episode numbers. goals, starts: float32 [L, A, 2], m.
        dt: s per tick. radius: m. separation: m, centre distance under which a pair has collided.
        goal_tolerance: m.
        positions: float32 [L, T+1, A, 2], m; row 0 is the start, rows after the finish are ignored.
        finish_tick: int64 [L], tick at which every agent rested at its goal, -1 if never.
        at_goal: bool [L, A], within the tolerance when the lane ended.
        min_pair: float [L], m, smallest centre distance in continuous time (inf for one agent).
        collisions: int64 [L, A], onsets of contact with another agent.
        obstacle_hits: int64 [L, A], onsets of contact with an obstacle.
        shortest: float [L, A], m, geodesic distance from start to goal.
        packets, bits: int64 [L, A], offered to the medium, headers and checksums included.
        silent_rounds, speaking_rounds: int64 [L], agent-rounds without and with a packet.
        decisions, lost: int64 [L], packet × receiver, and those that never arrived.
        age_sum, age_count: float64 [L], age of information (s) summed over time and ordered pairs, and
        how much of both it was summed over.
        proposals, commits: int64 [L]. commit_rounds: int64 [L], rounds from proposal to commit, summed.
        grants_asked, grants_given: int64 [L]. brakes: int64 [L], activations of the safety monitor.
        belief_ade_sum, belief_fde_sum: float64 [L], m, smallest average and final displacement error
        of a belief's samples. belief_cover_sum: float64 [L], truths inside the 90 % region.
        belief_count: int64 [L], beliefs scored.
        adherence: float64 [L], share of motion that follows the map's pattern; None without one.
        radio: name → [L], what became of packets at their receivers and what they were made of: columns of
        ``episodes.parquet``. link_losses: reason → count over all lanes, for every link of the specification.
        graph: name → float64 [L], what the graph of agents in touch was like; empty where all always were.
        v_max: m/s, for the times of trips; None leaves them out.
        tasks_done: int64 [L, A], goals served, in a world where they follow each other; None elsewhere.
        failed: bool [L, A], agents that failed on the way and do not count for success; None where nobody can.
        outcome: name → [L], what became of the world's tasks: columns of ``episodes.parquet``.
        wall_s: of the whole run. network_s: of it inside the network. round_ms: float32 [n].
    """

    episodes: Counts
    dt: float
    radius: float
    separation: float
    goal_tolerance: float
    positions: Floats
    goals: Floats
    starts: Floats
    finish_tick: Counts
    at_goal: NDArray[np.bool_]
    min_pair: Floats
    collisions: Counts
    obstacle_hits: Counts
    shortest: Floats
    packets: Counts | None = None
    bits: Counts | None = None
    silent_rounds: Counts | None = None
    speaking_rounds: Counts | None = None
    decisions: Counts | None = None
    lost: Counts | None = None
    age_sum: Doubles | None = None
    age_count: Doubles | None = None
    proposals: Counts | None = None
    commits: Counts | None = None
    commit_rounds: Counts | None = None
    grants_asked: Counts | None = None
    grants_given: Counts | None = None
    brakes: Counts | None = None
    belief_ade_sum: Doubles | None = None
    belief_fde_sum: Doubles | None = None
    belief_cover_sum: Doubles | None = None
    belief_count: Counts | None = None
    adherence: Doubles | None = None
    radio: dict[str, Counts | Doubles] = field(default_factory=dict)
    link_losses: list[dict[str, int]] = field(default_factory=list)
    graph: dict[str, Doubles] = field(default_factory=dict)
    v_max: float | None = None
    tasks_done: Counts | None = None
    failed: NDArray[np.bool_] | None = None
    outcome: dict[str, Counts | Doubles] = field(default_factory=dict)
    wall_s: float = 0.0
    network_s: float | None = None
    round_ms: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return len(self.episodes)

    @property
    def agents(self) -> int:
        """Number of agents in a lane."""
        return self.positions.shape[2]

    @property
    def last_tick(self) -> Counts:
        """int64 [L]: the finish, or the time limit of a lane that never finished."""
        limit = self.positions.shape[1] - 1
        return np.where(self.finish_tick >= 0, self.finish_tick, limit).astype(np.int64)

    @property
    def duration_s(self) -> Doubles:
        """float64 [L]: simulated seconds until the lane ended."""
        return np.asarray(self.last_tick * float(self.dt), np.float64)

    @property
    def arrival_tick(self) -> Counts:
        """int64 [L, A]: first tick from which an agent stays within its goal's tolerance; -1 if never."""
        away = np.linalg.norm(self.positions - self.goals[:, None], axis=-1) > self.goal_tolerance
        ticks = np.arange(self.positions.shape[1])
        away &= ticks[None, :, None] <= self.last_tick[:, None, None]
        last_away = np.where(away, ticks[None, :, None], -1).max(axis=1)
        return np.where(last_away < self.last_tick[:, None], last_away + 1, -1).astype(np.int64)

    @property
    def path_length(self) -> Doubles:
        """float64 [L, A]: metres travelled until the lane ended."""
        steps = np.linalg.norm(np.diff(self.positions.astype(np.float64), axis=1), axis=-1)
        counted = np.arange(steps.shape[1])[None, :, None] < self.last_tick[:, None, None]
        return np.asarray((steps * counted).sum(axis=1), np.float64)

    @property
    def reaction_s(self) -> Doubles:
        """float64 [L]: seconds until those who do not start at their goal first move, on average; nan without any.

        Who never moves counts with the whole duration.
        """
        moved = (np.abs(self.positions - self.positions[:, :1]) > RESOLUTION).any(-1)
        ticks = np.where(moved.any(1), moved.argmax(1) - 1, np.iinfo(np.int64).max)
        ticks = np.minimum(ticks, self.last_tick[:, None])
        away = np.linalg.norm(self.goals - self.starts, axis=-1) > self.goal_tolerance
        count = away.sum(1)
        found = np.full(self.lanes, np.nan)
        found[count > 0] = (ticks * away).sum(1)[count > 0] / count[count > 0] * float(self.dt)
        return found

    @property
    def smoothness(self) -> Doubles:
        """float64 [L]: mean change of displacement from tick to tick, m (MMD's |v_{t+1} − v_t|); nan if too short."""
        found = np.full(self.lanes, np.nan)
        # Lane by lane: sums over a batch would be rounded differently beside lanes that take longer.
        for lane, last in enumerate(self.last_tick.tolist()):
            change = np.diff(self.positions[lane, : last + 1].astype(np.float64), 2, axis=0)
            if len(change):
                found[lane] = np.linalg.norm(change, axis=-1).mean()
        return found

    @property
    def closest_at_ticks(self) -> Doubles:
        """float64 [L]: smallest centre distance at the ticks alone, m, as MMD measures it; inf for one agent."""
        least = np.full(self.lanes, np.inf)
        first, second = np.triu_indices(self.agents, 1)
        if not len(first):
            return least
        for lane, last in enumerate(self.last_tick.tolist()):
            for block in range(0, last + 1, 16):  # so that the pairs of a large fleet fit into memory
                path = self.positions[lane, block : min(block + 16, last + 1)]
                gap = np.sqrt(np.square(path[:, first] - path[:, second]).sum(-1).min())
                least[lane] = min(least[lane], gap)
        return least

    @property
    def collision_free(self) -> NDArray[np.bool_]:
        """bool [L]: no pair was ever closer than the sum of radii, and nobody touched an obstacle."""
        return (self.min_pair >= self.separation) & ~self.obstacle_hits.any(axis=1)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """bool [L, A]: agents that count for success, all but those that failed on the way."""
        return np.ones_like(self.at_goal) if self.failed is None else ~self.failed

    @property
    def success(self) -> NDArray[np.bool_]:
        """bool [L]: every agent that counts ended at its goal before the time limit, and the lane was collision-free.

        Where goals follow each other, every agent has served at least one instead.
        """
        if self.tasks_done is not None:
            return (self.tasks_done > 0).all(axis=1) & self.collision_free
        return (self.finish_tick >= 0) & (self.at_goal | ~self.counted).all(axis=1) & self.collision_free

    def lane_digest(self, lane: int) -> bytes:
        """SHA-256 of one lane: episode, shape, and positions up to its finish on a 1e-4 m lattice.

        A lane's digest is the same whether it ran alone or beside others.
        """
        path = self.positions[lane, : int(self.last_tick[lane]) + 1].astype(np.float64)
        header = np.array([self.episodes[lane], *path.shape[:2]], dtype="<i8")
        return hashlib.sha256(header.tobytes() + np.rint(path / RESOLUTION).astype("<i8").tobytes()).digest()

    def digest(self) -> str:
        """SHA-256 (hex) over all lanes' digests in the order of their episodes."""
        order = np.argsort(self.episodes, kind="stable")
        return hashlib.sha256(b"".join(self.lane_digest(int(lane)) for lane in order)).hexdigest()
