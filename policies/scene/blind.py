"""Images and the gains that their symbols met, found together: r = g(h) E(x) + w with taps h of known statistics.

Taps are whitened: h = m + √(v/2) u with u ~ N(0, I), two real numbers a tap. So noise, states and clean estimates of
gains are on the scale of unit data, for any power-delay profile, and the prior's Tweedie step is û_0 = α u_t/(α² + σ²).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from pydantic import Field

from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Guidance
from policies.diffusion.operators import Measurement, Retained
from policies.diffusion.process import Process
from policies.diffusion.solvers import Denoise
from policies.scene.codec import faded

Updates = Literal["exact", "diffused", "alternate"]
"""How gains follow an image estimate: their posterior given it (exact), given their own noisy state, too (diffused), or
one after the other (alternate)."""


class TapPosterior(NamedTuple):
    """Gaussian whitened taps: mean complex [batch, L], and covariance complex [batch, L, L] (E|u|², 2 a priori)."""

    mean: torch.Tensor
    covariance: torch.Tensor


class Gains:
    """Taps and what they do to symbols.

    Args:
        mean: [batch, L, 2], complex. variance: [batch, L] of the complex taps. carriers: S, see `model.Echoes`.
    """

    def __init__(self, mean: torch.Tensor, variance: torch.Tensor, carriers: int) -> None:
        self.mean = torch.view_as_complex(mean.double().contiguous())
        self.spread = (0.5 * variance.double()).sqrt()
        self.carriers, self.taps = carriers, mean.shape[1]

    def matrix(self, count: int) -> torch.Tensor:
        """Fourier rows complex [count, L]: gains of symbols from taps."""
        place = torch.arange(count, device=self.mean.device) % self.carriers
        delay = torch.arange(self.taps, device=self.mean.device)
        angle = -2.0 * torch.pi * (place[:, None] * delay % self.carriers) / self.carriers
        return torch.polar(torch.ones_like(angle, dtype=torch.float64), angle.double())

    def response(self, u: torch.Tensor, count: int) -> torch.Tensor:
        """Gains complex [batch, count] of whitened taps complex [batch, L]."""
        return (self.mean + self.spread * u) @ self.matrix(count).T

    def posterior(
        self,
        received: torch.Tensor,
        symbols: torch.Tensor,
        noise: torch.Tensor,
        centre: torch.Tensor | None = None,
        width: float = 1.0,
    ) -> TapPosterior:
        """Of r = g s + w with known symbols: exact.

        Args:
            received, symbols: complex [batch, n]. noise: E|w|², [batch, n].
            centre: complex [batch, L] and width: of whitened taps before, N(centre, width I) per real number.
        """
        whole = symbols[..., None] * self.matrix(symbols.shape[1])
        seen = whole * self.spread[:, None]
        weighed = seen.mH / noise[:, None]
        precision = weighed @ seen
        precision = precision + torch.eye(self.taps, dtype=precision.dtype, device=precision.device) / (2.0 * width)
        gap = received - (whole @ self.mean[..., None])[..., 0]
        if centre is not None:
            gap = gap - (seen @ centre[..., None])[..., 0]
        covariance = torch.linalg.inv(precision)
        mean = (covariance @ (weighed @ gap[..., None]))[..., 0]
        return TapPosterior(mean if centre is None else mean + centre, covariance)

    def at_first(
        self, received: torch.Tensor, middle: torch.Tensor, covariance: torch.Tensor, noise: torch.Tensor
    ) -> TapPosterior:
        """Linear estimate from symbols of which only mean and covariance are known: what all images share is a pilot.

        Args:
            received: complex [batch, n]. middle: complex [n] and covariance: complex [n, n], of the symbols.
            noise: N0 [batch].
        """
        count = received.shape[1]
        rows = self.matrix(count)
        expected = self.mean @ rows.T
        spread = rows * self.spread[:, None]
        across = 2.0 * (spread @ spread.mH) + expected[..., None] * expected[:, None].conj()
        eye = torch.eye(count, dtype=across.dtype, device=across.device)
        seen = middle[:, None] * spread
        whole = 2.0 * (seen @ seen.mH) + covariance * across + noise[:, None, None] * eye
        gap = (received - middle * expected)[..., None]
        trust = 2.0 * torch.linalg.solve(whole, seen).mH
        left = 2.0 * torch.eye(self.taps, dtype=across.dtype, device=across.device) - 2.0 * trust @ seen
        return TapPosterior((trust @ gap)[..., 0], 0.5 * (left + left.mH))

    def unsure(self, posterior: TapPosterior, count: int) -> torch.Tensor:
        """E|g − ĝ|² of every symbol, [batch, count]."""
        rows = self.matrix(count) * self.spread[:, None]
        return ((rows @ posterior.covariance) * rows.conj()).sum(2).real.clamp_min(0.0)

    def denoiser(self, process: Process) -> Denoise:
        """The clean estimate of whitened taps, [batch, 2 L] real; the prior's Tweedie step."""

        def denoise(u: torch.Tensor, t: float) -> torch.Tensor:
            alpha, sigma = process.alpha(t), process.sigma(t)
            return alpha / (alpha * alpha + sigma * sigma) * u

        return denoise


@dataclass(frozen=True)
class BlindReception:
    """What arrived through gains that are not known.

    Attributes:
        received: [batch, n, 2]. symbols: x [batch, numbers] → [batch, n, 2], the encoder.
        gains: their prior. noise: N0 [batch]. size: numbers of an image; what follows in a row are taps.
        times: the sampler's grid.
    """

    received: torch.Tensor
    symbols: Callable[[torch.Tensor], torch.Tensor]
    gains: Gains
    noise: torch.Tensor
    size: int
    times: list[float]

    def posterior(
        self, symbols: torch.Tensor, centre: torch.Tensor | None = None, width: float = 1.0
    ) -> TapPosterior:
        """Taps given estimates of the symbols, [batch, n, 2].

        Estimates are not the symbols: what of the received is left unexplained beyond the noise counts as noise, too,
        in a second round.
        """
        heard = torch.view_as_complex(self.received.double())
        sent = torch.view_as_complex(symbols.double().contiguous())
        level = self.noise.double()[:, None].expand(heard.shape)
        found = self.gains.posterior(heard, sent, level, centre, width)
        gap = heard - self.gains.response(found.mean, heard.shape[1]) * sent
        free = max(heard.shape[1] - self.gains.taps, 1)
        left = gap.abs().square().sum(1, keepdim=True) / free
        return self.gains.posterior(heard, sent, torch.maximum(level, left), centre, width)


class BlindChannel(Guidance):
    """Gains from the image estimate, then the image from the gains, at every noise level.

    Reference: Wang et al., "DiffCom", 2024, algorithm 3 (joint diffusion of image and channel), with gains moved by
    their exact posterior given the image estimate instead of by a gradient step.
    """

    likelihood: Guidance = Field(description="the term that moves the image, given gains and how unsure they are")
    updates: Updates = Field("alternate", description="how gains follow an image estimate")

    @property
    def needs_gradient(self) -> bool:
        return self.likelihood.needs_gradient

    def correct(self, at: Estimate, problem: BlindReception) -> torch.Tensor:
        size, count = problem.size, problem.received.shape[1]
        sent = problem.symbols(at.x0[:, :size])
        number = problem.times.index(at.t) if at.t in problem.times else 0
        if self.updates == "exact" or (self.updates == "alternate" and number % 2):
            found = problem.posterior(sent)
        else:
            alpha, sigma = at.process.alpha(at.t) ** 2, at.process.sigma(at.t) ** 2
            centre = torch.view_as_complex(at.x0[:, size:].double().unflatten(1, (-1, 2)).contiguous())
            found = problem.posterior(sent, centre, sigma / (alpha + sigma))
        gain = torch.view_as_real(problem.gains.response(found.mean, count)).to(at.x0)
        unsure = problem.gains.unsure(found, count)
        power = sent.double().square().sum(2)
        scale = (2.0 / (problem.noise.double()[:, None] + unsure * power)).sqrt().to(at.x0)[..., None]

        def heard_of(rows: torch.Tensor) -> torch.Tensor:
            return (scale * faded(problem.symbols(rows[:, :size]), gain)).flatten(1)

        seen = Measurement((scale * problem.received).flatten(1), Retained(heard_of), 1.0)
        moved = self.likelihood.correct(at, seen)
        taps = torch.view_as_real(found.mean).flatten(1).to(at.x0)
        return torch.cat([moved[:, :size], taps], dim=1)
