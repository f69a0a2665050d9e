"""Noisy symbols instead of packets: the channel as a semantic transmission sees it.

A radio link of `agentsc.links` with ``snr_db`` is turned into the channel that it stands for, symbol by symbol.
Receivers are told the channel's state beside what they received, and may use all, some or none of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links import parse_link
from agentsc.links.models.ofdm import Ofdm
from agentsc.links.radio.link import RadioLink
from envs import keyed
from envs.errors import ConfigError

Symbols = NDArray[np.complex128]


class Received(NamedTuple):
    """What arrives of B blocks of n symbols.

    symbols: complex128 [B, n], gain · sent + noise. gain: complex128 [B, n], the channel's state.
    noise_variance: of the complex noise, E|w|².
    """

    symbols: Symbols
    gain: Symbols
    noise_variance: float


class AnalogChannel:
    """One radio link that carries symbols of mean energy 1.

    Args:
        spec: one of awgn, rayleigh, rician and ofdm with ``snr_db``, e.g. ``rayleigh:snr_db=5``.
        seed: of all draws.

    With fading, a block of symbols sees one gain of mean power 1. With ofdm, symbol k of a block goes out on subcarrier
    k mod S of OFDM symbol k // S, behind a cyclic prefix, so it sees the gain of its subcarrier.

    Raises:
        ConfigError: not one radio link with ``snr_db``.
    """

    def __init__(self, spec: str, seed: int) -> None:
        links = parse_link(spec)
        if len(links) != 1 or not isinstance(links[0], RadioLink) or links[0].snr_db is None:
            raise ConfigError(
                f"an analog channel must be one radio link with snr_db, got {spec!r} (e.g. rayleigh:snr_db=5)"
            )
        self.link, self.seed = links[0], seed
        self.noise_variance = float(10.0 ** (-0.1 * links[0].snr_db))

    def taps(self, blocks: NDArray[np.integer], use: int = 0) -> Symbols:
        """Impulse response [B, L] in samples, of mean energy 1; L = 1 where fading is flat."""
        link = self.link
        if not link.fades:
            return np.ones((len(blocks), 1), np.complex128)
        power = link.profile if isinstance(link, Ofdm) else np.ones(1)
        echoes = self._gaussian(blocks, use, 1, len(power)) * np.sqrt(power)
        line = link.rician
        return np.asarray((np.sqrt(line) + echoes) / np.sqrt(line + 1.0))

    def send(self, symbols: NDArray[np.complexfloating], use: int = 0, first: int = 0) -> Received:
        """Send blocks.

        Args:
            symbols: complex [B, n], of mean energy 1. use: number of the transmission. first: number of the first
                block; what a block meets depends on (seed, use, its number) alone.
        """
        count, length = symbols.shape
        blocks = first + np.arange(count)
        gain = self.gains(self.taps(blocks, use), length)
        noise = self._gaussian(blocks, use, 2, length) * np.sqrt(self.noise_variance)
        return Received(gain * symbols + noise, gain, self.noise_variance)

    def gains(self, taps: Symbols, length: int) -> Symbols:
        """Gain [B, length] of every symbol from impulse responses [B, L]."""
        if not isinstance(self.link, Ofdm):
            return np.broadcast_to(taps[:, :1], (len(taps), length))
        carriers = self.link.subcarriers
        response = np.fft.fft(taps, max(carriers, taps.shape[1]), axis=1)[:, :carriers]
        return np.asarray(response[:, np.arange(length) % carriers])

    def _gaussian(self, blocks: NDArray[np.integer], use: int, what: int, length: int) -> Symbols:
        """Complex normal draws of variance 1, [B, length]."""
        keys = keyed.hash_words(self.seed, keyed.stream_id("analog"), use, blocks)
        pairs = keyed.normal(keys, (length, 2), what).astype(np.float64)
        return np.asarray((pairs[..., 0] + 1j * pairs[..., 1]) * np.sqrt(0.5))
