"""The sliding window next to a list of everything received."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agentsc.links.flight import Deliveries
from agentsc.links.seen import WINDOW, Seen


def deliveries(sender: list[int], receiver: list[int], clock: list[int]) -> Deliveries:
    count, ints = len(sender), lambda values: np.array(values, np.int32)
    row = np.arange(count, dtype=np.int32)
    return Deliveries(
        row * 0, ints(sender), ints(receiver), ints(clock), np.zeros(count), row, np.zeros((count, 1), np.uint8),
        row * 0, row * 0, np.zeros(count, bool),
    )  # fmt: skip


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 150)), max_size=30), max_size=8
    )
)
def test_every_packet_is_new_once(batches: list[list[tuple[int, int, int]]]) -> None:
    seen = Seen(1, 3)
    known: dict[tuple[int, int], set[int]] = {}
    for batch in batches:
        fresh = seen.first(deliveries(*([row[i] for row in batch] for i in range(3))))
        for (sender, receiver, clock), new in zip(batch, fresh.tolist(), strict=True):
            had = known.setdefault((sender, receiver), set())
            late = bool(had) and clock <= max(had) - WINDOW
            assert new == (sender != receiver and clock not in had and not late)
            if sender != receiver and not late:
                had.add(clock)
