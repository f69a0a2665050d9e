"""What a perception may cost: information bits, and the channel uses that carry them.

A budget of B bits at a link whose nominal signal-to-noise ratio is γ is n = ⌈B / log2(1 + γ)⌉ complex channel uses an
image: what an ideal code at the capacity of the nominal channel takes. Digital paths may send B bits in them; analog
paths send n symbols of mean energy 1, whatever number of symbols their codec makes (`Spread`). So all paths use the
same n channel uses, and on a fading link all of them meet the same gains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agentsc.semantic.channel import Heard
from envs import keyed
from envs.errors import ConfigError
from policies.scene.model import Arrival, Echoes

LEAST_BITS, MOST_BITS = 8, 65_536


@dataclass(frozen=True)
class Budget:
    """bits: information bits of an image, B. snr_db: nominal, of the link."""

    bits: int
    snr_db: float

    @cached_property
    def uses(self) -> int:
        """Complex channel uses of an image, n."""
        return max(1, math.ceil(self.bits / math.log2(1.0 + 10.0 ** (0.1 * self.snr_db)) - 1e-9))


def bits_of(value: object) -> int:
    """A number of bits, from a number or its text.

    Raises:
        ConfigError: not a whole number between the bounds.
    """
    try:
        bits = float(str(value))
    except ValueError:
        bits = math.nan
    if not (bits == bits and LEAST_BITS <= bits <= MOST_BITS and bits == int(bits)):
        raise ConfigError(
            f"bits must be a whole number in [{LEAST_BITS}, {MOST_BITS}], got {value!r} (information bits of an image; "
            "16 to 400 bytes are 128 to 3200)"
        )
    return int(bits)


@dataclass(frozen=True)
class Spread:
    """How m symbols of an image fill n channel uses; known to both sides.

    Use k carries symbol k mod m, so with n ≥ m every symbol is sent ⌊n/m⌋ times or once more, and with n < m the last
    ones are not sent at all. Uses that belong to others carry their symbols, of energy 1, too; the receiver
    of an image does not look at them. What is sent of an image is scaled to mean energy 1; receivers do not know
    by how much.

    Attributes:
        symbols: m. uses: n. own: bool [B, n], uses that are this image's; None for all.
    """

    symbols: int
    uses: int
    own: NDArray[np.bool_] | None = None

    @property
    def _place(self) -> NDArray[np.intp]:
        return np.arange(self.uses) % self.symbols

    def put(self, symbols: NDArray[np.complexfloating]) -> NDArray[np.complex128]:
        """What is on the air, complex128 [B, n], of symbols [B, m]."""
        sent = np.asarray(symbols, np.complex128)[:, self._place]
        own = np.ones(sent.shape, bool) if self.own is None else self.own
        count = own.sum(axis=1, keepdims=True)
        energy = np.sum(np.abs(sent) ** 2, axis=1, keepdims=True, where=own)
        scale = np.sqrt(np.where(energy > 0.0, count / np.maximum(energy, 1e-12), 0.0))
        return np.where(own & (energy > 0.0), scale * sent, 1.0)

    def take(self, heard: Heard, snr_db: float, uses: int | None = None) -> Arrival:
        """The m symbols as they arrive: repetitions combined with the weights that are best for known gains.

        A symbol that was heard in uses K has r = Σ g* r / √Σ|g|² and gain √Σ|g|², so its noise is still that of one
        use; one that was never sent has gain 0. For blind decoders the gains of such symbols are taken to be those
        that the receiver has: combined, they are no longer those of the echoes.

        Args:
            snr_db: nominal. uses: look at the first so many only.
        """
        batch, count = heard.received.shape
        seen = np.arange(count) < (count if uses is None else uses)
        seen = np.broadcast_to(seen, (batch, count)) if self.own is None else seen & self.own
        matched = np.where(seen, np.conj(heard.gain) * heard.received, 0.0)
        power = np.where(seen, np.abs(heard.gain) ** 2, 0.0)
        total, strength = np.zeros((batch, self.symbols), np.complex128), np.zeros((batch, self.symbols))
        for first in range(0, count, self.symbols):
            part = slice(first, min(first + self.symbols, count))
            width = part.stop - first
            total[:, :width] += matched[:, part]
            strength[:, :width] += power[:, part]
        gain = np.sqrt(strength)
        received = np.where(gain > 0.0, total / np.maximum(gain, 1e-12), 0.0)

        def pairs(values: NDArray) -> NDArray[np.float32]:
            return np.stack([values.real, values.imag], axis=-1).astype(np.float32)

        taps, noise = pairs(np.fft.ifft(gain, axis=1)), heard.noise_variance.astype(np.float32)
        known = Echoes(taps, np.zeros(gain.shape, np.float32), noise, self.symbols)
        return Arrival(
            pairs(received), pairs(gain.astype(np.complex128)), noise, np.full(batch, snr_db, np.float32), known
        )


def most_that_fit(counts: tuple[int, ...], uses: int) -> int:
    """The largest number of symbols that a codec can make and ``uses`` carry, or its smallest."""
    return max([count for count in counts if count <= uses], default=min(counts))


def shared(images: int, uses: int, users: int, dropped: float, seed: int, first: int = 0) -> NDArray[np.bool_] | None:
    """Which of the uses belong to each image, bool [B, n], when ``users`` share them and some are left out.

    Uses are dealt out in a shuffled order that all know, and image i is user i mod ``users``: were every other use a
    user's, whole columns of a codec's planes would be missing. Of a user's own, a share ``dropped``, drawn from the
    seed and the image's number, is left to others. At least one remains. None if all uses are its own.
    """
    if users == 1 and dropped == 0.0:
        return None
    number = first + np.arange(images)
    place = np.argsort(np.argsort(keyed.uniform(seed, keyed.stream_id("dealt"), np.arange(uses))))
    own = place[None] % users == (number % users)[:, None]
    keys = keyed.hash_words(seed, keyed.stream_id("dropped"), number)
    lot = keyed.uniform(keys[:, None], np.arange(uses)[None])
    kept = own & (lot >= dropped)
    none = ~kept.any(axis=1)
    kept[none, number[none] % min(users, uses)] = True
    return kept
