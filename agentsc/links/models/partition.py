"""Fleets that fall apart, and come together again."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, field_validator, model_validator

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, Mask
from agentsc.links.hop import known
from envs.keyed import hash_words


def spans(value: object) -> object:
    """``2-5/9-12`` → [[2, 5], [9, 12]]; lists stay as they are."""
    return [part.split("-") for part in value.split("/")] if isinstance(value, str) else value


Second = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Schedule = Annotated[tuple[tuple[Second, Second], ...], Field(min_length=1), BeforeValidator(spans)]


@LINKS.register("partition")
class Partition(LinkModel):
    """The fleet splits into groups that do not hear each other, and heals, on a schedule.

    A packet of which the first or the last bit leaves during a split reaches its sender's own group only; what is in
    the air by then arrives. ``by`` says who is together: number, agent i being in group i mod groups; blocks, agents
    of neighbouring numbers, ⌊i · groups / agents⌋; position, stripes of equal width from the fleet's left to its right
    at that moment; random, drawn for every agent, episode and split. With neither schedule nor every_s it is split
    for ever. Hostile stations belong to every group.

    Two agents are apart with probability 1 − 1/groups if groups are random. A fleet that is split for a share s of
    the time loses s of what is sent between groups.
    """

    reasons: ClassVar[tuple[str, ...]] = ("partition",)

    schedule: Schedule | None = Field(None, description="when it is split, seconds: 2-5/9-12")
    every_s: float | None = Field(
        None, gt=0.0, allow_inf_nan=False, description="or: it splits so often, for the first time after that, seconds"
    )
    lasts_s: float = Field(1.0, gt=0.0, allow_inf_nan=False, description="and for so long each time, seconds")
    groups: int = Field(2, ge=2, le=65535, description="number of groups")
    by: Literal["number", "blocks", "position", "random"] = Field("number", description="who is together")

    @field_validator("schedule")
    @classmethod
    def _ascending(cls, schedule: Schedule | None) -> Schedule | None:
        last = 0.0
        for begin, end in schedule or ():
            if end <= begin:
                raise ValueError(f"a split must end after it begins, got {begin:g}-{end:g}")
            if begin < last:
                raise ValueError(f"a split must begin after the one before has ended, {last:g}, got {begin:g}-{end:g}")
            last = end
        return schedule

    @model_validator(mode="after")
    def _when(self) -> Partition:
        if self.schedule is not None and self.every_s is not None:
            raise ValueError("give either schedule or every_s, got both")
        if self.every_s is None:
            if "lasts_s" in self.model_fields_set:
                raise ValueError("lasts_s goes with every_s, got it without (a schedule says itself how long)")
        elif self.lasts_s >= self.every_s:
            raise ValueError(
                f"lasts_s must be below every_s, {self.every_s:g}, got {self.lasts_s:g} (or it would never heal)"
            )
        return self

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        parted = self._parted(hop, draw)
        return Effect() if parted is None else Effect({"partition": parted})

    def in_touch(self, hop: Hop, draw: Draw) -> Mask | None:
        parted = self._parted(hop, draw)
        return None if parted is None else ~parted

    def _parted(self, hop: Hop, draw: Draw) -> Mask | None:
        """bool [N], whose ends are in different groups; None while nobody is."""
        first, last = self.split(hop.start_s), self.split(hop.sent_s)
        number = np.where(first >= 0, first, last)
        if (number < 0).all():
            return None
        ends = [self._group(hop, draw, number, who) for who in (hop.sender[hop.packet], hop.receiver)]
        mine = hop.sender < hop.around.agents
        return np.asarray(((number >= 0) & mine)[hop.packet] & (ends[0] != ends[1]))

    def split(self, time_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """int64 [K]: which split it is at each time, −1 for none. A split lasts from its begin to before its end."""
        if self.every_s is not None:
            number, phase = np.divmod(time_s, self.every_s)
            return np.where((phase < self.lasts_s) & (number > 0), number, -1.0).astype(np.int64)
        if self.schedule is None:
            return np.zeros(len(time_s), np.int64)
        begin, end = np.array(self.schedule).reshape(-1, 2).T
        number = np.searchsorted(begin, time_s, side="right") - 1
        return np.where((number >= 0) & (time_s < end[number]), number, -1).astype(np.int64)

    def _group(self, hop: Hop, draw: Draw, number: NDArray[np.int64], who: NDArray[np.integer]) -> NDArray[np.int64]:
        """int64 [N], the group of one end of each row."""
        who, agents = np.asarray(who, np.int64), hop.around.agents
        if self.by == "number":
            return np.asarray(who % self.groups)
        if self.by == "blocks":
            return np.asarray(who * self.groups // agents)
        lane = hop.lane[hop.packet]
        if self.by == "random":
            words = hash_words(draw.seeds[lane], -8, number[hop.packet], who)
            return (words % np.uint64(self.groups)).astype(np.int64)
        x = known(hop.around.position)[..., 0].astype(np.float64)
        fleet = x[:, :agents]
        low, span = fleet.min(1, keepdims=True), np.maximum(np.ptp(fleet, axis=1, keepdims=True), 1e-9)
        stripe = ((x - low) / span * self.groups).astype(np.int64)
        return np.asarray(np.clip(stripe, 0, self.groups - 1)[lane, who])
