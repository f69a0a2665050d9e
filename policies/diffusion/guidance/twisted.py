"""Twisted sequential Monte Carlo: guided samples, weighted so that the guidance's error cancels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from envs.errors import ConfigError
from policies.diffusion import GUIDANCE
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Guidance
from policies.diffusion.operators import Linear, Measurement
from policies.diffusion.solvers import Step
from policies.diffusion.solvers.ancestral import posterior

if TYPE_CHECKING:
    from policies.diffusion.sampling import Sampler


@GUIDANCE.register("twisted")
class Twisted(Guidance):
    """Moment matching as the proposal of a particle filter; exact for any prior as populations grow.

    Consecutive rows form populations of one measurement each; within one, rows are resampled and thus
    depend on each other (samples repeat), never on other populations. Owns its run, on ancestral steps;
    linear measurements only, with one backward pass for every number measured.
    Reference: Wu et al., "Practical and asymptotically exact conditional sampling in diffusion models",
    2023, algorithm 1, with the twisting function of Boys et al. 2023 instead of DPS's.
    """

    population: int = Field(100, ge=2, description="rows that form one particle population")
    threshold: float = Field(
        0.5, gt=0.0, le=1.0, description="resample below this share of effective particles"
    )

    @property
    def needs_gradient(self) -> bool:
        return True

    def correct(self, at: Estimate, problem: Measurement) -> torch.Tensor:
        return at.x0

    def run(self, sampler: Sampler, problem: Measurement, x: torch.Tensor) -> torch.Tensor:
        if not isinstance(problem.operator, Linear):
            raise ConfigError(
                "guidance.twisted needs a linear operator, got a nonlinear one (use moment or daps)"
            )
        if len(x) % self.population:
            raise ConfigError(
                f"guidance.twisted.population must divide the {len(x)} rows, got {self.population} (rows a measurement)"
            )
        process, times = sampler.process, sampler.times
        log_weight = x.new_zeros(len(x))
        at, twist, shift = self._look(sampler, problem, x, 0)
        log_weight = log_weight + twist
        for k, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
            x, at, twist, shift = self._resample(sampler, k, log_weight, x, at, twist, shift)
            log_weight = torch.where(self._poor(log_weight), torch.zeros_like(log_weight), log_weight)
            if process.sigma(s) == 0.0:
                x = at
                fit = problem.residual(x) / problem.noise
                final = -0.5 * fit.square().sum(1) - fit.shape[1] * math.log(problem.noise)
                log_weight = log_weight + final - twist
                break
            step = Step(process, sampler.denoise, k, t, s, x, at, None, lambda draw: sampler.noise(0, draw))
            mean, variance = posterior(step)
            _, var_step = process.transition(s, t)
            carried = process.alpha(s) * var_step / process.sigma(t) ** 2
            moved = carried * shift
            noise = variance**0.5 * sampler.noise(k)
            x = mean + moved + noise
            # log p(x_s | x_t) − log q(x_s | x_t, y) of two Gaussians of one variance.
            log_weight = (
                log_weight - (moved * (moved + 2.0 * noise)).flatten(1).sum(1) / (2.0 * variance) - twist
            )
            at, twist, shift = self._look(sampler, problem, x, k + 1)
            log_weight = log_weight + twist
        return x[self._ancestors(sampler, len(times), log_weight)]

    def _look(
        self, sampler: Sampler, problem: Measurement, x: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x̂_0 of states at ``times[k]``, log p̃(y | x_t) [batch] and the proposal's shift of x̂_0."""
        t = sampler.times[k]
        if sampler.process.sigma(t) == 0.0:
            return x, x.new_zeros(len(x)), torch.zeros_like(x)
        at = Estimate.of(sampler.process, sampler.denoise, x, t, None, True)
        if not at.informative:
            return at.x0, x.new_zeros(len(x)), torch.zeros_like(x)
        operator, residual = problem.operator, problem.residual(at.x0)
        count = residual.shape[1]
        axes = torch.eye(count, dtype=x.dtype, device=x.device)
        columns = [at.covariance(operator.adjoint(axis.expand_as(residual), at.x0)) for axis in axes]
        seen = torch.stack([operator(column) for column in columns], dim=2)
        values, vectors = torch.linalg.eigh(0.5 * (seen + seen.mT))
        values = values.clamp_min(0.0) + problem.noise**2
        along = (vectors.mT @ residual[..., None])[..., 0]
        twist = -0.5 * (along.square() / values + values.log()).sum(1)
        weighed = (vectors @ (along / values)[..., None])[..., 0]
        shift = sum(
            weighed[:, k].reshape(-1, *([1] * (x.dim() - 1))) * column for k, column in enumerate(columns)
        )
        assert isinstance(shift, torch.Tensor)
        return at.x0, twist, shift

    def _poor(self, log_weight: torch.Tensor) -> torch.Tensor:
        """[batch], True for rows of populations whose effective size is below the threshold."""
        share = torch.softmax(log_weight.reshape(-1, self.population), dim=1)
        poor = 1.0 / share.square().sum(1) < self.threshold * self.population
        return poor.repeat_interleave(self.population)

    def _resample(
        self, sampler: Sampler, k: int, log_weight: torch.Tensor, *states: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """States with the rows of poor populations drawn anew in proportion to their weights."""
        rows = torch.arange(len(log_weight), device=log_weight.device)
        rows = torch.where(self._poor(log_weight), self._ancestors(sampler, k, log_weight), rows)
        return tuple(state[rows] for state in states)

    def _ancestors(self, sampler: Sampler, k: int, log_weight: torch.Tensor) -> torch.Tensor:
        """Systematic resampling: row numbers [batch], from one keyed uniform number a population."""
        share = torch.softmax(log_weight.reshape(-1, self.population).double(), dim=1)
        draw = sampler.noise(k, 1).flatten(1)[:: self.population, :1].double()
        offset = torch.special.ndtr(draw)
        points = (torch.arange(self.population, device=draw.device) + offset) / self.population
        picks = torch.searchsorted(share.cumsum(1), points).clamp_max(self.population - 1)
        first = torch.arange(len(picks), device=draw.device)[:, None] * self.population
        return (picks + first).flatten()
