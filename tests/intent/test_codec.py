"""The codec: exact sizes and bits, round trips of everything, and no trust in what arrives."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsc.intent.codec import Message, decode, encode, pack, unpack
from agentsc.intent.fields import (
    AGREE,
    AUCTION,
    BOXES,
    GRANTS,
    INTENT,
    INTENT_FIELDS,
    KIND_FIELDS,
    PACE,
    PLAN,
    PROGRESS,
    RALLY,
    RENEW,
    RENEW_BOXES,
    RESUME,
    RESUME_BOXES,
    STATE,
    STATUS,
    TRAJECTORY,
    WAYPOINT_KINDS,
)
from agentsc.intent.plan import PlanSpec

SPEC = PlanSpec((0.0, 0.0, 32.0, 32.0), 1.0, 0.25)
MASKS = [1, 2, 3, 6, 7, 10, 11, 14, 15]
KINDS = [(mask, 0) for mask in MASKS] + [(0, kind) for kind in KIND_FIELDS]


def messages(
    rng: np.random.Generator, count: int, kinds: list[tuple[int, int]], spec: PlanSpec = SPEC
) -> Message:
    """Random packets of these (mask, kind) with every field anywhere in its range."""
    most, points = 5, 4
    m = Message.blank(count, spec, most, points, awards=3, words=6, outs=2, corners=4, boxes=4)
    m.sections[:], m.kind[:] = np.array(kinds, np.uint8)[rng.integers(0, len(kinds), count)].T
    m.id[:] = rng.integers(0, 256, count)
    status = (m.sections & STATUS) != 0
    m.clock[:] = np.where(status, rng.integers(0, 1 << 16, count), rng.integers(0, 256, count))
    for name, bits in INTENT_FIELDS:
        getattr(m, name)[:] = rng.integers(0, 1 << bits, count) * ((m.sections & INTENT) != 0)
    m.committed_seq[:], m.pending_seq[:] = rng.integers(0, 256, (2, count)) * status
    plan = (m.sections & PLAN) != 0
    half = 1 << (spec.delta_bits - 1)
    m.t0_offset[:] = rng.integers(0, 64, count) * plan
    m.plan[:, :2] = rng.integers(0, 1 << 16, (count, 2)) * plan[:, None]
    m.plan[:, 2:] = rng.integers(-half, half, (count, spec.columns - 2)) * plan[:, None]
    m.grant_count[:] = rng.integers(0, most + 1, count) * ((m.sections & GRANTS) != 0)
    present = np.arange(most) < m.grant_count[:, None]
    m.grant_peer[:] = rng.integers(0, 256, (count, most)) * present
    m.grant_seq[:] = rng.integers(0, 8, (count, most)) * present
    m.grant_verdict[:] = rng.integers(0, 2, (count, most)) * present
    renewing, resuming = (RENEW, RENEW_BOXES), (RESUME, RESUME_BOXES)
    kinds_of = (
        np.isin(m.kind, which) & (m.sections == 0)
        for which in (
            (STATE,), (AGREE, RALLY, *renewing, *resuming), (PROGRESS, RALLY, PACE, *renewing, *resuming),
            (RALLY, PACE, *resuming), (RALLY,), (*renewing, *resuming), (BOXES, RENEW_BOXES, RESUME_BOXES),
        )
    )  # fmt: skip
    state, agree, progress, rooted, rally, renew, boxes = kinds_of
    m.position[:] = rng.integers(0, 1 << 16, (count, 2)) * (state | agree)[:, None]
    m.velocity[:] = rng.integers(-2048, 2048, (count, 2)) * state[:, None]
    m.course[:] = rng.integers(0, 1 << 16, count) * (agree | progress)
    m.digest[:] = rng.integers(0, 1 << 24, count) * agree
    m.steps[:], m.done[:] = (rng.integers(0, 1 << bits, count) * progress for bits in (12, 16))
    m.lag[:] = rng.integers(0, 256, count) * renew
    m.root[:], m.before[:] = (rng.integers(0, 1 << 24, count) * there for there in (rooted, rally))
    m.rest[:] = rng.integers(0, 1 << 16, (count, 2)) * rally[:, None]
    m.forgetful[:] = rng.integers(0, 2, count) * rally
    m.out_count[:], m.corner_count[:] = (rng.integers(0, most + 1, count) * rally for most in (2, 4))
    trajectory = (m.sections == 0) & np.isin(m.kind, WAYPOINT_KINDS)
    m.waypoint_t0[:] = rng.integers(0, 1 << 16, count) * trajectory
    m.waypoint_count[:] = rng.integers(0, points + 1, count) * trajectory
    there = (np.arange(points) < m.waypoint_count[:, None])[..., None]
    m.waypoints[:] = np.where(there, rng.normal(0, 50, (count, points, 2)), 0.0)
    m.box_count[:] = rng.integers(0, 5, count) * boxes
    there = (np.arange(4) < m.box_count[:, None])[..., None]
    m.boxes[:] = rng.integers(0, 1 << np.array([16, 16, 8, 8]), (count, 4, 4)) * there
    auction = (m.sections == 0) & (m.kind == AUCTION)
    m.award_count[:], m.word_count[:] = (rng.integers(0, most + 1, count) * auction for most in (3, 6))
    for records, number, bits in (
        (m.awards, m.award_count, (8, 8, 8)), (m.words, m.word_count, (8, 1, 15)),
        (m.outs, m.out_count, (8, 0, 16)), (m.corners, m.corner_count, (8, 16, 16)),
    ):  # fmt: skip
        present = np.arange(records.shape[1]) < number[:, None]
        records[:] = rng.integers(0, 1 << np.array(bits), records.shape) * present[..., None]
    return m


def assert_same(found: Message, sent: Message) -> None:
    """Equal in every field; a batch may have room for more grants or way-points than the other."""
    for field in dataclass_fields(Message):
        a, b = getattr(found, field.name), getattr(sent, field.name)
        if a.ndim > 1:
            width = min(a.shape[1], b.shape[1])
            assert not a[:, width:].any() and not b[:, width:].any(), field.name
            a, b = a[:, :width], b[:, :width]
        np.testing.assert_array_equal(a, b, err_msg=field.name)
        assert a.dtype == b.dtype, field.name


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    count=st.integers(1, 40),
    points=st.integers(4, 13),
    delta_bits=st.integers(2, 16),
    seed=st.integers(0, 2**31),
)
def test_round_trip_of_every_field(
    kinds: list[tuple[int, int]], count: int, points: int, delta_bits: int, seed: int
) -> None:
    spec = PlanSpec((0.0, 0.0, 32.0, 32.0), 1.0, 0.25, control_points=points, delta_bits=delta_bits)
    sent = messages(np.random.default_rng(seed), count, kinds, spec)
    data, bits = encode(sent, spec)
    found, ok = decode(data, bits, spec)
    assert ok.all()
    assert_same(found, sent)
    np.testing.assert_array_equal(found.has_clock_high, (sent.sections & STATUS) != 0)
    again, again_bits = encode(found, spec)
    np.testing.assert_array_equal(again, data)
    np.testing.assert_array_equal(again_bits, bits)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_packet_does_not_depend_on_its_batch(seed: int) -> None:
    sent = messages(np.random.default_rng(seed), 12, KINDS)
    data, bits = encode(sent, SPEC)
    for k in range(len(sent)):
        alone, alone_bits = encode(sent.rows(slice(k, k + 1)), SPEC)
        assert alone_bits[0] == bits[k]
        np.testing.assert_array_equal(alone[0], data[k, : alone.shape[1]])
        assert not data[k, alone.shape[1] :].any()


def test_sizes_on_the_air() -> None:
    m = Message.blank(6, SPEC, 3, 64)
    m.sections[:] = [INTENT, STATUS, INTENT | STATUS | PLAN, STATUS | GRANTS, 0, 0]
    m.kind[:] = [0, 0, 0, 0, STATE, TRAJECTORY]
    m.grant_count[3], m.waypoint_count[5] = 3, 64
    _, bits = encode(m, SPEC)
    plan = 6 + 32 + 2 * 8 * 6
    expected = [64 + 8, 44 + 16, 88 + plan + 16, 44 + 6 + 36 + 16, 24 + 32 + 24 + 16, 24 + 24 + 64 * 64 + 16]
    assert bits.tolist() == expected


def test_intent_token_bit_by_bit() -> None:
    m = Message.blank(1, SPEC)
    values = {"goal_x": 0xAB, "goal_y": 0xCD, "role": 1, "mode": 0, "homotopy": 0b1010, "priority": 0b11}
    values |= {"affordance": 0x5A, "horizon": 0b10001, "margin": 0b110, "confidence": 0b1001}
    m.sections[:], m.id[:], m.clock[:] = INTENT, 0x12, 0x34
    for name, value in values.items():
        getattr(m, name)[:] = value
    data, bits = encode(m, SPEC)
    text = "0001 00010010 00110100 10101011 11001101 1 0 1010 11 01011010 10001 110 1001"
    assert "".join(f"{byte:08b}" for byte in data[0, :8]) == text.replace(" ", "")
    assert bits[0] == 72


def test_nothing_costs_nothing() -> None:
    data, bits = encode(Message.blank(0, SPEC), SPEC)
    assert data.shape == (0, 0) and bits.shape == (0,)
    found, ok = decode(data, bits, SPEC)
    assert len(found) == 0 and ok.shape == (0,)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.binary(max_size=40), st.integers(-5, 400)), min_size=1, max_size=5),
    fill=st.integers(0, 255),
)
def test_decode_never_raises(rows: list[tuple[bytes, int]], fill: int) -> None:
    width = max(len(row) for row, _ in rows)
    padded = b"".join(row.ljust(width, bytes([fill])) for row, _ in rows)
    data = np.frombuffer(padded, np.uint8).reshape(len(rows), width)
    found, ok = decode(data, np.array([bits for _, bits in rows]), SPEC)
    assert len(found) == len(ok) == len(rows)
    bad = found.rows(~ok)
    assert not any(getattr(bad, field.name).any() for field in dataclass_fields(Message))


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(KINDS), change=st.integers(-60, 60).filter(bool), seed=st.integers(0, 2**31))
def test_truncation_and_trailing_bits_are_refused(kind: tuple[int, int], change: int, seed: int) -> None:
    data, bits = encode(messages(np.random.default_rng(seed), 1, [kind]), SPEC)
    longer = np.pad(data, ((0, 0), (0, 8)))
    assert decode(longer, bits, SPEC)[1].all()
    assert not decode(longer, bits + change, SPEC)[1].any()
    assert not decode(data[:, :-1], bits, SPEC)[1].any()


def test_bytes_behind_the_last_bit_are_not_looked_at() -> None:
    sent = messages(np.random.default_rng(5), 200, KINDS)
    data, bits = encode(sent, SPEC)
    noisy = np.pad(data, ((0, 0), (0, 4)))
    behind = np.arange(noisy.shape[1] * 8) >= bits[:, None]
    noisy |= np.packbits(behind, axis=1)
    found, ok = decode(noisy, bits, SPEC)
    assert ok.all()
    assert_same(found, sent)


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**31), data=st.data())
def test_any_single_bit_error_is_caught(kind: tuple[int, int], seed: int, data: st.DataObject) -> None:
    raw, bits = encode(messages(np.random.default_rng(seed), 1, [kind]), SPEC)
    at = data.draw(st.integers(0, int(bits[0]) - 1))
    raw[0, at // 8] ^= 0x80 >> at % 8
    assert not decode(raw, bits, SPEC)[1].any()


@pytest.mark.parametrize(
    ("mask", "rate", "count"), [(INTENT, 2.0**-8, 100_000), (INTENT | STATUS | PLAN, 2.0**-16, 400_000)]
)
def test_random_corruption_passes_as_rarely_as_promised(mask: int, rate: float, count: int) -> None:
    """Behind an intact mask (which alone decides the layout) random bits pass with probability 2^-width."""
    rng = np.random.default_rng(6)
    one = messages(rng, 1, [(mask, 0)])
    data, bits = encode(one, SPEC)
    noise = rng.integers(0, 256, (count, data.shape[1]), np.uint8)
    noise[:, 0] = (data[0, 0] & 0xF0) | (noise[:, 0] & 0x0F)
    passed = int(decode(noise, np.full(count, bits[0]), SPEC)[1].sum())
    expected = rate * count
    assert abs(passed - expected) <= 4.5 * np.sqrt(expected) + 1


def test_values_that_do_not_fit_are_refused() -> None:
    for name, value in [("goal_x", 256), ("role", 2), ("confidence", -1), ("id", 256)]:
        m = Message.blank(2, SPEC)
        m.sections[:] = INTENT
        getattr(m, name)[1] = value
        with pytest.raises(ValueError, match=f"{name} must fit .* got {value}"):
            encode(m, SPEC)
    m = Message.blank(1, SPEC)
    m.sections[:], m.plan[0, 4] = STATUS | PLAN, 32
    with pytest.raises(ValueError, match="increment must fit 6 bits, got 32"):
        encode(m, SPEC)
    m = Message.blank(1, SPEC, grants=1)
    m.sections[:], m.grant_count[:], m.grant_seq[:] = STATUS | GRANTS, 1, 8
    with pytest.raises(ValueError, match="grants must have"):
        encode(m, SPEC)


@pytest.mark.parametrize(("mask", "kind"), [(0, 0), (0, 15), (PLAN, 0), (INTENT | GRANTS, 0), (16, 0)])
def test_layouts_that_do_not_exist_are_refused(mask: int, kind: int) -> None:
    m = Message.blank(1, SPEC)
    m.sections[:], m.kind[:] = mask, kind
    with pytest.raises(ValueError, match="no packet has sections"):
        encode(m, SPEC)


@settings(max_examples=50, deadline=None)
@given(widths=st.lists(st.integers(1, 64), min_size=1, max_size=20), seed=st.integers(0, 2**31))
def test_bits_are_where_string_concatenation_puts_them(widths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.array([rng.integers(0, 1 << 63, 3, np.uint64) >> np.uint64(max(63 - w, 0)) for w in widths])
    data = pack(values, tuple(widths))
    for k in range(3):
        text = "".join(f"{int(v):0{w}b}" for v, w in zip(values[:, k], widths, strict=True))
        bits = "".join(f"{byte:08b}" for byte in data[k])
        assert bits == text.ljust(len(bits), "0")
    np.testing.assert_array_equal(unpack(data, tuple(widths)), values)


def test_an_auction_packet_is_as_documented() -> None:
    m = Message.blank(1, SPEC, awards=2, words=2)
    m.kind[:], m.id[:], m.clock[:] = AUCTION, 5, 7
    m.award_count[:], m.word_count[:] = 2, 1
    m.awards[0], m.words[0, 0] = [[1, 2, 254], [200, 5, 255]], [5, 1, 0x1234]
    data, bits = encode(m, SPEC)
    assert bits.tolist() == [20 + 4 + 16 + 3 * 24 + 16]
    assert data[0, :5].tolist() == [0x00, 0x50, 0x77, 2, 1]
    assert data[0, 5:14].tolist() == [1, 2, 254, 200, 5, 255, 5, 0x80 | 0x12, 0x34]
    found, good = decode(data, bits, SPEC)
    assert good.all()
    np.testing.assert_array_equal(found.awards, m.awards)


@pytest.mark.parametrize(("name", "value"), [("awards", [256, 0, 0]), ("awards", [0, 0, -1]), ("words", [0, 2, 0])])
def test_records_that_do_not_fit_are_refused(name: str, value: list[int]) -> None:
    m = Message.blank(1, SPEC, awards=1, words=1)
    m.kind[:], m.award_count[:], m.word_count[:] = AUCTION, 1, 1
    getattr(m, name)[0, 0] = value
    with pytest.raises(ValueError, match=name):
        encode(m, SPEC)
