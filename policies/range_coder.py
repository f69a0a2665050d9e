"""A range coder: symbols of given probabilities as bytes, within a byte of what the probabilities ask for.

    tables = Tables(shares)                      # [table, symbols], probabilities
    writer = Writer(streams, tables, most=1000)
    writer.put(symbols, table)                   # [streams, m] each; as often as one likes
    data, length = writer.finish()
    reader = Reader(data, tables)
    assert (reader.get(table) == symbols).all()

Streams are rows. A reader needs the tables, the order and the bytes; zeros may be missing at the end of these, so a
stream that is put into a longer frame of zeros is read as it was written.

Reference: Martin, "Range encoding", 1979; with the carry propagation of Schindler and the ending of Moffat, Neal and
Witten, "Arithmetic coding revisited", 1998, section 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.errors import ConfigError

WHOLE = 1 << 16
"""Probabilities are counted in parts of it."""
Whole = NDArray[np.int64]


class Tables:
    """Probability tables in whole numbers; every symbol that has a positive share can be written.

    Args:
        shares: float [table, symbols], not negative, in any unit; zeros behind the last symbol of shorter tables.

    Raises:
        ConfigError: no shares, more than 4,096 symbols, or shares that are negative or not finite.
    """

    def __init__(self, shares: NDArray[np.floating]) -> None:
        shares = np.asarray(shares, np.float64)
        if shares.ndim != 2 or not 1 <= shares.shape[1] <= 4096 or not np.isfinite(shares).all() or (shares < 0).any():
            raise ConfigError(f"shares must be finite and not negative, [table, up to 4096], got {list(shares.shape)}")
        used = shares > 0.0
        self.count: Whole = (shares.shape[1] - used[:, ::-1].argmax(axis=1)).astype(np.int64)
        if not used.any(axis=1).all() or not (used.sum(axis=1) == self.count).all():
            raise ConfigError("shares must be positive up to each table's last symbol, got zeros before it")
        # One part for every symbol, the rest by share; what rounding leaves over goes to the likeliest.
        free = WHOLE - self.count[:, None]
        parts = np.floor(shares / shares.sum(axis=1, keepdims=True) * free).astype(np.int64) + used
        parts[np.arange(len(parts)), shares.argmax(axis=1)] += WHOLE - parts.sum(axis=1)
        self.cumulative: Whole = np.concatenate([np.zeros((len(parts), 1), np.int64), parts.cumsum(axis=1)], axis=1)

    def bits(self, symbols: Whole, table: Whole) -> NDArray[np.float64]:
        """−log2 of each symbol's share, shaped like ``symbols``."""
        parts = self.cumulative[table, symbols + 1] - self.cumulative[table, symbols]
        return np.asarray(16.0 - np.log2(parts))


class Writer:
    """Streams that are written. streams: their number. tables: of probabilities. most: symbols of a stream, at most."""

    def __init__(self, streams: int, tables: Tables, most: int) -> None:
        self.tables, self._room = tables, most
        self._state = np.tile(np.array([0, 0xFFFFFFFF, 0, 1, 0], np.int64), (streams, 1))
        self._out = np.zeros((streams, 2 * most + 8), np.uint8)

    def put(self, symbols: Whole, table: Whole) -> None:
        """Append symbols [streams, m] by tables [streams, m]; where a table is negative nothing is written.

        Raises:
            ConfigError: shapes that differ, more symbols than there is room for, or a symbol that its table lacks.
        """
        from policies import _range_kernels

        symbols, table = np.ascontiguousarray(symbols, np.int64), np.ascontiguousarray(table, np.int64)
        self._room -= symbols.shape[1]
        if symbols.shape != table.shape or len(symbols) != len(self._out) or self._room < 0:
            raise ConfigError(
                f"symbols and table must both be [{len(self._out)}, m] and fit, got {list(symbols.shape)} and "
                f"{list(table.shape)} with room for {self._room + symbols.shape[1]}"
            )
        known = table >= 0
        if (symbols[known] < 0).any() or (symbols[known] >= self.tables.count[table[known]]).any():
            raise ConfigError("symbols must be in their tables, got one that is not (cut it to the table first)")
        _range_kernels.put(symbols, table, self.tables.cumulative, self._state, self._out)

    def finish(self) -> tuple[NDArray[np.uint8], Whole]:
        """Bytes [streams, longest], filled up with zeros, and the length of each stream."""
        from policies import _range_kernels

        length = np.zeros(len(self._out), np.int64)
        _range_kernels.finish(self._state, self._out, length)
        # The first byte of the scheme is always zero and is not sent.
        return self._out[:, 1 : 1 + max(int(length.max(initial=0)), 0)].copy(), length


class Reader:
    """Streams that are read. data: uint8 [streams, bytes]. tables: as the writer's."""

    def __init__(self, data: NDArray[np.uint8], tables: Tables) -> None:
        from policies import _range_kernels

        self.tables, self._data = tables, np.ascontiguousarray(data, np.uint8)
        self._state = np.zeros((len(data), 3), np.int64)
        _range_kernels.begin(self._data, self._state)

    def get(self, table: Whole) -> Whole:
        """The next symbols [streams, m], by tables [streams, m]; 0 where a table is negative."""
        from policies import _range_kernels

        table = np.ascontiguousarray(table, np.int64)
        symbols = np.zeros(table.shape, np.int64)
        _range_kernels.get(
            self._data, table, self.tables.count, self.tables.cumulative, self._state, symbols
        )
        return symbols
