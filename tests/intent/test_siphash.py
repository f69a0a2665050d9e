"""Authentication tags."""

from __future__ import annotations

import numpy as np

from agentsc.intent.siphash import siphash

KEY = np.arange(16, dtype=np.uint8).view("<u8").astype(np.uint64)


def test_the_papers_vector() -> None:
    """Appendix A: key 00 01 … 0f, message 00 01 … 0e."""
    assert siphash(KEY, np.arange(15, dtype=np.uint8)[None], np.array([15]))[0] == 0xA129CA6149BE45E5


def test_rows_of_all_lengths_are_hashed_on_their_own() -> None:
    """And the reference implementation's vectors of the shortest messages."""
    data = np.tile(np.arange(24, dtype=np.uint8), (25, 1))
    together = siphash(KEY, data, np.arange(25))
    alone = [siphash(KEY, data[:1, :n], np.array([n]))[0] for n in range(25)]
    np.testing.assert_array_equal(together, alone)
    assert together[0] == 0x726FDB47DD0E0E31 and together[1] == 0x74F839C593DC67FD


def test_every_bit_of_key_and_message_counts() -> None:
    rng = np.random.default_rng(0)
    data = np.repeat(rng.integers(0, 256, (1, 20), dtype=np.uint8), 161, axis=0)
    for bit in range(160):
        data[bit + 1, bit // 8] ^= 1 << bit % 8
    tags = siphash(KEY, data, np.full(161, 20))
    changed = np.unpackbits((tags[1:] ^ tags[0]).view(np.uint8)).reshape(160, 64).sum(1)
    assert len(np.unique(tags)) == 161 and 28 < changed.mean() < 36
    other = siphash(KEY ^ np.uint64(1), data[:1], np.array([20]))
    assert other[0] != tags[0]
