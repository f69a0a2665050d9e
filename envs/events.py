"""What happens while a run goes on: boxes appear, goals change, agents fail or join, processes die and come back.

Events are data, drawn before the start and known to the simulator alone. `envs.story` makes them happen.

A box that comes later is announced: from ``notice_ticks`` before it is due it can be seen (amber) by agents
within ``sense_m``, and it turns solid when it is due and no agent is, or could be a tick later, where it stands.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import ConfigError
from envs.geometry import Obstacles, box_distance

Float = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

BOX, FAIL, JOIN, GOAL, DIE, START = range(6)
KINDS = ("box", "fail", "join", "goal", "die", "start")
"""Names of the kinds: a box comes, an agent fails, an agent joins, an agent is given another goal; its process dies,
while its vehicle goes on as that has committed; its process starts, and knows nothing of what was before."""

PLAN_TICKS = 56
"""Ticks that a committed plan can last: 32 of its own, and it may start 24 ahead. Notice may not be shorter."""

_CACHED = 256


def _no_ints() -> Ints:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Events:
    """Everything that will happen, one row per event.

    Attributes:
        tick: int64 [n], the event holds from the start of this tick on; a box is due then.
        lane: int64 [n]. kind: int64 [n], see `KINDS`. subject: int64 [n], an agent, or a box of its lane.
        goal: float32 [n, 2], metres, the new goal; NaN for other kinds.
        boxes: float32 [lane, box, 5], late boxes as in `envs.geometry.Obstacles`. One without an event never comes.
        notice_ticks: how long before it is due a box can be seen.
        sense_m: distance from an agent's centre to a box within which it is seen, metres.

    Raises:
        ConfigError: columns of different lengths, an unknown kind, a time before the start, too short a notice.
    """

    tick: Ints = field(default_factory=_no_ints)
    lane: Ints = field(default_factory=_no_ints)
    kind: Ints = field(default_factory=_no_ints)
    subject: Ints = field(default_factory=_no_ints)
    goal: Float = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    boxes: Float = field(default_factory=lambda: np.zeros((0, 0, 5), np.float32))
    notice_ticks: int = PLAN_TICKS
    sense_m: float = np.inf

    def __post_init__(self) -> None:
        count = len(self.tick)
        if not all(len(column) == count for column in (self.lane, self.kind, self.subject, self.goal)):
            raise ConfigError("world.events must have columns of one length (tick, lane, kind, subject, goal)")
        if count and (self.tick.min() < 0 or self.kind.min() < 0 or self.kind.max() >= len(KINDS)):
            raise ConfigError(f"world.events must start at tick 0 or later and be one of {', '.join(KINDS)}")
        if self.tick[self.kind == GOAL].min(initial=1) < 1:
            raise ConfigError("world.events must change goals at tick 1 or later, got 0 (make it the first goal)")
        if (self.kind == BOX).any() and self.notice_ticks < PLAN_TICKS:
            raise ConfigError(
                f"world.events.notice_ticks must be at least {PLAN_TICKS}, as long as a committed plan can last, "
                f"got {self.notice_ticks} (ticks between seeing a box and its being solid)"
            )
        if self.tick[self.kind == BOX].min(initial=self.notice_ticks) < self.notice_ticks:
            raise ConfigError(
                f"world.events must give full notice of boxes, {self.notice_ticks} ticks, got one that is due earlier"
            )
        if not self.sense_m > 0:
            raise ConfigError(f"world.events.sense_m must be positive, got {self.sense_m} (metres)")

    def check(self, lanes: int, agents: int) -> None:
        """Raise a `ConfigError` if this is not for so many lanes and agents."""
        boxes = self.boxes.shape[1]
        if self.boxes.shape != (lanes, boxes, 5):
            raise ConfigError(f"world.events.boxes must be [{lanes}, boxes, 5], got {self.boxes.shape}")
        most = np.where(self.kind == BOX, boxes, agents)
        if ((self.lane < 0) | (self.lane >= lanes) | (self.subject < 0) | (self.subject >= most)).any():
            raise ConfigError(
                f"world.events must name one of {lanes} lanes, and one of {agents} agents or {boxes} boxes"
            )
        if not np.isfinite(self.goal[self.kind == GOAL]).all():
            raise ConfigError("world.events.goal must be finite where a goal changes (metres)")
        for kind in (BOX, FAIL, JOIN):
            who = np.stack([self.lane, self.subject], -1)[self.kind == kind]
            if len(np.unique(who, axis=0)) < len(who):
                raise ConfigError(f"world.events must have one event of kind {KINDS[kind]} per subject, got several")
        process = np.isin(self.kind, (DIE, START))
        who = np.stack([self.lane, self.subject, self.tick], -1)[process]
        if len(np.unique(who, axis=0)) < len(who):
            raise ConfigError("world.events must let a process die or start once per tick at most, got both or twice")

    def select(self, pick: Any) -> Events:
        """Some lanes, in the order of ``pick``."""
        lanes = np.arange(len(self.boxes))[pick]
        order = np.concatenate([np.flatnonzero(self.lane == lane) for lane in lanes] or [_no_ints()])
        number = np.repeat(np.arange(len(lanes)), [int((self.lane == lane).sum()) for lane in lanes])
        return replace(
            self, tick=self.tick[order], lane=number, kind=self.kind[order], subject=self.subject[order],
            goal=self.goal[order], boxes=self.boxes[pick],
        )  # fmt: skip

    def when(self, kind: int, shape: tuple[int, int], otherwise: int) -> Ints:
        """int64 ``shape`` [lane, subject]: tick of the event of this kind, ``otherwise`` where there is none."""
        found = np.full(shape, otherwise, np.int64)
        mine = self.kind == kind
        found[self.lane[mine], self.subject[mine]] = self.tick[mine]
        return found

    def running(self, tick: int, shape: tuple[int, int]) -> Flags:
        """bool ``shape`` [lane, agent]: whose processes run at a tick; one that starts before it dies came late."""
        process = np.isin(self.kind, (DIE, START))
        found = np.ones(shape, bool)
        order = np.flatnonzero(process)[np.argsort(self.tick[process], kind="stable")]
        found[self.lane[order[::-1]], self.subject[order[::-1]]] = self.kind[order[::-1]] == DIE
        past = order[self.tick[order] <= tick]
        found[self.lane[past], self.subject[past]] = self.kind[past] == START
        return found

    def last(self, lanes: int) -> Ints:
        """int64 [lane]: tick of the last event that concerns an agent, -1 for none: until then a lane goes on."""
        found = np.full(lanes, -1, np.int64)
        agents = self.kind != BOX
        np.maximum.at(found, self.lane[agents], self.tick[agents])
        return found

    def distance(self, points: Float) -> Float:
        """float32 [lane, agent, box]: signed distance of ``points`` [lane, agent, 2] to each late box, metres."""
        return box_distance(points[:, :, None], self.boxes[:, None])


class LateMaps:
    """A world's geometry with any choice of a lane's late boxes; each choice is built once and kept.

    Args:
        base: the map without late boxes. boxes: float32 [lane, box, 5], from `Events`.
    """

    def __init__(self, base: Obstacles, boxes: Float) -> None:
        self.base, self.boxes = base, boxes
        self._kept: OrderedDict[bytes, Obstacles] = OrderedDict()

    def of(self, lane: int, mask: Flags) -> Obstacles:
        """The map with the late boxes of ``lane`` that ``mask`` [box] names; the base itself for none."""
        chosen = self.boxes[lane][mask]
        if not len(chosen):
            return self.base
        key = chosen.tobytes()
        found = self._kept.get(key)
        if found is None:
            found = Obstacles(np.concatenate([self.base.boxes, chosen]), self.base.bounds, self.base.cutoff)
            self._kept[key] = found
            while len(self._kept) > _CACHED:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return found
