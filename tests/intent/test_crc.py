"""Checksums against the catalogue's check values and a bit-by-bit division."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsc.intent.crc import crc

CHECK = np.frombuffer(b"123456789", np.uint8)[None]


def division(message: bytes, width: int) -> int:
    """The checksum by definition: remainder of polynomial division, one bit at a time."""
    polynomial, register = {8: (0x07, 0x00), 16: (0x1021, 0xFFFF)}[width]
    for byte in message:
        register ^= byte << (width - 8)
        for _ in range(8):
            carry = register >> (width - 1) & 1
            register = (register << 1) & ((1 << width) - 1)
            register ^= polynomial * carry
    return register


@pytest.mark.parametrize(("width", "value"), [(8, 0xF4), (16, 0x29B1)])
def test_catalogue_check_value(width: int, value: int) -> None:
    assert crc(CHECK, np.array([9]), width)[0] == value


@settings(max_examples=50, deadline=None)
@given(messages=st.lists(st.binary(max_size=40), min_size=1, max_size=6), width=st.sampled_from([8, 16]))
def test_equals_long_division_for_mixed_lengths(messages: list[bytes], width: int) -> None:
    longest = max(len(m) for m in messages)
    padded = b"".join(m.ljust(longest, b"\0") for m in messages)
    data = np.frombuffer(padded, np.uint8).reshape(len(messages), longest)
    found = crc(data, np.array([len(m) for m in messages]), width)
    assert found.tolist() == [division(m, width) for m in messages]


@pytest.mark.parametrize("width", [8, 16])
def test_detects_every_burst_up_to_its_width(width: int) -> None:
    good = crc(CHECK, np.array([9]), width)[0]
    bits = np.unpackbits(CHECK[0])
    for length in range(1, width + 1):
        for at in range(72 - length + 1):
            burst = bits.copy()
            burst[at] ^= 1
            if length > 1:
                burst[at + length - 1] ^= 1
            assert crc(np.packbits(burst)[None], np.array([9]), width)[0] != good
