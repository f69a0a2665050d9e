"""The range coder: what is written is read, from the bytes alone, at the price that probabilities ask for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import ConfigError
from policies.range_coder import Reader, Tables, Writer


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 300), st.integers(0, 60), st.integers(1, 20))
def test_any_symbols_come_back_and_cost_what_they_should(
    seed: int, tables: int, symbols: int, length: int, sharpness: int
) -> None:
    random = np.random.default_rng(seed)
    shares = random.random((tables, symbols)) ** sharpness + 1e-9
    shares[0, 1 + symbols // 2 :] = 0.0  # tables may be shorter
    coder = Tables(shares)
    table = random.integers(-1, tables, (3, length))
    # Likely and unlikely symbols, and the last ones.
    drawn = (random.random(table.shape) ** 3 * coder.count[np.maximum(table, 0)]).astype(np.int64)
    drawn = np.where(random.random(table.shape) < 0.1, coder.count[np.maximum(table, 0)] - 1, drawn)
    writer = Writer(3, coder, length)
    half = length // 2
    writer.put(drawn[:, :half], table[:, :half])
    writer.put(drawn[:, half:], table[:, half:])
    data, taken = writer.finish()
    asked = np.where(table >= 0, coder.bits(drawn, np.maximum(table, 0)), 0.0).sum(axis=1)
    assert (8 * taken <= asked + 8 + 1e-3 * length + 8).all()
    for filling in (0, 9):
        reader = Reader(np.pad(data, ((0, 0), (0, filling))), coder)
        found = np.concatenate([reader.get(table[:, :7]), reader.get(table[:, 7:])], axis=1)
        assert np.array_equal(found, np.where(table >= 0, drawn, 0))


def test_long_streams_are_within_a_byte_of_the_entropy() -> None:
    random = np.random.default_rng(1)
    shares = np.array([[0.97, 0.02, 0.01]])
    coder = Tables(shares)
    drawn = random.choice(3, (8, 5000), p=shares[0])
    writer = Writer(8, coder, 5000)
    writer.put(drawn, np.zeros_like(drawn))
    _, taken = writer.finish()
    asked = coder.bits(drawn, np.zeros_like(drawn)).sum(axis=1)
    assert (8 * taken - asked < 16).all() and (8 * taken - asked > -8).all()
    assert asked.mean() / 5000 == pytest.approx(-(shares * np.log2(shares)).sum(), rel=0.05)


def test_any_bytes_are_read_as_some_symbols() -> None:
    coder = Tables(np.random.default_rng(2).random((3, 40)) + 0.01)
    table = np.random.default_rng(3).integers(0, 3, (5, 200))
    found = Reader(np.random.default_rng(4).integers(0, 256, (5, 30), np.uint8), coder).get(table)
    assert (found >= 0).all() and (found < 40).all()
    empty = Reader(np.zeros((5, 0), np.uint8), coder).get(table)
    assert (empty == 0).all(), "nothing is zeros"


def test_what_cannot_be_written_is_refused() -> None:
    for shares in (np.array([[0.5, -0.1]]), np.array([[0.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([[np.nan]])):
        with pytest.raises(ConfigError, match="shares"):
            Tables(shares)
    writer = Writer(2, Tables(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])), 3)
    with pytest.raises(ConfigError, match="in their tables"):
        writer.put(np.array([[2], [0]]), np.zeros((2, 1), np.int64))
    with pytest.raises(ConfigError, match="room"):
        writer.put(np.zeros((2, 4), np.int64), np.zeros((2, 4), np.int64))
