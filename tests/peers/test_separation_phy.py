"""Separation bit for bit: sionna's 5G LDPC codes between the entropy coder and the channel."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sionna.phy")

from agentsc.semantic import channel_code
from agentsc.semantic.channel import SymbolChannel


def arrived(link: str, design_snr_db: float, **options: object) -> tuple[float, float]:
    """Shares of 200 random frames that arrive over the code itself, and that the table says should."""
    chosen = channel_code.plan("phy", 256, design_snr_db, 0.01)
    phy = channel_code.Phy(chosen, 256)
    frames = np.random.default_rng(1).integers(0, 256, (200, chosen.bits // 8), np.uint8)
    symbols = phy.send(frames)
    assert np.mean(np.abs(symbols) ** 2, axis=1) == pytest.approx(1.0)
    heard = SymbolChannel(link, 3, **options).send(symbols)  # type: ignore[arg-type]
    found, good = phy.receive(heard)
    assert np.array_equal(found[good], frames[good]), "a checksum that is right is of the frame that was sent"
    return float(good.mean()), float(1.0 - channel_code.block_errors(chosen, heard).mean())


def test_frames_arrive_where_they_were_planned_to_and_not_far_below() -> None:
    assert arrived("awgn:snr_db=10", 10.0)[0] == 1.0
    assert arrived("awgn:snr_db=4", 10.0)[0] == 0.0


def test_the_table_of_short_blocks_is_careful_by_less_than_one_and_a_half_decibels() -> None:
    for snr in (6.0, 6.5, 7.0):
        real, table = arrived(f"awgn:snr_db={snr}", 10.0)
        ahead = arrived(f"awgn:snr_db={snr + 1.5}", 10.0)[1]
        assert table - 0.08 <= real <= ahead + 0.08


def test_in_fading_with_estimated_gains_the_table_says_about_what_happens() -> None:
    for link, options in (
        ("rayleigh:snr_db=12", {}), ("ofdm:snr_db=12,taps=8,decay=4,subcarriers=64", {"csi": "mmse", "pilots": 2}),
    ):  # fmt: skip
        real, table = arrived(link, 8.0, **options)
        assert abs(real - table) < 0.12
