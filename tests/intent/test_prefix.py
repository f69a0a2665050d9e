"""Prefix codes: complete, shortest, canonical, and never longer than allowed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsc.intent._learned_kernels import LONGEST
from agentsc.intent.prefix import PrefixTables, code_lengths


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.floats(0.0, 1e6), min_size=2, max_size=300))
def test_codes_are_complete_and_within_a_bit_of_the_entropy(counts: list[float]) -> None:
    lengths = code_lengths(counts).astype(int)
    assert lengths.max() <= LONGEST and sum(2.0**-length for length in lengths.tolist()) == 1.0
    share = np.maximum(np.array(counts), 1e-9)
    share /= share.sum()
    if len(code_lengths(counts, 15)) and (share > 2.0**-LONGEST).all():
        entropy = -(share * np.log2(share)).sum()
        assert entropy - 1e-9 <= (share * lengths).sum() <= entropy + 1.0


def test_dyadic_shares_cost_exactly_their_information() -> None:
    assert code_lengths([8, 4, 2, 1, 1]).tolist() == [1, 2, 3, 4, 4]
    assert code_lengths(np.ones(256)).tolist() == [8] * 256


def test_very_rare_symbols_do_not_get_longer_codes_than_allowed() -> None:
    lengths = code_lengths(2.0 ** np.arange(40))
    assert lengths.max() == LONGEST and sum(2.0**-length for length in lengths.tolist()) == 1.0


def test_words_are_canonical_and_none_begins_another() -> None:
    lengths = np.stack([np.append(code_lengths([9, 3, 3, 1]), 0), code_lengths([1, 1, 1, 1, 4])]).astype(np.uint8)
    tables = PrefixTables.of(lengths)
    for row, words in zip(lengths, tables.words, strict=True):
        texts = [f"{word:0{length}b}" for word, length in zip(words.tolist(), row.tolist(), strict=True) if length]
        assert not any(a != b and b.startswith(a) for a in texts for b in texts)
        in_order = sorted(texts, key=lambda text: (len(text), text))
        assert in_order == sorted(texts)
    assert tables.order[1, 0] == 4


def test_codes_with_holes_are_refused() -> None:
    with pytest.raises(ValueError, match="complete prefix code, those of table 0"):
        PrefixTables.of(np.array([[1, 2, 3]], np.uint8))
    with pytest.raises(ValueError, match="counts must hold 2 to"):
        code_lengths([1.0])
