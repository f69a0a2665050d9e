"""The channel of the semantic scenarios: complex symbols of an image, pilots beside them, what the receiver knows.

Definitions. A symbol is complex, a pair of reals, with E|s|² = 1 **per image**. Noise is n ~ CN(0, N0): N0/2 per real
number, N0 = 10^(−SNR/10) relative to the power that is sent (``reference="transmit"``), or N0 = E|g s|² · 10^(−SNR/10)
relative to the power that an image arrives with (``"received"``, as in the DiffCom papers). Gains have mean power 1, so
the mean ratio of the two is the same, but the latter hides fades. The links' formulas are those of
`agentsc.links.radio.analog`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from agentsc.links.models.ofdm import Ofdm
from agentsc.links.radio.analog import AnalogChannel, Symbols
from envs.errors import ConfigError

Csi = Literal["known", "ls", "mmse", "unknown"]
"""What the receiver knows of the gains: all; what pilots say, by least squares or with their statistics; nothing."""
Reference = Literal["transmit", "received"]
PREFIX = 12
"""Samples of the cyclic prefix of an OFDM symbol."""


@dataclass(frozen=True)
class Uses:
    """Channel uses of one image: ``data`` symbols, ``pilots``, and samples of cyclic ``prefix``."""

    data: int
    pilots: int
    prefix: int

    @property
    def total(self) -> int:
        """All that is on the air."""
        return self.data + self.pilots + self.prefix


@dataclass(frozen=True)
class Belief:
    """What a receiver knows of the impulse responses of B images: taps h_l ~ CN(mean_l, variance_l), independent.

    mean: complex128 [B, L]. variance: float64 [B, L], zero for gains that are known. carriers: S; symbol k has the gain
    Σ_l h_l exp(−2πi (k mod S) l / S), which is h_0 without OFDM.
    """

    mean: Symbols
    variance: NDArray[np.float64]
    carriers: int


@dataclass(frozen=True)
class Heard:
    """What arrives of B images of n symbols.

    Attributes:
        received: complex128 [B, n]. gain: complex128 [B, n], as the receiver takes it to be.
        noise_variance: float64 [B], of all that the receiver cannot tell from noise: N0, and the mean power of symbols
            times the error of its gains.
        true_gain: complex128 [B, n]. true_noise: float64 [B], N0. For measuring, not for receivers.
        uses: of each image. belief: what the channel's statistics and pilots say of the gains.
    """

    received: Symbols
    gain: Symbols
    noise_variance: NDArray[np.float64]
    true_gain: Symbols
    true_noise: NDArray[np.float64]
    uses: Uses
    belief: Belief

    @property
    def capacity_bits(self) -> NDArray[np.float64]:
        """Σ log2(1 + |g|²/N0) over the data symbols of each image [B]: bits that an ideal code would have carried.

        Gains known to the receiver, equal power on all symbols; pilots and prefix carry nothing.
        """
        snr = np.abs(self.true_gain) ** 2 / self.true_noise[:, None]
        return np.log2(1.0 + snr).sum(axis=1)


def mutual_information(heard: Heard) -> NDArray[np.float64]:
    """Bits that a code of Gaussian symbols carries to a receiver that takes its gains to be true, [B].

    The generalised mutual information of nearest-neighbour decoding at the gains that are: with known gains the
    capacity, `Heard.capacity_bits`; less the further off they are, and none at all where a phase is wrong.

    Reference: Lapidoth and Shamai, "Fading channels: how perfect need 'perfect side information' be?", 2002, theorem 1,
    for one block: sup over θ > 0 of Σ log2(1 + θ |ĝ|²) + θ (E|y|² / (1 + θ |ĝ|²) − E|y − ĝ s|²) log2 e.
    """
    noise = heard.true_noise[:, None]
    power = np.abs(heard.gain) ** 2
    whole, gap = np.abs(heard.true_gain) ** 2 + noise, np.abs(heard.true_gain - heard.gain) ** 2 + noise

    def rate(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        grown = 1.0 + theta[:, None] * power
        linear = theta[:, None] * (whole / grown - gap)
        return np.asarray((np.log2(grown) + linear * np.log2(np.e)).sum(axis=1))

    # Golden sections in ln θ; the rate rises, then falls. With true gains it is greatest at 1/N0.
    share = 0.5 * (np.sqrt(5.0) - 1.0)
    middle = -np.log(heard.true_noise)
    low, high = middle - 14.0, middle + 7.0
    for _ in range(64):
        left, right = high - share * (high - low), low + share * (high - low)
        better = rate(np.exp(left)) > rate(np.exp(right))
        low, high = np.where(better, low, left), np.where(better, right, high)
    return np.maximum(rate(np.exp(high)), 0.0)


class SymbolChannel:
    """A radio link as images meet it; every image is a block of its own.

    With flat fading an image sees one gain. With ofdm its symbols fill subcarriers one after the other, and what it
    sends really is convolved with the echoes behind a cyclic prefix: a prefix shorter than the echoes makes subcarriers
    disturb each other and OFDM symbols the next one, which no receiver here knows of.

    Args:
        spec: awgn, rayleigh, rician or ofdm with ``snr_db``. seed: of all draws.
        csi: what the receiver knows. pilots: symbols before the data (with ofdm: OFDM symbols), used with ls and mmse.
        reference: what the SNR is relative to. prefix: samples, with ofdm.

    Raises:
        ConfigError: not such a link, unknown words, fewer than one pilot or sample, or more echoes than subcarriers.
    """

    def __init__(
        self,
        spec: str,
        seed: int,
        *,
        csi: Csi = "known",
        pilots: int = 1,
        reference: Reference = "transmit",
        prefix: int = PREFIX,
    ) -> None:
        for name, value, kind in (("csi", csi, Csi), ("reference", reference, Reference)):
            if value not in get_args(kind):
                raise ConfigError(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}")
        if pilots < 1 or prefix < 0:
            raise ConfigError(f"pilots must be at least 1 and prefix at least 0, got {pilots} and {prefix} (symbols)")
        self._analog = AnalogChannel(spec, seed)
        self.link = self._analog.link
        self.csi, self.reference, self.prefix = csi, reference, prefix
        if isinstance(self.link, Ofdm) and self.link.taps > self.link.subcarriers:
            raise ConfigError(
                f"link.ofdm.taps must be at most its subcarriers, got {self.link.taps} and {self.link.subcarriers}"
            )
        asked = csi in ("ls", "mmse") and self.link.fades
        self.pilots = pilots * self.carriers if asked else 0

    @property
    def snr_db(self) -> float:
        """Mean signal-to-noise ratio."""
        return float(-10.0 * np.log10(self._analog.noise_variance))

    @property
    def carriers(self) -> int:
        """Subcarriers; 1 without OFDM."""
        return self.link.subcarriers if isinstance(self.link, Ofdm) else 1

    def uses(self, count: int) -> Uses:
        """What an image of ``count`` symbols takes."""
        whole = -(-(count + self.pilots) // self.carriers)
        return Uses(count, self.pilots, whole * self.prefix if isinstance(self.link, Ofdm) else 0)

    def send(self, symbols: NDArray[np.complexfloating], use: int = 0, first: int = 0) -> Heard:
        """Send images.

        Args:
            symbols: complex [B, n], of mean energy 1 in every row. use: number of the transmission.
            first: number of the first image; what an image meets depends on (seed, use, its number) alone.

        Raises:
            ConfigError: symbols that are not finite or not of that energy.
        """
        energy = np.mean(np.abs(symbols) ** 2, axis=1)
        bad = ~(np.abs(energy - 1.0) < 0.01)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ConfigError(
                f"symbols must have mean energy 1 in every row, got {energy[row]:.4g} in row {row} (scale each image)"
            )
        count, length = symbols.shape
        stream = np.concatenate([np.ones((count, self.pilots)), symbols], axis=1).astype(np.complex128)
        # Of a block of zeros only the noise arrives.
        silent = self._analog.send(np.zeros_like(stream), use, first)
        taps = self._analog.taps(first + np.arange(count), use)
        if isinstance(self.link, Ofdm):
            faded = through_echoes(stream, taps, self.carriers, self.prefix)
        else:
            faded = silent.gain * stream
        true = np.asarray(silent.gain[:, self.pilots :])
        noise_variance = np.full(count, silent.noise_variance)
        if self.reference == "received":
            noise_variance = noise_variance * np.mean(np.abs(true * symbols) ** 2, axis=1)
        received = faded + silent.symbols * np.sqrt(noise_variance / silent.noise_variance)[:, None]
        pilots = received[:, : self.pilots]
        gain, unsure = self._gains(pilots, true, noise_variance)
        return Heard(
            received[:, self.pilots :], gain, noise_variance + unsure, true, noise_variance, self.uses(length),
            self._belief(pilots, taps, noise_variance),
        )  # fmt: skip

    def _belief(self, pilots: Symbols, taps: Symbols, noise: NDArray[np.float64]) -> Belief:
        """The taps [B, L] as the receiver knows them."""
        if self.csi == "known" or not self.link.fades:
            return Belief(taps, np.zeros(taps.shape), self.carriers)
        middle, power = self._statistics()
        if self.csi == "unknown":
            return Belief(np.full(taps.shape, middle, np.complex128), np.tile(power, (len(taps), 1)), self.carriers)
        return Belief(*self._from_pilots(pilots, noise), self.carriers)

    def _statistics(self) -> tuple[float, NDArray[np.float64]]:
        """Mean of a tap, and variances [L]."""
        if isinstance(self.link, Ofdm):
            return 0.0, np.asarray(self.link.profile)
        line = self.link.rician
        return float(np.sqrt(line / (line + 1.0))), np.ones(1) / (line + 1.0)

    def _from_pilots(self, pilots: Symbols, noise: NDArray[np.float64]) -> tuple[Symbols, NDArray[np.float64]]:
        """Taps [B, L] given their pilots, and what is left of their variance."""
        middle, power = self._statistics()
        per_tap = (noise / (self.pilots // self.carriers) / self.carriers)[:, None]
        trust = power / (power + per_tap)
        seen = pilots.reshape(len(pilots), -1, self.carriers).mean(axis=1)
        taps = np.fft.ifft(seen, axis=1)[:, : len(power)]
        return np.asarray(middle + trust * (taps - middle)), np.asarray(trust * per_tap)

    def _gains(
        self, pilots: Symbols, true: Symbols, noise: NDArray[np.float64]
    ) -> tuple[Symbols, NDArray[np.float64]]:
        """Gains [B, n] as the receiver takes them to be, and their mean squared error [B]."""
        count, length = true.shape
        if self.csi == "known" or not self.link.fades:
            return true, np.zeros(count)
        if self.csi == "unknown":
            return np.ones_like(true), np.zeros(count)
        each = noise / (self.pilots // self.carriers)  # variance of the mean of the pilots of a subcarrier
        seen = pilots.reshape(count, -1, self.carriers).mean(axis=1)
        if self.csi == "ls":
            return np.asarray(seen[:, np.arange(length) % self.carriers]), each
        taps, left = self._from_pilots(pilots, noise)
        gain = np.fft.fft(taps, self.carriers, axis=1)
        return np.asarray(gain[:, np.arange(length) % self.carriers]), left.sum(axis=1)


def through_echoes(symbols: Symbols, taps: Symbols, carriers: int, prefix: int) -> Symbols:
    """Symbols after OFDM modulation, echoes and demodulation, [B, n].

    Args:
        symbols: [B, n], symbol k on subcarrier k mod S of OFDM symbol k // S; the last one is filled with silence.
        taps: [B, L], one sample apart. carriers: S. prefix: samples of every OFDM symbol that are sent before it.
    """
    batch, count = symbols.shape
    whole = -(-count // carriers)
    filled = np.zeros((batch, whole * carriers), np.complex128)
    filled[:, :count] = symbols
    waves = np.fft.ifft(filled.reshape(batch, whole, carriers), axis=2, norm="ortho")
    # The prefix repeats the end; one longer than the symbol goes around.
    around = np.arange(-prefix, carriers) % carriers
    line = waves[:, :, around].reshape(batch, -1)
    heard = np.zeros_like(line)
    for delay in range(min(taps.shape[1], line.shape[1])):
        heard[:, delay:] += taps[:, delay, None] * line[:, : line.shape[1] - delay]
    windows = heard.reshape(batch, whole, prefix + carriers)[:, :, prefix:]
    return np.asarray(np.fft.fft(windows, axis=2, norm="ortho").reshape(batch, -1)[:, :count])
