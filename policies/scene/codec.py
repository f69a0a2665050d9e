"""Analog codecs of images: image → complex symbols of mean energy 1, and back.

Symbols are real pairs [batch, n, 2], row-wise independent. A receiver that knows its channel first estimates every
symbol linearly, ŝ with variance v (both from `estimate`); that is all a codec's decoder is told.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch

from envs.errors import ConfigError
from policies.networks.jscc import DeepJSCC, seen_planes


def estimate(
    received: torch.Tensor, gain: torch.Tensor, noise_variance: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear minimum-mean-square estimates of symbols, and what is left of their variance 1.

    Args:
        received, gain: [batch, n, 2], r = g s + w as complex numbers with E|s|² = 1.
        noise_variance: [batch], E|w|².

    Returns:
        ŝ = g* r / (|g|² + N0), [batch, n, 2], and v = N0/(|g|² + N0), [batch, n].
    """
    power = gain.square().sum(2)
    noise = noise_variance[:, None]
    real = gain[..., 0] * received[..., 0] + gain[..., 1] * received[..., 1]
    imaginary = gain[..., 0] * received[..., 1] - gain[..., 1] * received[..., 0]
    whole = (power + noise).clamp_min(1e-30)
    return torch.stack([real, imaginary], dim=2) / whole[..., None], noise / whole


def faded(symbols: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """g · s as complex numbers, [batch, n, 2]."""
    a, b, c, d = symbols[..., 0], symbols[..., 1], gain[..., 0], gain[..., 1]
    return torch.stack([a * c - b * d, a * d + b * c], dim=2)


def placed(
    estimate: torch.Tensor, variance: torch.Tensor, planes: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The symbols that were sent, estimates [batch, n, 2] and variances [batch, n], in all ``planes`` (number, h, w).

    Nothing is known of those that were not sent: estimate 0, variance 1.
    """
    batch, count = variance.shape
    missing = math.prod(planes) - count
    whole = torch.cat([estimate, estimate.new_zeros(batch, missing, 2)], dim=1)
    left = torch.cat([variance, variance.new_ones(batch, missing)], dim=1)
    return whole.unflatten(1, planes), left.unflatten(1, planes)


class ImageCodec(ABC):
    """Encoder and decoder of images of one shape.

    Attributes:
        shape: of an image, in [−1, 1].
    """

    shape: tuple[int, ...]

    @property
    @abstractmethod
    def counts(self) -> tuple[int, ...]:
        """Numbers of symbols that an image can be sent in, ascending."""

    @abstractmethod
    def encode(self, x: torch.Tensor, snr_db: torch.Tensor, count: int) -> torch.Tensor:
        """Symbols [batch, count, 2] of x [batch, *shape]; snr_db [batch] is what the sender expects."""

    @abstractmethod
    def decode(
        self, estimate: torch.Tensor, variance: torch.Tensor, snr_db: torch.Tensor
    ) -> torch.Tensor:
        """Images [batch, *shape] from estimates [batch, count, 2] with variances [batch, count]; see `estimate`."""

    def seen(self, estimate: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        """What `decode` is told of the symbols, [batch, channels, h, w], laid out as the codec places them."""
        return torch.cat([estimate.flatten(1), variance], dim=1)[:, :, None, None]

    def count_of(self, cbr: float) -> int:
        """Symbols at a channel bandwidth ratio, complex channel uses per number of the image.

        Raises:
            ConfigError: no such rate; the message names the nearest ones.
        """
        numbers = math.prod(self.shape)
        for count in self.counts:
            if abs(count / numbers - cbr) <= 1e-3 * cbr:
                return count
        near = sorted(self.counts, key=lambda count: abs(count / numbers - cbr))[:3]
        offered = ", ".join(f"{count / numbers:.5g} ({count} symbols)" for count in sorted(near))
        raise ConfigError(f"cbr must be a rate of the codec, got {cbr:g}: near are {offered}")


class JsccCodec(ImageCodec):
    """A trained `DeepJSCC` for square images.

    Args:
        network: trained. size: pixels per side.
    """

    def __init__(self, network: DeepJSCC, size: int = 32) -> None:
        self.network, self.shape = network, (3, size, size)
        self._plane = (size // 4) ** 2

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(self._plane * sent for sent in range(1, self.network.planes + 1))

    def encode(self, x: torch.Tensor, snr_db: torch.Tensor, count: int) -> torch.Tensor:
        return self.network.encode(x, snr_db, self._sent(x, count)).flatten(1, 3)[:, :count]

    def decode(self, estimate: torch.Tensor, variance: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
        return self.network.decode(*self._placed(estimate, variance), snr_db, self._sent(variance, variance.shape[1]))

    def seen(self, estimate: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        return seen_planes(*self._placed(estimate, variance))

    def _placed(self, estimate: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        side = int(math.isqrt(self._plane))
        return placed(estimate, variance, (self.network.planes, side, side))

    def _sent(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return torch.full((len(x),), count // self._plane, device=x.device)


class LinearCodec(ImageCodec):
    """Symbols that are a matrix times the image, for Gaussian data: the test bed whose posterior is known.

    Mean energy 1 holds on average over the data, not for each image, as per-image normalisation is not linear. The
    decoder is the linear minimum-mean-square estimate.

    Args:
        matrix: [2 n, d]; row 2 k and 2 k + 1 make symbol k. It is scaled here.
        mean: [d] and covariance: [d, d] of the data. shape: of an image, with d numbers.
        offset: [2 n], added to the symbols of every image before scaling, as the symbols of real images share a part.

    Raises:
        ConfigError: shapes that do not fit each other.

    Reference: Lee and Petersen, "Optimal linear coding for vector channels", 1976.
    """

    def __init__(
        self,
        matrix: torch.Tensor,
        mean: torch.Tensor,
        covariance: torch.Tensor,
        shape: tuple[int, ...],
        offset: torch.Tensor | None = None,
    ) -> None:
        dim = math.prod(shape)
        if matrix.dim() != 2 or len(matrix) % 2 or matrix.shape[1] != dim or covariance.shape != (dim, dim):
            raise ConfigError(
                f"matrix must be [2 n, {dim}] with covariance [{dim}, {dim}] for images of shape {shape}, got "
                f"{tuple(matrix.shape)} and {tuple(covariance.shape)}"
            )
        self.shape, self.mean, self.covariance = shape, mean, covariance
        shared = torch.zeros(len(matrix), dtype=matrix.dtype) if offset is None else offset
        energy = (torch.trace(matrix @ covariance @ matrix.T) + shared.square().sum()) / (len(matrix) // 2)
        self.matrix, self.offset = matrix / energy.sqrt(), shared / energy.sqrt()

    @property
    def counts(self) -> tuple[int, ...]:
        return (len(self.matrix) // 2,)

    def encode(self, x: torch.Tensor, snr_db: torch.Tensor, count: int) -> torch.Tensor:
        return ((x.flatten(1) - self.mean) @ self.matrix.T + self.offset).unflatten(1, (count, 2))

    def decode(self, estimate: torch.Tensor, variance: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
        # ŝ = (1 − v) s + noise of variance v (1 − v), so s is seen with noise v / (1 − v), half of it per real.
        share = (1.0 - variance).clamp_min(1e-9)
        seen = (estimate / share[..., None]).flatten(1) - self.offset
        noise = (0.5 * variance / share).repeat_interleave(2, dim=1)
        across = self.covariance @ self.matrix.T
        whole = self.matrix @ across + torch.diag_embed(noise)
        found = self.mean + torch.linalg.solve(whole, seen[..., None])[..., 0] @ across.T
        return found.reshape(-1, *self.shape)
