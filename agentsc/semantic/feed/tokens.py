"""Moving objects as tokens: what a camera station tells an operator's screen, one packet a frame, and how it is read.

A packet says where every agent is and how it moves: x and y on a lattice of 4,096 lines along the arena's longer side,
heading in 64 directions, speed in 8 steps. It says so as the difference from what an earlier packet, its *reference*,
foretells; only packets that the screen has acknowledged become references, so a packet can be read whatever else was
lost. Without one it is *absolute*. Goals, who is there and late boxes stand behind, in every packet until one that had
them is acknowledged.

| part | bits |
|---|---|
| 0, kind | 4 + 4 |
| number of the frame; how many frames back its reference is, 0 for absolute | 16 + 8 |
| agents; absolute: 33 each; else Rice codes of x, y, heading and speed | 8 + … |
| goals: count; agent, x, y | 8 + 32 each |
| who is there: given?; a bit each | 1 + … |
| boxes: count; number, state, centre, half sizes | 8 + 58 each |
| checksum | 16 |

The screen's packets back are an acknowledgement: 0, kind, number: 24 bits and 16 of checksum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.links.framing import intact, with_checksum
from agentsc.semantic.feed.bits import Damaged, Reader, Writer, unzigzag, zigzag

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

PLACE_BITS, HEADING_BITS, SPEED_BITS = 12, 6, 3
LINES, HEADINGS, SPEEDS = 1 << PLACE_BITS, 1 << HEADING_BITS, 1 << SPEED_BITS
OBJECTS, HEARD = 14, 15
"""Kinds of packet; the protocols' own end at 13."""
FARTHEST = 255
"""Frames that a reference may lie back."""
MOST_FRAMES = 1 << 16
CHECKSUM = 16


@dataclass(frozen=True)
class Lattice:
    """How places and speeds become numbers; both ends know it, like the arena's bounds.

    Attributes:
        low: lower corner, metres. pitch: metres between lines. v_max: m/s, the fastest speed that can be told.
        frame_s: seconds between frames.
    """

    low: tuple[float, float]
    pitch: float
    v_max: float
    frame_s: float

    @classmethod
    def of(cls, bounds: tuple[float, float, float, float], v_max: float, fps: float) -> Lattice:
        """Over an arena (xmin, ymin, xmax, ymax)."""
        side = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
        return cls((bounds[0], bounds[1]), side / (LINES - 1), v_max, 1.0 / fps)

    def code(self, points: NDArray[np.floating]) -> Ints:
        """Lattice numbers [..., 2] of places [..., 2], metres."""
        return np.clip(np.rint((points - np.array(self.low)) / self.pitch), 0, LINES - 1).astype(np.int64)

    def place(self, code: Ints) -> Floats:
        """Places [..., 2], metres."""
        return (np.array(self.low) + self.pitch * code).astype(np.float32)

    def length(self, metres: NDArray[np.floating]) -> Ints:
        """Lengths as numbers of pitches, rounded up."""
        return np.clip(np.ceil(metres / self.pitch - 1e-6), 0, LINES - 1).astype(np.int64)

    def motion(self, velocity: NDArray[np.floating]) -> tuple[Ints, Ints]:
        """Heading and speed codes [A] of velocities [A, 2], m/s."""
        angle = np.arctan2(velocity[:, 1], velocity[:, 0])
        speed = np.hypot(velocity[:, 0], velocity[:, 1]) / self.v_max * (SPEEDS - 1)
        return (
            np.rint(angle / (2 * np.pi) * HEADINGS).astype(np.int64) % HEADINGS,
            np.clip(np.rint(speed), 0, SPEEDS - 1).astype(np.int64),
        )


@dataclass(frozen=True)
class Objects:
    """All agents at one frame, in codes: at int64 [A, 2], heading and speed int64 [A]."""

    at: Ints
    heading: Ints
    speed: Ints

    def __len__(self) -> int:
        return len(self.at)

    def velocity(self, lattice: Lattice) -> Floats:
        """float32 [A, 2], m/s."""
        angle = self.heading * (2 * np.pi / HEADINGS)
        speed = self.speed * (lattice.v_max / (SPEEDS - 1))
        return np.stack([speed * np.cos(angle), speed * np.sin(angle)], -1).astype(np.float32)

    def ahead(self, lattice: Lattice, frames: int) -> Ints:
        """Lattice numbers [A, 2] where they are ``frames`` later, if they go on as they do.

        Both ends work it out, so it is in whole numbers: tables of 1/65536 of a pitch.
        """
        step = lattice.v_max / (SPEEDS - 1) * lattice.frame_s / lattice.pitch
        angle = np.arange(HEADINGS) * (2 * np.pi / HEADINGS)
        table = np.rint(65536.0 * step * np.stack([np.cos(angle), np.sin(angle)], -1)).astype(np.int64)
        moved = table[self.heading] * (self.speed * frames)[:, None]
        return np.clip(self.at + ((moved + 32768) >> 16), 0, LINES - 1)


@dataclass(frozen=True)
class Facts:
    """What seldom changes.

    Attributes:
        goals: int64 [A, 2], lattice numbers. there: bool [A]. boxes: int64 [B, 5], state (0 not there, 1 announced, 2
            solid), centre and half sizes.
    """

    goals: Ints
    there: Flags
    boxes: Ints


@dataclass(frozen=True)
class News:
    """What of `Facts` a packet says: agents and boxes by number.

    Attributes:
        goal_of: int64 [n]; goals: int64 [n, 2]. there: bool [A] or None. box_of: int64 [m]; boxes: int64 [m, 5].
    """

    goal_of: Ints
    goals: Ints
    there: Flags | None
    box_of: Ints
    boxes: Ints

    def nothing(self) -> bool:
        """Whether it says nothing."""
        return not len(self.goal_of) and self.there is None and not len(self.box_of)


def encode(number: int, objects: Objects, back: int, reference: Objects | None, news: News, lattice: Lattice) -> Writer:
    """A packet's payload.

    Args:
        number: of the frame. back, reference: frames since an acknowledged packet, and what it said; 0 and None.
    """
    out = Writer()
    out.write(0, 4)
    out.write(OBJECTS, 4)
    out.write(number, 16)
    out.write(back, 8)
    out.write(len(objects) - 1, 8)
    if reference is None:
        out.write(objects.at, PLACE_BITS)
        out.write(objects.heading, HEADING_BITS)
        out.write(objects.speed, SPEED_BITS)
    else:
        out.write_rice(zigzag(objects.at - reference.ahead(lattice, back)))
        out.write_rice(zigzag(_turn(objects.heading - reference.heading, HEADINGS)))
        out.write_rice(zigzag(objects.speed - reference.speed))
    out.write(len(news.goal_of), 8)
    for who, where in zip(news.goal_of.tolist(), news.goals, strict=True):
        out.write(who, 8)
        out.write(where, PLACE_BITS)
    out.write(int(news.there is not None), 1)
    if news.there is not None:
        out.write(news.there.astype(np.int64), 1)
    out.write(len(news.box_of), 8)
    for which, box in zip(news.box_of.tolist(), news.boxes, strict=True):
        out.write(which, 8)
        out.write(box[0], 2)
        out.write(box[1:], PLACE_BITS)
    return out


@dataclass(frozen=True)
class Said:
    """What a packet turned out to say; ``number`` of its frame."""

    number: int
    objects: Objects
    news: News


def number_of(data: Bytes, bits: int) -> tuple[int, int, int]:
    """Kind, number of the frame, and frames back to the reference of a packet.

    Raises:
        Damaged: not a packet of a feed.
    """
    reader = Reader(data, bits - CHECKSUM)
    zero, kind, number = reader.read_one(4), reader.read_one(4), reader.read_one(16)
    if zero or kind not in (OBJECTS, HEARD):
        raise Damaged(f"a packet must be of kind {OBJECTS} or {HEARD}, got {kind}")
    return kind, number, reader.read_one(8) if kind == OBJECTS else 0


def decode(data: Bytes, bits: int, agents: int, reference: Objects | None, lattice: Lattice) -> Said:
    """What a packet says.

    Args:
        data: uint8 [W]. bits: with the checksum. agents: A. reference: what its reference said; None for absolute.

    Raises:
        Damaged: it does not hold what it should; nothing of it may be believed then.
    """
    reader = Reader(data, bits - CHECKSUM)
    reader.read(1, 8)
    number, back = reader.read_one(16), reader.read_one(8)
    if (back == 0) != (reference is None) or back > number:
        raise Damaged("a packet must name the reference that it is read with")
    if reader.read_one(8) + 1 != agents:
        raise Damaged(f"a packet must speak of all {agents} agents")
    if reference is None:
        at = reader.read(2 * agents, PLACE_BITS).reshape(agents, 2)
        heading, speed = reader.read(agents, HEADING_BITS), reader.read(agents, SPEED_BITS)
    else:
        at = reference.ahead(lattice, back) + unzigzag(reader.read_rice(2 * agents)).reshape(agents, 2)
        heading = (reference.heading + unzigzag(reader.read_rice(agents))) % HEADINGS
        speed = reference.speed + unzigzag(reader.read_rice(agents))
    if not (((at >= 0) & (at < LINES)).all() and ((speed >= 0) & (speed < SPEEDS)).all()):
        raise Damaged("a packet must speak of places in the arena and speeds that there are")
    goals = [(reader.read_one(8), reader.read(2, PLACE_BITS)) for _ in range(reader.read_one(8))]
    there = reader.read(agents, 1).astype(bool) if reader.read_one(1) else None
    boxes = [
        (reader.read_one(8), np.concatenate([reader.read(1, 2), reader.read(4, PLACE_BITS)]))
        for _ in range(reader.read_one(8))
    ]
    if reader.left or any(who >= agents for who, _ in goals) or any(box[0] > 2 for _, box in boxes):
        raise Damaged("a packet must speak of agents and boxes that there are, and end there")
    news = News(
        np.array([who for who, _ in goals], np.int64), np.array([at for _, at in goals], np.int64).reshape(-1, 2),
        there, np.array([which for which, _ in boxes], np.int64),
        np.array([box for _, box in boxes], np.int64).reshape(-1, 5),
    )  # fmt: skip
    return Said(number, Objects(at, heading, speed), news)


def heard(number: int) -> Writer:
    """An acknowledgement of a packet."""
    out = Writer()
    out.write(0, 4)
    out.write(HEARD, 4)
    out.write(number, 16)
    return out


def sealed(payload: Writer) -> tuple[Bytes, int]:
    """A packet with its checksum: bytes [W] and bits."""
    data, bits = with_checksum(payload.bytes()[None], np.array([payload.count]))
    return data[0, : -(-int(bits[0]) // 8)], int(bits[0])


def whole(data: Bytes, bits: int) -> bool:
    """Whether a packet's checksum holds."""
    return bool(intact(data[None], np.array([bits]))[0])


def _turn(codes: Ints, circle: int) -> Ints:
    """Differences of directions, the short way round."""
    return (codes + circle // 2) % circle - circle // 2
