"""Packets as bits: a batch of messages to bytes and back, exactly, without a loop over packets.

Packets with the same section mask have the same layout, so a batch is coded one mask at a time;
within it every field is one row of a matrix, shifted into 64-bit words. Bits are big-endian:
the first field is the highest bits of the first byte. The checksum covers the payload filled up
with zeros to whole bytes and follows the payload's last bit directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.crc import crc
from agentsc.intent.fields import (
    BASE,
    COUNT_BITS,
    GRANT_BITS,
    GRANT_SEQ_BITS,
    GRANTS,
    INTENT,
    INTENT_FIELDS,
    KIND_BITS,
    KIND_FIELDS,
    LATTICE_BITS,
    MAX_GRANTS,
    PLAN,
    RECORDS,
    STATE,
    STATUS,
    STATUS_FIELDS,
    T0_BITS,
    TRAJECTORY_FIELDS,
    WAYPOINT_KINDS,
)
from agentsc.intent.plan import Hint, PlanSpec

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]
Rows = NDArray[np.integer] | NDArray[np.bool_] | slice

BASE_BITS = sum(bits for _, bits in BASE)
_WAYPOINTS_AT = (BASE_BITS + KIND_BITS + sum(bits for _, bits in TRAJECTORY_FIELDS)) // 8
"""Way-points start on a whole byte."""
_COUNTS_AT = {kind: (BASE_BITS + KIND_BITS + sum(bits for _, bits in KIND_FIELDS[kind])) // 8 - 2 for kind in RECORDS}
"""So do the two counts of a packet with records, by its kind, and what they count."""


@dataclass
class Message:
    """A batch of K packets as arrays; fields of sections that a packet lacks are zero.

    Attributes:
        sections: uint8 [K], bit mask INTENT | STATUS | PLAN | GRANTS; 0 for the baselines' kinds.
        kind: uint8 [K], one of `fields.KIND_FIELDS` where the mask is 0.
        id: int32 [K], sender. clock: int32 [K], 16-bit round counter of the sender; only its low byte
            where ``has_clock_high`` is False (`fields.unwrap` restores it).
        goal_x … confidence: int32 [K], codes of the intent token.
        committed_seq, pending_seq: int32 [K]; equal when nothing is pending.
        t0_offset: int32 [K], ticks from the sending tick to the plan's start.
        plan: int32 [K, columns], as `PlanSpec.quantise`.
        grant_count: int32 [K]; grant_peer, grant_seq (low 3 bits), grant_verdict: int32 [K, G].
        position, velocity: int32 [K, 2], codes of a STATE (velocity is signed); the position is the goal in an AGREE
            or a RENEW.
        course, digest: int32 [K], which course an AGREE, a RENEW or a PROGRESS speaks of, and what the first two make
            of it; the newest one agreed to, and what the rally comes to, in a RALLY.
        steps, done: int32 [K], of a PROGRESS or a RENEW: steps committed to, and the tick at which they are made.
        root: int32 [K], the rally that a RALLY is about, or that the course of a PACE or RESUME goes back to; else 0.
        rest: int32 [K, 2], of a RALLY: where the sender rests from ``done`` on. before: the root of ``course``.
        forgetful: 1 if it has been restarted. out_count, corner_count: int32 [K]; outs: int32 [K, O, 3], agents left
            out, 0, and steps they are known to have made; corners: int32 [K, C, 3], agent and place.
        lag: int32 [K], of a RENEW: ticks from when it was first said until ``done``.
        waypoint_t0, waypoint_count: int32 [K]; waypoints: float32 [K, N, 2], metres, of a TRAJECTORY
            or an OPTIMISED.
        award_count, word_count: int32 [K]; awards: int32 [K, S, 3], site, winner and bid; words: int32 [K, N, 3],
            agent, whether it was heard itself, and number of its newest packet, of an AUCTION.
    """

    sections: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    id: Ints
    clock: Ints
    goal_x: Ints
    goal_y: Ints
    role: Ints
    mode: Ints
    homotopy: Ints
    priority: Ints
    affordance: Ints
    horizon: Ints
    margin: Ints
    confidence: Ints
    committed_seq: Ints
    pending_seq: Ints
    t0_offset: Ints
    plan: Ints
    grant_count: Ints
    grant_peer: Ints
    grant_seq: Ints
    grant_verdict: Ints
    position: Ints
    velocity: Ints
    course: Ints
    digest: Ints
    steps: Ints
    done: Ints
    lag: Ints
    root: Ints
    rest: Ints
    before: Ints
    forgetful: Ints
    waypoint_t0: Ints
    waypoint_count: Ints
    waypoints: NDArray[np.float32]
    award_count: Ints
    word_count: Ints
    awards: Ints
    words: Ints
    out_count: Ints
    corner_count: Ints
    outs: Ints
    corners: Ints

    @classmethod
    def blank(
        cls, count: int, spec: PlanSpec, grants: int = 0, waypoints: int = 0, awards: int = 0, words: int = 0,
        outs: int = 0, corners: int = 0,
    ) -> Message:  # fmt: skip
        """``count`` packets of zeros with room for so many grants, way-points, and records of each sort."""
        wide = {"plan": spec.columns, "position": 2, "velocity": 2, "rest": 2}
        wide |= dict.fromkeys(("grant_peer", "grant_seq", "grant_verdict"), grants)
        arrays: dict[str, NDArray] = {}
        for field in fields(cls):
            shape = (count, wide[field.name]) if field.name in wide else (count,)
            arrays[field.name] = np.zeros(shape, np.uint8 if field.name in ("sections", "kind") else np.int32)
        arrays["waypoints"] = np.zeros((count, waypoints, 2), np.float32)
        for name, most in (("awards", awards), ("words", words), ("outs", outs), ("corners", corners)):
            arrays[name] = np.zeros((count, most, 3), np.int32)
        return cls(**arrays)

    def __len__(self) -> int:
        return len(self.sections)

    def rows(self, index: Rows) -> Message:
        """Some of the packets, in the order of ``index``."""
        return Message(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @property
    def has_clock_high(self) -> NDArray[np.bool_]:
        """bool [K]: ``clock`` holds all 16 bits."""
        return (self.sections & STATUS) != 0


def encode(message: Message, spec: PlanSpec) -> tuple[Bytes, Ints]:
    """Messages to bytes.

    Args:
        message: K packets. spec: what plans are relative to.

    Returns:
        uint8 [K, W], rows padded with zeros, and int32 [K], bits on the air including the checksum.

    Raises:
        ValueError: a field does not fit its width, or a mask without a layout (PLAN and GRANTS
            need STATUS: their sequence numbers are there).
    """
    bits = np.zeros(len(message), np.int32)
    parts: list[tuple[Rows, Bytes]] = []
    for mask, kind, index in _groups(message.sections, message.kind):
        if not _legal(mask, kind):
            raise ValueError(
                f"no packet has sections {mask:#06b} and kind {kind} (PLAN and GRANTS need STATUS)"
            )
        part = message if isinstance(index, slice) else message.rows(index)
        data, payload = _encode_group(part, mask, kind, spec)
        width = _crc_width(mask)
        data = append_crc(data, payload, width)
        bits[index] = payload + width
        parts.append((index, data))
    columns = -(-int(bits.max(initial=0)) // 8)
    if len(parts) == 1 and isinstance(parts[0][0], slice):
        return np.ascontiguousarray(parts[0][1][:, :columns]), bits
    out = np.zeros((len(message), columns), np.uint8)
    for index, data in parts:
        part_columns = min(columns, data.shape[1])
        out[index, :part_columns] = data[:, :part_columns]
    return out, bits


def decode(data: Bytes, bits: NDArray[np.integer], spec: PlanSpec) -> tuple[Message, NDArray[np.bool_]]:
    """Bytes to messages; whatever the bytes, it never raises.

    Args:
        data: uint8 [K, W]. bits: [K], bits received of each row; the rest of the row is ignored.
        spec: as the senders'.

    Returns:
        K packets and ok bool [K]: False where the checksum fails, the mask or kind is unknown, or the
        length is not what the contents say; those rows are all zero.
    """
    count, columns = data.shape
    bits = np.asarray(bits, np.int64)
    clean = np.zeros((count, columns + 3), np.uint8)  # a checksum may reach over three bytes
    clean[:, :columns] = data
    ok = (bits >= BASE_BITS + 8) & (bits <= 8 * columns)
    sections = clean[:, 0] >> 4
    kind = np.where(sections == 0, clean[:, 2] & 15, 0).astype(np.uint8)
    # Widths first, so that the result has room for the longest packet that may be good.
    groups = [g for g in _groups(np.where(ok, sections, 0), np.where(ok, kind, 0)) if _legal(g[0], g[1])]
    found: list[tuple[Rows, int, int, Bytes, Ints | None]] = []
    room = dict.fromkeys(("grants", "waypoints", "awards", "words", "outs", "corners"), 0)
    for mask, kind_, index in groups:
        rows = np.arange(count)[index]
        rows = rows[ok[rows]]
        width = _crc_width(mask)
        part = clean[rows]
        entries = _entries(part, mask, kind_, spec)
        payload = _fixed_bits(mask, kind_, spec) + entries * (GRANT_BITS if mask else 64)
        counts = _record_counts(part, mask, kind_)
        for name, widths in RECORDS[kind_] if counts else ():
            payload = payload + sum(widths) * counts[name]
        shapes = _shapes(part, payload, mask, spec)
        if shapes is not None:
            payload = payload + shapes[1]
        good = payload + width == bits[rows]
        good[good] = crc_holds(part[good], payload[good], width)
        rows, part, entries = rows[good], part[good], entries[good]
        if len(rows) == 0:
            continue
        sizes = {name: count[good] for name, count in counts.items()} or {"grants" if mask else "waypoints": entries}
        room |= {name: max(room[name], int(size.max())) for name, size in sizes.items()}
        plan = None if shapes is None else shapes[0][good]
        found.append((slice(None) if len(rows) == count else rows, mask, kind_, part, plan))
    message = Message.blank(count, spec, **room)
    ok[:] = False
    for index, mask, kind_, part, plan in found:
        ok[index] = True
        _decode_group(message, index, part, mask, kind_, spec)
        if plan is not None:
            message.plan[index, 2:] = plan[:, 2:]
    return message, ok


# ---- layouts -------------------------------------------------------------------------------------


def _groups(sections: NDArray[np.uint8], kind: NDArray[np.uint8]) -> Iterator[tuple[int, int, Rows]]:
    """(mask, kind, rows) of every layout in a batch; rows is a slice when there is only one."""
    if len(sections) == 0:
        return
    key = sections.astype(np.int64) * 16 + np.where(sections == 0, kind, 0)
    if (key == key[0]).all():
        yield int(key[0]) >> 4, int(key[0]) & 15, slice(None)
        return
    for value in np.unique(key):
        yield int(value) >> 4, int(value) & 15, np.flatnonzero(key == value)


def _legal(mask: int, kind: int) -> bool:
    if mask == 0:
        return kind in KIND_FIELDS
    return mask < 16 and (mask & STATUS != 0 or mask & (PLAN | GRANTS) == 0)


def _crc_width(mask: int) -> int:
    return 8 if mask == INTENT else 16


@lru_cache(maxsize=256)
def _names(mask: int, kind: int, increments: tuple[int, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and widths of the fields of a layout up to the count of its repeated entries."""
    table: list[tuple[str, int]] = list(BASE)
    if mask & INTENT:
        table += INTENT_FIELDS
    if mask & STATUS:
        table += STATUS_FIELDS
    if mask & PLAN:
        table += [("t0_offset", T0_BITS), ("start_x", LATTICE_BITS), ("start_y", LATTICE_BITS)]
        table += [("increment", bits) for bits in increments]
    if mask & GRANTS:
        table += [("grant_count", COUNT_BITS)]
    if mask == 0:
        table += [("kind", KIND_BITS), *KIND_FIELDS[kind]]
    names, widths = zip(*table, strict=True)
    return names, widths


def _fixed_bits(mask: int, kind: int, spec: PlanSpec) -> int:
    """Bits of a layout without its repeated entries and without shapes of varying size."""
    return sum(_names(mask, kind, spec.fixed_widths)[1])


def _hint(part: Message, mask: int) -> Hint | None:
    """What the tokens of packets of one layout say of their plans."""
    return Hint(np.stack([part.goal_x, part.goal_y], -1), part.role) if mask & INTENT else None


def _shapes(part: Bytes, at: NDArray[np.int64], mask: int, spec: PlanSpec) -> tuple[Ints, NDArray[np.int64]] | None:
    """Codes of plans whose size varies, and their bits, from packets of one layout; None for any other layout."""
    if not mask & PLAN or spec.fixed_widths:
        return None
    names, widths = _names(mask, 0, ())
    values = dict(zip(names, unpack(part, widths).view(np.int64), strict=True))
    start = np.stack([values["start_x"], values["start_y"]], -1)
    hint = Hint(np.stack([values["goal_x"], values["goal_y"]], -1), values["role"]) if mask & INTENT else None
    return spec.read_shapes(part, at, start, hint)


def _record_counts(part: Bytes, mask: int, kind: int) -> dict[str, NDArray[np.int64]]:
    """How many records of each sort packets of a layout claim to hold; empty where it has none.

    The checksum follows: a packet too short for the counts is shorter than its contents say.
    """
    if mask or kind not in RECORDS:
        return {}
    at = _COUNTS_AT[kind]
    if part.shape[1] < at + 2:
        return {name: np.zeros(len(part), np.int64) for name, _ in RECORDS[kind]}
    return {name: part[:, at + n].astype(np.int64) for n, (name, _) in enumerate(RECORDS[kind])}


def _entries(part: Bytes, mask: int, kind: int, spec: PlanSpec) -> NDArray[np.int64]:
    """Number of grants or way-points that each packet claims to hold."""
    width = COUNT_BITS if mask & GRANTS else 8
    if not mask & GRANTS and not (mask == 0 and kind in WAYPOINT_KINDS):
        return np.zeros(len(part), np.int64)
    at = _fixed_bits(mask, kind, spec) - width
    if at // 8 + 1 >= part.shape[1]:
        return np.zeros(len(part), np.int64)  # too short to hold it; the length check refuses it
    window = (part[:, at // 8].astype(np.int64) << 8) | part[:, at // 8 + 1]
    return (window >> (16 - at % 8 - width)) & ((1 << width) - 1)


def _encode_group(part: Message, mask: int, kind: int, spec: PlanSpec) -> tuple[Bytes, NDArray[np.int64]]:
    """Payload bytes (zeros behind) and payload bits of packets of one layout."""
    names, widths = _names(mask, kind, spec.fixed_widths)
    most = 0
    if mask & GRANTS:
        most = int(part.grant_count.max())
        room = min(MAX_GRANTS, part.grant_peer.shape[1])
        if most > room:
            raise ValueError(f"grant_count must be at most {room}, got {most}")
    values = np.empty((len(names) + most, len(part)), np.int64)
    signed: list[int] = []
    for row, name in enumerate(names):
        if name == "increment":
            signed = list(range(row, row + len(spec.fixed_widths)))
            values[signed] = part.plan[:, 2:].T
            break
        values[row] = _column(part, name)
    if mask & GRANTS:
        values[len(names) - 1] = part.grant_count
    if mask == 0 and kind == STATE:
        signed = [names.index("velocity_x"), names.index("velocity_y")]
    limit = np.array(widths, np.int64)
    low = np.zeros(len(widths), np.int64)
    if signed:
        low[signed] = -(1 << (limit[signed] - 1))
    head = values[: len(names)]
    bad = (head < low[:, None]) | (head >= (low + (1 << limit))[:, None])
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{names[row]} must fit {widths[row]} bits, got {head[row, column]}")
    if signed:
        values[signed] &= ((1 << limit[signed]) - 1)[:, None]
    payload = np.full(len(part), sum(widths), np.int64)
    if most:
        present = np.arange(most)[:, None] < part.grant_count
        values[len(names) :] = np.where(present, _grant_words(part, most), 0)
        payload += GRANT_BITS * part.grant_count
    data = pack(values.view(np.uint64), (*widths, *[GRANT_BITS] * most))
    if mask & PLAN and not spec.fixed_widths:
        shapes, bits = spec.write_shapes(part.plan, _hint(part, mask))
        data = append_bits(data, payload, shapes)
        payload += bits
    if mask == 0 and kind in WAYPOINT_KINDS:
        most = int(part.waypoint_count.max())
        if most > part.waypoints.shape[1]:
            raise ValueError(f"waypoint_count must be at most {part.waypoints.shape[1]}, got {most}")
        present = np.arange(most) < part.waypoint_count[:, None]
        points = np.where(present[..., None], part.waypoints[:, :most], np.float32(0.0))
        raw = np.ascontiguousarray(points, ">f4").view(np.uint8).reshape(len(part), 8 * most)
        data = np.concatenate([data[:, :_WAYPOINTS_AT], raw], axis=1)
        payload += 64 * part.waypoint_count
    if mask == 0 and kind in RECORDS:
        raw = _records(part, kind)
        data = np.concatenate([data[:, : _COUNTS_AT[kind] + 2], raw], axis=1)
        for name, columns in RECORDS[kind]:
            payload += sum(columns) * _count_of(part, name)
    return data, payload


def _column(part: Message, name: str) -> NDArray[np.integer]:
    """The field of that name on the air, from the arrays of a message."""
    if name == "clock_low":
        return part.clock & 0xFF
    if name == "clock_high":
        return part.clock >> 8
    if name in ("start_x", "start_y"):
        return part.plan[:, int(name == "start_y")]
    if name in _PAIRED:
        return getattr(part, name[:-2])[:, int(name[-1] == "y")]
    column: NDArray[np.integer] = getattr(part, name)
    return column


_PAIRED = ("position_x", "position_y", "velocity_x", "velocity_y", "rest_x", "rest_y")
"""Fields that are columns of one array."""


def _count_of(part: Message, name: str) -> Ints:
    """How many records of a sort each packet holds."""
    count: Ints = getattr(part, name[:-1] + "_count")
    return count


def _records(part: Message, kind: int) -> Bytes:
    """Bytes of all records of packets of one kind, uint8 [K, most], zeros behind them."""
    sizes = [sum(widths) // 8 for _, widths in RECORDS[kind]]
    counts = [_count_of(part, name).astype(np.int64) for name, _ in RECORDS[kind]]
    total = sum(size * count for size, count in zip(sizes, counts, strict=True))
    found = np.zeros((len(part), int(np.max(total, initial=0))), np.uint8)
    begin = np.zeros(len(part), np.int64)
    for (name, widths), size, count in zip(RECORDS[kind], sizes, counts, strict=True):
        values = getattr(part, name)
        if count.max(initial=0) > values.shape[1]:
            raise ValueError(f"{name} must be at most {values.shape[1]}, got {count.max()}")
        row, entry = np.nonzero(np.arange(values.shape[1]) < count[:, None])
        chosen = values[row, entry].astype(np.int64)
        if ((chosen < 0) | (chosen >= (1 << np.array(widths)))).any():
            raise ValueError(f"{name} must fit {widths} bits")
        number = (((chosen[:, 0] << widths[1]) | chosen[:, 1]) << widths[2]) | chosen[:, 2]
        for byte in range(size):
            found[row, begin[row] + size * entry + byte] = (number >> (8 * (size - 1 - byte))) & 0xFF
        begin = begin + size * count
    return found


def _grant_words(part: Message, most: int) -> NDArray[np.int64]:
    """Grants as 12-bit words [most, K]."""
    columns = (part.grant_peer, part.grant_seq, part.grant_verdict)
    peer, seq, verdict = (column[:, :most].T.astype(np.int64) for column in columns)
    if ((peer & ~0xFF) | (seq & ~7) | (verdict & ~1)).any():
        raise ValueError("grants must have peer in [0, 255], seq in [0, 7] and verdict 0 or 1")
    return (peer << (GRANT_SEQ_BITS + 1)) | (seq << 1) | verdict


def _decode_group(message: Message, index: Rows, part: Bytes, mask: int, kind: int, spec: PlanSpec) -> None:
    """Write packets of one layout, known to be good, into their rows of ``message``."""
    names, widths = _names(mask, kind, spec.fixed_widths)
    most = message.grant_peer.shape[1] if mask & GRANTS else 0
    values = unpack(part, (*widths, *[GRANT_BITS] * most)).view(np.int64)
    clock = np.zeros(len(part), np.int64)
    for row, name in enumerate(names):
        value = values[row]
        if name == "clock_low":
            clock = value
        elif name == "clock_high":
            clock = clock + (value << 8)
        elif name in ("start_x", "start_y"):
            message.plan[index, int(name == "start_y")] = value
        elif name == "increment":
            block = values[row : row + len(spec.fixed_widths)]
            message.plan[index, 2:] = _signed(block, spec.delta_bits).T
            break
        elif name in _PAIRED:
            value = _signed(value, widths[row]) if name.startswith("velocity") else value
            getattr(message, name[:-2])[index, int(name[-1] == "y")] = value
        else:
            getattr(message, name)[index] = value
    message.clock[index] = clock
    if mask & GRANTS:
        count = values[len(names) - 1]
        message.grant_count[index] = count
        words = np.where(np.arange(most)[:, None] < count, values[len(names) :], 0).T
        message.grant_peer[index] = words >> (GRANT_SEQ_BITS + 1)
        message.grant_seq[index] = (words >> 1) & 7
        message.grant_verdict[index] = words & 1
    if mask == 0 and kind in WAYPOINT_KINDS:
        most = message.waypoints.shape[1]
        raw = np.ascontiguousarray(part[:, _WAYPOINTS_AT : _WAYPOINTS_AT + 8 * most])
        points = raw.view(">f4").astype(np.float32).reshape(len(part), -1, 2)
        present = np.arange(points.shape[1]) < values[names.index("waypoint_count")][:, None]
        message.waypoints[index, : points.shape[1]] = np.where(present[..., None], points, np.float32(0.0))
    if mask == 0 and kind in RECORDS:
        _decode_records(message, np.arange(len(message))[index], part, kind)


def _decode_records(message: Message, rows: NDArray[np.int64], part: Bytes, kind: int) -> None:
    """The records of packets of one kind; ``part`` holds them whole."""
    begin = np.full(len(rows), _COUNTS_AT[kind] + 2, np.int64)
    for name, widths in RECORDS[kind]:
        values, counts = getattr(message, name), _count_of(message, name)[rows].astype(np.int64)
        row, entry = np.nonzero(np.arange(values.shape[1]) < counts[:, None])
        size = sum(widths) // 8
        number = np.zeros(len(row), np.int64)
        for byte in range(size):
            number = (number << 8) | part[row, begin[row] + size * entry + byte]
        columns = [number >> (widths[1] + widths[2]), number >> widths[2], number]
        values[rows[row], entry] = np.stack([c & ((1 << w) - 1) for c, w in zip(columns, widths, strict=True)], -1)
        begin = begin + size * counts


def _signed(value: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Two's complement of that many bits."""
    half = 1 << (bits - 1)
    return (value ^ half) - half


# ---- bits ----------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _layout(widths: tuple[int, ...]) -> tuple[NDArray, ...]:
    """Where fields lie in 64-bit words; a field over a word's edge has two pieces.

    Returns:
        Of each piece: its field, its word, bits of the field below it, its place in the word, a mask;
        then the first piece of every word and of every field.
    """
    pieces: list[tuple[int, int, int, int, int]] = []
    offset = 0
    for field, width in enumerate(widths):
        left = width
        while left:
            take = min(left, 64 - offset % 64)
            left -= take
            pieces.append((field, offset // 64, left, 64 - offset % 64 - take, (1 << take) - 1))
            offset += take
    below, place, mask = (np.array(column, np.uint64) for column in list(zip(*pieces, strict=True))[2:])
    field_of, word_of = np.array([piece[:2] for piece in pieces], np.intp).T
    first_of_word = np.flatnonzero(np.diff(word_of, prepend=-1))
    first_of_field = np.flatnonzero(np.diff(field_of, prepend=-1))
    return field_of, word_of, below[:, None], place[:, None], mask[:, None], first_of_word, first_of_field


def pack(values: NDArray[np.uint64], widths: tuple[int, ...]) -> Bytes:
    """Fields to bytes, the first field first.

    Args:
        values: uint64 [field, K], each below 2^width. widths: bits of each field, 1 … 64.

    Returns:
        uint8 [K, 8 · words], zeros behind the last field.
    """
    field_of, _, below, place, _, first_of_word, _ = _layout(widths)
    pieces = (values[field_of] >> below) << place
    words = np.bitwise_or.reduceat(pieces, first_of_word, axis=0)
    return np.ascontiguousarray(words.T, ">u8").view(np.uint8).reshape(values.shape[1], -1)


def unpack(data: Bytes, widths: tuple[int, ...]) -> NDArray[np.uint64]:
    """The reverse of `pack`; bytes that are missing read as zeros.

    Returns:
        uint64 [field, K].
    """
    _, word_of, below, place, mask, _, first_of_field = _layout(widths)
    count, columns = data.shape
    padded = np.zeros((count, 8 * (int(word_of[-1]) + 1)), np.uint8)
    padded[:, :columns] = data[:, : padded.shape[1]]
    words = np.ascontiguousarray(padded.view(">u8").T, np.uint64)
    pieces = ((words[word_of] >> place) & mask) << below
    return np.bitwise_or.reduceat(pieces, first_of_field, axis=0)


def append_bits(data: Bytes, payload: NDArray[np.int64], more: Bytes) -> Bytes:
    """Payloads (zeros behind them) with ``more`` [K, bytes] directly behind the last bit of each."""
    out = np.zeros((len(data), int(payload.max()) // 8 + more.shape[1] + 2), np.uint8)
    columns = min(data.shape[1], out.shape[1])
    out[:, :columns] = data[:, :columns]
    rows, at = np.arange(len(data))[:, None], (payload // 8)[:, None] + np.arange(more.shape[1])
    shifted = more.astype(np.uint16) << (8 - payload % 8)[:, None].astype(np.uint16)
    out[rows, at] |= (shifted >> 8).astype(np.uint8)
    out[rows, at + 1] |= (shifted & 0xFF).astype(np.uint8)
    return out


def append_crc(data: Bytes, payload: NDArray[np.int64], width: int) -> Bytes:
    """Payloads with their checksums directly behind; two more columns than needed at most."""
    need = (int(payload.max()) + 7) // 8
    out = np.zeros((len(data), need + 3), np.uint8)
    out[:, :need] = data[:, :need]
    window = crc(out[:, :need], (payload + 7) // 8, width) << (24 - width - payload % 8)
    rows, at = np.arange(len(data)), payload // 8
    for byte in range(3):
        out[rows, at + byte] |= ((window >> (16 - 8 * byte)) & 0xFF).astype(np.uint8)
    return out


def crc_holds(part: Bytes, payload: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    """bool [K]: the checksum behind each payload is its own. ``part`` has three columns to spare."""
    if len(part) == 0:
        return np.zeros(0, bool)
    rows, at, shift = np.arange(len(part)), payload // 8, payload % 8
    window = np.zeros(len(part), np.int64)
    for byte in range(3):
        window = (window << 8) | part[rows, at + byte]
    sent = (window >> (24 - width - shift)) & ((1 << width) - 1)
    need = (int(payload.max()) + 7) // 8
    body = part[:, :need].copy()
    body[np.arange(need) >= ((payload + 7) // 8)[:, None]] = 0
    last = np.minimum(at, need - 1)
    # Bits of the checksum in the payload's last byte; none if the payload ends on a byte's edge.
    keep = np.where(shift == 0, 0xFF, (0xFF00 >> shift) & 0xFF)
    body[rows, last] &= keep.astype(np.uint8)
    return crc(body, (payload + 7) // 8, width) == sent


__all__ = ["BASE_BITS", "Message", "append_bits", "append_crc", "crc_holds", "decode", "encode", "pack", "unpack"]
