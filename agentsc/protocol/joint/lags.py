"""Where peers will be along a course, with calibrated doubt: the order's own timetable, and how late agents were.

Who knows a course knows everybody's route and order, and from progress heard, how far peers have committed. What
follows from that with nobody waiting for words is a *timetable* (`timetable`): everybody makes each step as soon as the
order allows. Peers are late against it, because words take time and get lost, now and then early, because the receiver
itself was late, and elsewhere, where a new course begins on the way. How late and how far off they were at five
*knots* of the horizon was counted offline by what the receiver knew then (`context`); each sample of a belief moves
along the timetable as late as one of those counted.

So a belief is a point where everything in it is promised, and widens with what is not known. Truths that are counted
alike are drawn as samples are, so regions cover what they say. `experiments/course_beliefs.py` counts and measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.order import Course
from envs import keyed

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

KNOTS = 5
"""Places along the horizon, the first and the last included, at which lateness was counted."""
MOST = 48
"""Ticks; nobody is counted as later or earlier than that."""
KNOWN = (-0.5, 0.25, 0.75, 1.0)
"""Shares of the horizon, from now on, up to which a peer's promises reach: five kinds."""
CONTEXTS = (len(KNOWN) + 1) * 2 * 2
SHIPPED = Path(str(files("agentsc.protocol.joint"))) / "lags.safetensors"


def timetable(
    course: Course, agent: Ints, steps: Ints, done: NDArray[np.int32], known: NDArray[np.int16],
    known_at: NDArray[np.int32], since: Ints, slack: int, until: int,
) -> NDArray[np.int32]:  # fmt: skip
    """When everybody makes each step if nobody has to wait for word, as rows see it.

    Args:
        agent, steps: [row], who rows are, how far they have committed. done: [row, S + 1], see `Progress`.
        known, known_at: [row, agent(, S + 1)], likewise. since: [row], tick before which no other step is made.
        slack: ticks between a step and one that waits for it. until: no step that starts later is looked at.

    Returns:
        int32 [row, agent, S + 1], ticks by which so many steps are made; `NEVER` for those not looked at.
    """
    from agentsc.protocol.joint import _kernels

    at = np.empty((len(agent), known.shape[1], course.steps + 1), np.int32)
    _kernels.timetable(
        course.need, agent, steps, done, known, known_at, since, np.int32(slack), np.int32(until), at
    )  # fmt: skip
    return at


def made(at: NDArray[np.int32], ticks: Ints) -> Ints:
    """Steps made [n, k] by ``ticks`` [k] on timetables ``at`` [n, S + 1]."""
    return np.stack([np.searchsorted(each, ticks, side="right") for each in at[:, 1:]]).reshape(len(at), len(ticks))


def context(until: NDArray[np.floating], gated: Flags, renewed: Flags) -> Ints:
    """Which way of counting holds: int64 [n] in 0 … `CONTEXTS` − 1.

    Args:
        until: share of the horizon from now on that a peer's promises cover, negative where they lie in the past.
        gated: within the horizon the peer waits for somebody who has not promised to be gone.
        renewed: courses follow each other here: the present one is not the first, or another one is being agreed on.
    """
    return 4 * np.digitize(until, KNOWN) + 2 * gated + renewed


@dataclass(frozen=True)
class Lags:
    """What was counted, as examples; see the module.

    Attributes:
        late: int16 [CONTEXTS, M, KNOTS], ticks behind the timetable. off: float32, likewise, distance from every place
            of it within `MOST` ticks, in reaches (v_max × horizon).
    """

    late: NDArray[np.int16]
    off: Floats

    @classmethod
    @lru_cache(maxsize=2)
    def load(cls, path: Path = SHIPPED) -> Lags:
        """The shipped examples, or those in a file."""
        from safetensors.numpy import load_file

        found = load_file(path)
        return cls(found["late"], found["off"].astype(np.float32))

    def save(self, path: Path, origin: str) -> None:
        """Write a safetensors file that says where it came from."""
        from safetensors.numpy import save_file

        save_file({"late": self.late, "off": self.off.astype(np.float16)}, path, {"origin": origin})

    def foretell(self, way: Floats, which: Ints, keys: NDArray[np.uint64], count: int, reach: float) -> Floats:
        """Samples float32 [n, count, H + 1, 2], metres.

        Args:
            way: float32 [n, H + 1 + 2·MOST, 2], the timetable's places from `MOST` ticks ago on, until as long
                after the horizon. which: [n], contexts. keys: uint64 [n], of all draws. reach: metres.
        """
        horizon = way.shape[1] - 1 - 2 * MOST
        pick = (keyed.uniform(keys[:, None], 0, np.arange(count)) * self.late.shape[1]).astype(np.int64)
        angle = 2.0 * np.pi * keyed.uniform(keys[:, None], 1, np.arange(count))
        knots = np.linspace(0.0, horizon, KNOTS)
        late, off = (_between(part[which[:, None], pick], knots, horizon) for part in (self.late, self.off))
        place = MOST + np.arange(horizon + 1) - np.rint(late).astype(np.int64)
        spots = way[np.arange(len(way))[:, None, None], np.clip(place, 0, way.shape[1] - 1)]
        aside = np.stack([np.cos(angle), np.sin(angle)], -1)[:, :, None] * (off * reach)[..., None]
        return np.asarray(spots + aside, np.float32)

    def certainty(self, which: Ints) -> NDArray[np.float64]:
        """Share [n] of examples in which a peer was where the timetable has it, half a horizon later."""
        there = (self.late[..., KNOTS // 2] == 0) & (self.off[..., KNOTS // 2] < 1e-3)
        return np.asarray(there.mean(1)[which])


def _between(values: NDArray, knots: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """Values at knots [..., KNOTS], in between at every tick [..., horizon + 1]: straight lines."""
    ticks = np.arange(horizon + 1)
    leg = np.clip(np.searchsorted(knots, ticks, side="right") - 1, 0, KNOTS - 2)
    share = (ticks - knots[leg]) / (knots[leg + 1] - knots[leg])
    return np.asarray(values[..., leg] * (1.0 - share) + values[..., leg + 1] * share)


def lateness(way: Floats, truth: Floats, reach: float) -> tuple[NDArray[np.int16], Floats]:
    """How late agents were at the knots [n, KNOTS], ticks, and how far from the timetable's places, reaches.

    Args:
        way: as for `Lags.foretell`. truth: float32 [n, H + 1, 2], metres, where agents then were.
    """
    horizon = truth.shape[1] - 1
    when = np.rint(np.linspace(0.0, horizon, KNOTS)).astype(np.int64)
    gap = np.linalg.norm(way[:, None] - truth[:, when, None], axis=-1)
    off = gap.min(-1)
    late = MOST + when[:, None] - np.arange(way.shape[1])
    # Where it rests there are many such ticks: the one that is least late or early.
    price = np.where((gap <= off[..., None] + 1e-4 * reach) & (abs(late) <= MOST), abs(late), 1 << 20)
    found = np.take_along_axis(late[None].repeat(len(way), 0), price.argmin(-1)[..., None], -1)[..., 0]
    return found.astype(np.int16), np.where(off < 1e-4 * reach, 0.0, off / reach).astype(np.float32)
