"""Radios against sionna's: error rates of the same modulations over the same channels, measured side by side.

Theirs are waveforms: mapped bits, fading drawn by their block model, OFDM through a time-domain channel behind a cyclic
prefix, demapped to hard bits. Ours are symbols through the analog channel and packets through the medium.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agentsc.links.medium import Medium, Packets
from agentsc.links.radio.analog import AnalogChannel
from agentsc.links.radio.link import LADDER
from agentsc.links.radio.modulation import BITS, demodulate, modulate
from agentsc.links.radio.packet_error import SHIPPED, read_curves

pytest.importorskip("sionna.phy")

import ldpc_table
from sionna.phy import config
from sionna.phy.channel import (
    AWGN,
    ApplyTimeChannel,
    RayleighBlockFading,
    cir_to_ofdm_channel,
    cir_to_time_channel,
    subcarrier_frequencies,
)
from sionna.phy.mapping import BinarySource, Constellation, Demapper, Mapper
from sionna.phy.ofdm import OFDMDemodulator, OFDMModulator

ROOT = Path(__file__).parents[2]
SIGMAS = 3.5
"""Two-sided 5e-4 for each comparison, and all seeds are fixed."""
BLOCKS, SYMBOLS = 20_000, 24
LEVELS_DB = {"bpsk": 4.0, "qpsk": 7.0, "16qam": 12.0, "64qam": 18.0}
TAPS, DECAY, CARRIERS = 4, 2.0, 16
every_modulation = pytest.mark.parametrize("modulation", list(BITS))

Wrong = NDArray[np.bool_]


def noise(level_db: float) -> float:
    return float(10.0 ** (-0.1 * level_db))


def constellation(modulation: str) -> Constellation:
    return Constellation("pam" if modulation == "bpsk" else "qam", BITS[modulation])


def theirs(modulation: str, channel: str, level_db: float, blocks: int, symbols: int, seed: int = 1) -> Wrong:
    """bool [blocks, bits]: which bits sionna gets wrong."""
    config.seed = seed
    points = constellation(modulation)
    sent = BinarySource()([blocks, symbols * BITS[modulation]])
    symbol = Mapper(constellation=points)(sent)
    variance = torch.tensor(noise(level_db))
    if channel == "ofdm":
        received, gain = through_ofdm(symbol, variance)
    else:
        gain = torch.ones(blocks, 1)
        if channel == "rayleigh":
            gain = RayleighBlockFading(1, 1, 1, 1)(blocks, 1)[0].reshape(blocks, 1)
        received = AWGN()(gain * symbol, variance)
    found = Demapper("app", constellation=points, hard_out=True)(received / gain, variance)
    return np.asarray((found != sent).numpy())


def through_ofdm(symbol: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What comes out of OFDM over a channel with echoes, and the gain of every symbol; OFDM symbols stand alone."""
    blocks, symbols = symbol.shape
    spacing = 15e3
    power = np.exp(-np.arange(TAPS) / DECAY)
    power /= power.sum()
    fading = RayleighBlockFading(1, 1, 1, 1)
    prefix, length = TAPS - 1, CARRIERS + TAPS - 1
    echoes = torch.cat([np.sqrt(share) * fading(blocks, length + prefix)[0] for share in power], dim=5)
    delay = torch.arange(TAPS).float().expand(blocks, 1, 1, TAPS) / (CARRIERS * spacing)
    response = cir_to_time_channel(CARRIERS * spacing, echoes, delay, 0, TAPS - 1)
    gain = cir_to_ofdm_channel(subcarrier_frequencies(CARRIERS, spacing), echoes[..., :1], delay).reshape(blocks, -1)
    send, read = OFDMModulator(prefix), OFDMDemodulator(CARRIERS, 0, prefix)
    channel, parts = ApplyTimeChannel(length, TAPS), []
    for part in symbol.reshape(blocks, -1, CARRIERS).unbind(1):
        received = channel(send(part[:, None, None, None]), response, variance)
        parts.append(read(received[..., :length]).reshape(blocks, CARRIERS))
    return torch.cat(parts, dim=1), gain.repeat(1, symbols // CARRIERS)


def ours(modulation: str, channel: str, level_db: float, blocks: int, symbols: int) -> Wrong:
    """bool [blocks, bits]: which bits we get wrong."""
    spec = f"ofdm:taps={TAPS},decay={DECAY},subcarriers={CARRIERS}," if channel == "ofdm" else f"{channel}:"
    sent = np.random.default_rng(2).integers(0, 2, (blocks, symbols * BITS[modulation]))
    found = AnalogChannel(f"{spec}snr_db={level_db}", 3).send(modulate(sent, modulation))
    return np.asarray(demodulate(found.symbols / found.gain, modulation) != sent)


def agree(name: str, one: NDArray, other: NDArray) -> None:
    """Means of independent values lie within their common interval."""
    error = np.sqrt(one.var() / len(one) + other.var() / len(other))
    z = (one.mean() - other.mean()) / error
    means = f"ours {one.mean():.5f} sionna {other.mean():.5f} ± {SIGMAS * error:.5f}"
    print(f"{name:32s} {means} ({z:+.2f} standard errors)")
    assert error > 0.0 and abs(z) <= SIGMAS


@every_modulation
def test_constellations_are_the_same_points(modulation: str) -> None:
    width = BITS[modulation]
    bits = (np.arange(1 << width)[:, None] >> np.arange(width)[::-1]) & 1
    points = constellation(modulation)().numpy()
    apart = np.abs(modulate(bits, modulation) - points)  # [ours, theirs]; theirs are float32
    assert (apart.min(0) < 1e-5).all() and (apart.min(1) < 1e-5).all()


@every_modulation
@pytest.mark.parametrize("channel", ["awgn", "rayleigh", "ofdm"])
def test_bit_error_rates(channel: str, modulation: str) -> None:
    level, symbols = LEVELS_DB[modulation], 32 if channel == "ofdm" else SYMBOLS
    one, other = (each(modulation, channel, level, BLOCKS, symbols) for each in (ours, theirs))
    agree(f"{channel} {modulation}, bit errors", one.mean(1), other.mean(1))


@pytest.mark.parametrize("channel", ["awgn", "rayleigh", "ofdm"])
def test_packets_of_the_medium_are_lost_as_often_as_their_waveforms(channel: str) -> None:
    """64 bits of qpsk: what a link does with a packet by formula, and what becomes of one by simulation."""
    level, lanes, agents = 16.0 if channel == "ofdm" else 8.0, 500, 6
    link = f"ofdm:taps={TAPS},decay={DECAY},subcarriers={CARRIERS}," if channel == "ofdm" else f"{channel}:"
    medium = Medium(f"{link}snr_db={level}", 1, range(lanes), agents, 0.05)
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, agents)))
    packets = Packets(lane, sender, np.zeros((len(lane), 8), np.uint8), np.full(len(lane), 64, np.int32))
    for clock in range(10):
        medium.deliver(clock)
        medium.transmit(packets, clock)
    lost = (medium.lost / medium.decisions).astype(float)
    waves = theirs("qpsk", channel, level, 100_000, 32).any(1).astype(float)
    assert medium.decisions.sum() >= 100_000
    agree(f"{channel} qpsk, packet errors", lost, waves)


def test_the_shipped_table_is_reproduced_by_another_seed() -> None:
    """5G LDPC codes, qpsk at rate 1/2; the row of the table has an error of its own."""
    level, bits, lanes, agents = 1.5, 144, 500, 6
    table, mode = read_curves(SHIPPED), LADDER.index(("qpsk", 1 / 2))
    config.seed = 2
    lost, sent = ldpc_table.Chain("qpsk", 1 / 2).lost(level)
    medium = Medium(f"awgn:snr_db={level},decoding=table,modulation=qpsk,code_rate=0.5", 1, range(lanes), agents, 0.05)
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, agents)))
    packets = Packets(lane, sender, np.zeros((len(lane), 18), np.uint8), np.full(len(lane), bits, np.int32))
    for clock in range(10):
        medium.deliver(clock)
        medium.transmit(packets, clock)
    share = float(medium.lost.sum() / medium.decisions.sum())
    known = float(table[mode].per[np.searchsorted(table[mode].snr_db, level)])
    assert share == pytest.approx(known, abs=4 * np.sqrt(known / medium.decisions.sum()))
    error = np.sqrt(known * (1 - known) * (1 / sent + 1 / 500))  # that row of the table has 500 packets
    print(f"qpsk 1/2 at {level} dB, packet errors: ours {share:.4f}, sionna {lost / sent:.4f} ± {SIGMAS * error:.4f}")
    assert abs(share - lost / sent) <= SIGMAS * error
