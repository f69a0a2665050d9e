"""Radios that talk through masts."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, Mask, Surroundings, happens
from agentsc.links.hop import known
from agentsc.links.models.markov import numbers
from agentsc.links.packets import Doubles
from envs.keyed import hash_words

Metre = Annotated[float, Field(allow_inf_nan=False)]
Ids = NDArray[np.int64]


class Regions(NamedTuple):
    """Of places [...]: the number of their region, int64, and where its gateway stands, float64 [..., 2], metres."""

    number: Ids
    gateway: Doubles


@LINKS.register("gateways")
class Gateways(LinkModel):
    """Agents talk through the gateway of their region, and gateways to each other over a backbone.

    A packet goes up to its sender's gateway, over the backbone to the others, and down to each receiver from its own.
    With losses u, b and d of the three ways it arrives with

        (1 − u)(1 − d) within a region, (1 − u)(1 − b)(1 − d) between two,

    after uplink_ms + downlink_ms, and backbone_ms more between regions. The way up is drawn once per packet, so all its
    receivers share it: two receivers in one region both get it with (1 − u)(1 − d)², two in different other regions
    with (1 − u)(1 − b)²(1 − d)². The backbone is drawn once per packet and region, the way down for every receiver.

    Regions are ``count`` equal parts of the world, as square as that number allows (of the box around the fleet if
    the world has no walls), or squares of ``metres`` with a corner at the origin. A gateway stands in the middle of its
    region and hears everyone in it, or as far as ``reach_m``. Agents that it does not reach, and all of its region
    while it is dead, neither send nor hear: ``gateway``. A packet is lost if any bit of it leaves meanwhile.
    """

    reasons: ClassVar[tuple[str, ...]] = ("gateway", "uplink", "backbone", "downlink")

    omits: ClassVar[tuple[str, ...]] = (
        "radio signals: the ways up and down lose packets with fixed probabilities, at any distance in reach",
        "contention: neither agents nor gateways disturb each other, and a gateway has no queue",
        "bit errors: a packet arrives whole or not at all",
        "handover: an agent that crosses a border belongs to the next gateway at once",
    )

    count: int = Field(4, ge=1, le=65536, description="number of regions, each with a gateway")
    metres: float | None = Field(None, gt=0.0, allow_inf_nan=False, description="or: side of a region, metres")
    reach_m: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="how far a gateway reaches, metres; none: all over its region"
    )
    uplink_loss: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False, description="agent to gateway")
    backbone_loss: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False, description="gateway to gateway")
    downlink_loss: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False, description="gateway to agent")
    uplink_ms: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="agent to gateway, milliseconds")
    backbone_ms: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="gateway to gateway, milliseconds")
    downlink_ms: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="gateway to agent, milliseconds")
    dead: Annotated[tuple[Metre, Metre], BeforeValidator(numbers)] | None = Field(
        None, description="a place, x/y in metres: the gateway of its region dies"
    )
    dies_s: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="when that one dies, seconds")
    back_s: float | None = Field(None, ge=0.0, allow_inf_nan=False, description="when it is back; none: never")

    @model_validator(mode="after")
    def _whole(self) -> Gateways:
        given = self.model_fields_set
        if self.metres is not None and "count" in given:
            raise ValueError("give either count or metres, got both")
        if self.dead is None and (late := [name for name in ("dies_s", "back_s") if name in given]):
            raise ValueError(f"{late[0]} goes with dead, got it without (a place in the region of the gateway, x/y)")
        if self.back_s is not None and self.back_s <= self.dies_s:
            raise ValueError(f"back_s must be above dies_s, {self.dies_s:g}, got {self.back_s:g}")
        return self

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        begin, end, silent = self._ends(hop)
        far = begin != end
        lost: dict[str, Mask] = {} if silent is None else {"gateway": silent}
        if self.uplink_loss > 0.0:
            lost["uplink"] = happens(self._packet(hop, draw, -11), self.uplink_loss)[hop.packet]
        if self.backbone_loss > 0.0:
            key = hash_words(self._packet(hop, draw, -12)[hop.packet], end)
            lost["backbone"] = far & happens(key, self.backbone_loss)
        if self.downlink_loss > 0.0:
            lost["downlink"] = happens(draw.packet, self.downlink_loss)
        delay_ms = self.uplink_ms + self.downlink_ms
        return Effect(lost, delay_s=1e-3 * (delay_ms + self.backbone_ms * far) if self.backbone_ms else 1e-3 * delay_ms)

    def in_touch(self, hop: Hop, draw: Draw) -> Mask | None:
        silent = self._ends(hop)[2]
        return None if silent is None else ~silent

    def regions(self, place: NDArray[np.floating], around: Surroundings) -> Regions:
        """Of places [L, …, 2], metres."""
        spot = place.astype(np.float64)
        if self.metres is not None:
            cell = np.floor(spot / self.metres)
            middle = (cell + 0.5) * self.metres
        else:
            low, size = _area(around)
            parts = np.array(_parts(self.count))
            cell = np.clip(np.floor((spot - low) / size * parts), 0, parts - 1)
            middle = low + (cell + 0.5) / parts * size
        whole = cell.astype(np.int64)
        return Regions((whole[..., 0] << 20) + whole[..., 1], middle)

    def _ends(self, hop: Hop) -> tuple[Ids, Ids, Mask | None]:
        """Regions of senders and receivers, [N] each, and which rows have a silent gateway; None where none can be."""
        around, lane = hop.around, hop.lane[hop.packet]
        spot = known(around.position)
        number, gateway = self.regions(spot, around)
        begin, end = number[lane, hop.sender[hop.packet]], number[lane, hop.receiver]
        silent: Mask | None = None
        if self.reach_m is not None:
            gap = spot - gateway
            beyond = np.hypot(gap[..., 0], gap[..., 1]) > self.reach_m
            silent = beyond[lane, hop.sender[hop.packet]] | beyond[lane, hop.receiver]
        if self.dead is not None:
            place = np.broadcast_to(np.array(self.dead), (len(spot), 1, 2))
            gone = self.regions(place, around).number[lane, 0]
            back_s = math.inf if self.back_s is None else self.back_s
            dead = ((hop.sent_s >= self.dies_s) & (hop.start_s < back_s))[hop.packet]
            dead &= (begin == gone) | (end == gone)
            silent = dead if silent is None else silent | dead
        return begin, end, silent

    def _packet(self, hop: Hop, draw: Draw, word: int) -> NDArray[np.uint64]:
        """uint64 [K], the same for all receivers of a packet."""
        return hash_words(draw.seeds[hop.lane], hop.clock, hop.sender, hop.origin, word)


def _parts(count: int) -> tuple[int, int]:
    """Columns and rows, as near to a square as they can be: 6 → 3, 2."""
    rows = next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    return count // rows, rows


def _area(around: Surroundings) -> tuple[Doubles, Doubles]:
    """Lower left corner and size of what regions are parts of, float64 [L or 1, 1, 2] each, metres."""
    walls = None if around.obstacles is None else around.obstacles.bounds
    if walls is not None:
        low, high = np.array(walls, np.float64).reshape(2, 1, 1, 2)
    else:
        fleet = known(around.position)[:, : around.agents].astype(np.float64)
        low, high = fleet.min(1, keepdims=True), fleet.max(1, keepdims=True)
    return low, np.maximum(high - low, 1e-9)
