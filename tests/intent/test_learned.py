"""The learned plan code: exact integers, drivable whatever the bits, as accurate as asked, read without context."""

from __future__ import annotations

import hashlib
import math
from dataclasses import fields as dataclass_fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan_spec import plans

import agentsc
from agentsc.intent.codec import Message, decode, encode
from agentsc.intent.codes import PLAN_CODES
from agentsc.intent.codes.learned import WEIGHTS
from agentsc.intent.fields import GRANTS, INTENT, PLAN, STATUS, goal_code
from agentsc.intent.learned import HEAD, Codebook, LearnedSpec
from agentsc.intent.plan import Hint, PlanSpec
from envs.errors import ConfigError
from policies.trajectory.demonstrations import pose
from policies.trajectory.spline import basis, spans

PLAIN = [
    PlanSpec((0.0, 0.0, 32.0, 32.0), 1.0, 0.25, control_points=12),
    PlanSpec((-1.0, -1.0, 1.0, 1.0), 0.64, 5 / 64, control_points=12),
    PlanSpec((-10.0, 5.0, 246.0, 205.0), 1.0, 0.25, control_points=12),
    PlanSpec((0.0, 0.0, 0.5, 0.25), 1.0, 0.25, control_points=12),
]
CODE = PLAN_CODES.create("learned")
WORLDS = [CODE.spec(plain) for plain in PLAIN]
SPEC = WORLDS[0]
BOOK = SPEC.book
FINGERPRINT = "158765096508a63a"
KINDS = BOOK.books.shape[1]
MASKS = [STATUS | PLAN, INTENT | STATUS | PLAN, INTENT | STATUS | PLAN | GRANTS, STATUS | PLAN | GRANTS, INTENT, STATUS]


def any_codes(rng: np.random.Generator, count: int, spec: LearnedSpec = SPEC) -> np.ndarray:
    """Codes of every sort: at rest, refined any number of times, spelled."""
    codes = np.zeros((count, spec.columns), np.int32)
    codes[:, :HEAD] = rng.integers(0, 1 << 16, (count, 2))
    codes[:, HEAD] = rng.choice([0, KINDS, *rng.integers(1, KINDS, 8)], count)
    moving, spelled = (codes[:, HEAD] > 0) & (codes[:, HEAD] < KINDS), codes[:, HEAD] == KINDS
    codes[moving, 3] = rng.integers(0, len(BOOK.turns), moving.sum())
    refined = rng.integers(1, KINDS, (count, BOOK.stages - 1))
    refined[np.arange(BOOK.stages - 1) >= rng.integers(0, BOOK.stages, count)[:, None]] = 0
    codes[moving, 4 : 3 + BOOK.stages] = refined[moving]
    codes[spelled, 3:] = rng.integers(-BOOK.top, BOOK.top + 1, (int(spelled.sum()), 2 * BOOK.increments))
    return codes


def packets(rng: np.random.Generator, count: int, mask: int) -> Message:
    """Messages of one layout."""
    m = Message.blank(count, SPEC, 3)
    m.sections[:] = mask
    m.id[:], m.clock[:] = rng.integers(0, 256, (2, count))
    if mask & INTENT:
        m.goal_x[:], m.goal_y[:], m.confidence[:] = rng.integers(0, 16, (3, count))
        m.role[:] = rng.integers(0, 2, count)
    if mask & STATUS:
        m.pending_seq[:] = rng.integers(0, 256, count)
    if mask & PLAN:
        m.plan[:], m.t0_offset[:] = any_codes(rng, count), rng.integers(0, 64, count)
    if mask & GRANTS:
        m.grant_count[:] = rng.integers(0, 4, count)
        m.grant_peer[:] = np.where(np.arange(3) < m.grant_count[:, None], rng.integers(1, 256, (count, 3)), 0)
    return m


def reference(spec: LearnedSpec, code: list[int]) -> list[list[int]]:
    """The lattice points of one plan in Python's own integers, as the module's words say."""
    half, book, at, exact = 8, spec.book, [0, 0], [0, 0]
    points = [code[:2]]
    for i in range(spec.increments):
        limit = int(math.floor(float(spec.reach[i]) ** 2))
        if code[HEAD] == KINDS:
            want = [16 * value * int(spec.scale[i]) for value in code[3 + 2 * i : 5 + 2 * i]]
        else:
            x, y = (0, 0) if code[HEAD] == 0 else (int(book.books[0, code[HEAD], i, axis]) for axis in (0, 1))
            for stage in range(1, book.stages):
                x += int(book.books[stage, code[3 + stage], i, 0])
                y += int(book.books[stage, code[3 + stage], i, 1])
            cos, sin = (int(value) for value in book.turns[code[3]])
            for axis, turned in enumerate((x * cos - y * sin, x * sin + y * cos)):
                exact[axis] += (turned * int(spec.reach[i]) + (1 << 21)) >> 22
            want = [exact[axis] - 16 * at[axis] for axis in (0, 1)]
        step = [(value + half) >> 4 for value in want]
        if step[0] ** 2 + step[1] ** 2 > limit:
            length = math.isqrt(want[0] ** 2 + want[1] ** 2) + 1
            step = [int(math.copysign(abs(value) * math.isqrt(limit) // length, value)) for value in want]
        at = [a + s for a, s in zip(at, step, strict=True)]
        points.append([start + a for start, a in zip(code[:2], at, strict=True)])
    return [*points, points[-1]]


@pytest.mark.parametrize("spec", WORLDS)
def test_codes_mean_what_exact_integers_say(spec: LearnedSpec) -> None:
    codes = any_codes(np.random.default_rng(1), 200)
    expected = np.array([reference(spec, code) for code in codes.tolist()])
    np.testing.assert_array_equal(spec.dequantise(codes), spec.point(expected))


def test_the_shipped_code_is_the_same_on_every_machine() -> None:
    """A fingerprint of what 2,000 packets full of noise decode to; a new codebook changes it."""
    rng = np.random.default_rng(2)
    data = rng.integers(0, 256, (2000, 24), np.uint8)
    codes, bits = SPEC.read_shapes(data, np.arange(2000) % 9, rng.integers(0, 1 << 16, (2000, 2)), None)
    lattice = np.rint(SPEC.dequantise(codes).astype(float) / SPEC.step).astype(np.int64)
    found = hashlib.sha256(codes.astype("<i4").tobytes() + bits.astype("<i8").tobytes() + lattice.tobytes()).hexdigest()
    assert found[:16] == FINGERPRINT


@settings(max_examples=40, deadline=None)
@given(spec=st.sampled_from(WORLDS), seed=st.integers(0, 2**31))
def test_whatever_the_codes_a_plan_can_be_driven_and_ends_at_rest(spec: LearnedSpec, seed: int) -> None:
    control = spec.dequantise(any_codes(np.random.default_rng(seed), 60)).astype(np.float64)
    length = np.linalg.norm(np.diff(control, axis=1), axis=-1)
    limit = spans(12) * spec.v_max * spec.horizon_s
    assert (length <= limit + 4e-5).all()  # float32 positions on a 250 m map
    np.testing.assert_array_equal(control[:, -1], control[:, -2])


def test_zeros_rest_where_they_start() -> None:
    codes = np.zeros((1, SPEC.columns), np.int32)
    codes[0, :2] = 700, 900
    assert (SPEC.dequantise(codes) == SPEC.point(codes[:, None, :2])).all()
    np.testing.assert_array_equal(SPEC.quantise(SPEC.dequantise(codes)), codes)


@settings(max_examples=30, deadline=None)
@given(spec=st.sampled_from(WORLDS[:3]), speed=st.floats(0.0, 0.99), seed=st.integers(0, 2**31))
def test_plans_are_met_within_the_tolerance_or_spelled(spec: LearnedSpec, speed: float, seed: int) -> None:
    control = plans(spec, 20, speed, seed)
    codes = spec.quantise(control)
    np.testing.assert_array_equal(codes[:, :2], spec.lattice(control[:, 0]))
    spelled = codes[:, HEAD] == KINDS
    gap = np.linalg.norm(basis(12, 33) @ (spec.dequantise(codes) - control), axis=-1).max(1)
    slack = 2.0 * spec.step  # the start is on the lattice
    assert (gap[~spelled] <= spec.tolerance * spec.v_max * spec.horizon_s + slack).all()
    plain = PlanSpec(**{f.name: getattr(spec, f.name) for f in dataclass_fields(PlanSpec)})
    np.testing.assert_allclose(
        spec.dequantise(codes[spelled]), plain.dequantise(plain.quantise(control[spelled])), atol=1.01 * spec.step
    )


def test_demonstrations_take_a_fraction_of_the_plain_bits() -> None:
    problem = pose(4242, 0, "boxes")
    plain = PlanSpec((-1.0, -1.0, 1.0, 1.0), 0.64, problem.vehicle.horizon_s / 32, control_points=12)
    spec = CODE.spec(plain)
    codes = spec.quantise(problem.control)
    assert spec.plan_bits(codes).mean() < 0.4 * plain.plan_bits(plain.quantise(problem.control)).mean()
    # Packets that hold a token say less, because the goal tells most of the heading.
    hint = Hint(goal_code(problem.goal, spec.bounds), problem.yielding)
    assert spec.plan_bits(codes, hint).mean() < spec.plan_bits(codes).mean() - 2.0


def test_a_plan_does_not_depend_on_its_batch_and_starts_where_it_is_told_to() -> None:
    control = plans(SPEC, 24, 0.8, 3).reshape(4, 6, 12, 2)
    codes = SPEC.quantise(control)
    assert codes.shape == (4, 6, SPEC.columns) and codes.dtype == np.int32
    for row in range(4):
        for k in range(6):
            np.testing.assert_array_equal(SPEC.quantise(control[row, k]), codes[row, k])
    start = SPEC.lattice(control[:, :, 0]) + 3
    np.testing.assert_array_equal(SPEC.quantise(control, start)[..., :2], start)
    assert SPEC.dequantise(codes).shape == control.shape and SPEC.dequantise(codes).dtype == np.float32


# -- packets ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    masks=st.lists(st.sampled_from(MASKS), min_size=1, max_size=3),
    count=st.integers(1, 20),
    seed=st.integers(0, 2**31),
)
def test_packets_round_trip_and_do_not_depend_on_their_batch(masks: list[int], count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [packets(rng, count, mask) for mask in masks]
    sent = Message(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclass_fields(Message)})
    data, bits = encode(sent, SPEC)
    found, ok = decode(data, bits, SPEC)
    assert ok.all()
    np.testing.assert_array_equal(found.plan, sent.plan)
    np.testing.assert_array_equal(found.grant_count, sent.grant_count)
    again, again_bits = encode(found, SPEC)
    np.testing.assert_array_equal(again, data)
    np.testing.assert_array_equal(again_bits, bits)
    k = int(rng.integers(len(sent)))
    alone, alone_bits = encode(sent.rows(slice(k, k + 1)), SPEC)
    assert alone_bits[0] == bits[k]
    np.testing.assert_array_equal(alone[0], data[k, : alone.shape[1]])


def test_a_packet_is_as_long_as_its_sections_and_its_shape() -> None:
    m = packets(np.random.default_rng(4), 50, INTENT | STATUS | PLAN)
    _, bits = encode(m, SPEC)
    hint = Hint(np.stack([m.goal_x, m.goal_y], -1), m.role)
    np.testing.assert_array_equal(bits, 20 + 44 + 24 + 38 + SPEC.plan_bits(m.plan, hint) + 16)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(MASKS), st.binary(max_size=48), st.integers(-5, 420)), min_size=1, max_size=6)
)
def test_any_bits_are_a_drivable_plan_or_refused(rows: list[tuple[int, bytes, int]]) -> None:
    width = 1 + max(len(row) for _, row, _ in rows)
    raw = b"".join((bytes([mask << 4]) + row).ljust(width, b"\x5a") for mask, row, _ in rows)
    data = np.frombuffer(raw, np.uint8).reshape(len(rows), width)
    found, ok = decode(data, np.array([bits for _, _, bits in rows]), SPEC)
    assert len(found) == len(ok) == len(rows) and not found.plan[~ok].any()
    # The same bits behind a checksum that holds: whoever wrote them knew how to compute it.
    codes, bits = SPEC.read_shapes(data, np.zeros(len(rows), np.int64), np.full((len(rows), 2), 40_000), None)
    assert (bits > 0).all()
    control = SPEC.dequantise(codes).astype(float)
    assert (np.linalg.norm(np.diff(control, axis=1), axis=-1) <= spans(12) * SPEC.horizon_s + 4e-5).all()
    SPEC.write_shapes(codes, None)  # every code is in its range


@settings(max_examples=60, deadline=None)
@given(mask=st.sampled_from(MASKS[:4]), change=st.integers(-60, 60).filter(bool), seed=st.integers(0, 2**31))
def test_truncation_and_single_errors_are_refused(mask: int, change: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data, bits = encode(packets(rng, 1, mask), SPEC)
    longer = np.pad(data, ((0, 0), (0, 9)))
    assert decode(longer, bits, SPEC)[1].all()
    assert not decode(longer, bits + change, SPEC)[1].any()
    at = int(rng.integers(0, bits[0]))
    data[0, at // 8] ^= 0x80 >> at % 8
    assert not decode(data, bits, SPEC)[1].any()


def test_codes_out_of_range_are_not_sent() -> None:
    m = packets(np.random.default_rng(5), 1, STATUS | PLAN)
    for column, value in ((HEAD, KINDS + 1), (3, -1 - BOOK.top), (4, KINDS)):
        m.plan[0, HEAD:] = 0
        m.plan[0, HEAD], m.plan[0, column] = 1, value
        with pytest.raises(ValueError, match="plan must hold codes of a learned shape"):
            encode(m, SPEC)


# -- files and runs --------------------------------------------------------------------------------


def test_files_that_are_not_a_plan_code_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(WEIGHTS.read_bytes()[:5000])
    other = Path(agentsc.__file__).parents[1] / "policies" / "weights" / "edge.safetensors"
    for path, words in ((tmp_path / "none", "does not exist"), (broken, "cannot be read"), (other, "cannot be read")):
        with pytest.raises(ConfigError, match=rf"plan_code\.weights must be .*{words}"):
            PLAN_CODES.create("learned", weights=str(path)).spec(PLAIN[0])
    kept = tmp_path / "kept.safetensors"
    BOOK.save(kept)
    np.testing.assert_array_equal(Codebook.load(kept).books, BOOK.books)


def test_plans_of_other_splines_are_refused() -> None:
    with pytest.raises(ConfigError, match="plan_code learned needs plans of 12 control points, got 10"):
        CODE.spec(PlanSpec((0.0, 0.0, 1.0, 1.0), 1.0, 0.1))
    with pytest.raises(ConfigError, match="tolerance"):
        PLAN_CODES.create("learned", tolerance=0.0)


def test_runs_send_fewer_bits_and_lanes_do_not_matter(tmp_path: Path) -> None:
    same = {"scenario": "weave", "agents": 6, "seed": 5, "ticks": 24, "link": "erasure:p=0.3", "protocol": "negotiated"}
    sizes = {}
    for code in ("spline", "learned"):
        result = agentsc.run({"plan_code": code}, episodes=2, out=tmp_path / code, **same)  # type: ignore[arg-type]
        assert result.data["config"]["plan_code"]["name"] == code
        sizes[code] = result.log.bits.sum() / result.log.packets.sum()
    assert sizes["learned"] < 0.85 * sizes["spline"]
    alone = agentsc.run({"plan_code": "learned"}, set=["first_episode=1"], out=tmp_path / "one", **same)  # type: ignore[arg-type]
    np.testing.assert_array_equal(alone.log.positions[0], result.log.positions[1])
    np.testing.assert_array_equal(alone.log.bits[0], result.log.bits[1])
