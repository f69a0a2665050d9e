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
Schedule = Annotated[tuple[tuple[Second, Second], ...], BeforeValidator(spans)]


@LINKS.register("partition")
class Partition(LinkModel):
    """The fleet splits into groups that do not hear each other, and heals, on a schedule.

    A packet whose last bit leaves during a split reaches its own group only. ``by`` says who is together: number, agent
    i being in group i mod groups; place, stripes of equal width from the fleet's left to its right; random, drawn anew
    for every split.
    """

    reasons: ClassVar[tuple[str, ...]] = ("partition",)

    schedule: Schedule | None = Field(None, description="when it is split, seconds: 2-5/9-12")
    every_s: float | None = Field(None, gt=0.0, allow_inf_nan=False, description="or: it splits so often, seconds")
    lasts_s: float = Field(1.0, gt=0.0, allow_inf_nan=False, description="and for so long each time, seconds")
    groups: int = Field(2, ge=2, le=65535, description="number of groups")
    by: Literal["number", "place", "random"] = Field("number", description="who is together")

    @field_validator("schedule")
    @classmethod
    def _ascending(cls, schedule: Schedule | None) -> Schedule | None:
        for begin, end in schedule or ():
            if end <= begin:
                raise ValueError(f"a split must end after it begins, got {begin:g}-{end:g}")
        return schedule

    @model_validator(mode="after")
    def _when(self) -> Partition:
        if self.schedule is not None and self.every_s is not None:
            raise ValueError("give either schedule or every_s, got both")
        return self

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        parted = self._parted(hop, draw)
        return Effect() if parted is None else Effect({"partition": parted})

    def in_touch(self, hop: Hop, draw: Draw) -> Mask | None:
        parted = self._parted(hop, draw)
        return None if parted is None else ~parted

    def _parted(self, hop: Hop, draw: Draw) -> Mask | None:
        """bool [N], whose ends are in different groups; None while nobody is."""
        number = self.split(hop.sent_s)
        if (number < 0).all():
            return None
        ends = [self._group(hop, draw, number, who) for who in (hop.sender[hop.packet], hop.receiver)]
        return np.asarray((number[hop.packet] >= 0) & (ends[0] != ends[1]))

    def split(self, time_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """int64 [K]: which split it is at each time, −1 for none. Without a schedule it is split for ever."""
        if self.every_s is not None:
            number, phase = np.divmod(time_s, self.every_s)
            return np.where((phase < self.lasts_s) & (number > 0), number, -1).astype(np.int64)
        if self.schedule is None:
            return np.zeros(len(time_s), np.int64)
        found = np.full(len(time_s), -1, np.int64)
        for which, (begin, end) in enumerate(self.schedule):
            found[(time_s >= begin) & (time_s < end)] = which
        return found

    def _group(
        self, hop: Hop, draw: Draw, number: NDArray[np.int64], who: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """int64 [N], the group of one end of each row."""
        if self.by == "number":
            return np.asarray(who, np.int64) % self.groups
        lane = hop.lane[hop.packet]
        if self.by == "random":
            words = hash_words(draw.seeds[lane], -8, number[hop.packet], who)
            return (words % np.uint64(self.groups)).astype(np.int64)
        x = known(hop.around.position)[..., 0].astype(np.float64)
        low, span = x.min(1, keepdims=True), np.maximum(np.ptp(x, axis=1, keepdims=True), 1e-9)
        stripe = np.minimum(((x - low) / span * self.groups).astype(np.int64), self.groups - 1)
        return np.asarray(stripe[lane, who])
