"""Sampling: noise process × denoiser × solver × grid × guidance terms, with keyed noise.

    sampler = Sampler(process, denoise, SOLVERS.create("dpm-solver++"), grid(process, 20))
    x = sampler.draw(keys, shape, terms=[Term(GUIDANCE.create("moment"), Measurement(y, A, 0.1))])

Every number drawn comes from its row's key, so a row never depends on the batch it rides in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from envs import keyed
from envs.errors import ConfigError, RunError
from policies.diffusion import SOLVERS
from policies.diffusion.estimate import Estimate
from policies.diffusion.guidance import Guidance, Term
from policies.diffusion.operators import Measurement
from policies.diffusion.process import Process
from policies.diffusion.solvers import Callback, Denoise, Moment, Noise, Solver, no_noise

GUIDANCE_DRAWS = 1000
"""Draw numbers from here on belong to guidance terms; solvers use those below."""


@dataclass(frozen=True)
class KeyedNoise:
    """Standard normal draws per row: a function of (row's key, step, draw).

    Args:
        keys: uint64 [batch]. shape: of one row. like: gives dtype and device.
    """

    keys: NDArray[np.uint64]
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"

    def __call__(self, step: int, draw: int = 0) -> torch.Tensor:
        return self._draws(1 + step, draw)

    def initial(self) -> torch.Tensor:
        """The noise that sampling starts from."""
        return self._draws(0, 0)

    def _draws(self, *words: int) -> torch.Tensor:
        drawn = keyed.normal(self.keys, self.shape, *words)
        return torch.as_tensor(drawn, dtype=self.dtype, device=self.device)


@dataclass(frozen=True)
class Sampler:
    """How samples are drawn; immutable, so variants are made with `replace` or `guided`.

    Attributes:
        process, denoise, solver: see their modules. times: the grid, from `schedule`.
        noise: keyed draws; given by `draw`. callback: watches every step and may replace the state.
        data_variance: variance of the data, for guidance terms that do without the Jacobian.
    """

    process: Process
    denoise: Denoise
    solver: Solver
    times: list[float]
    noise: Noise = no_noise
    callback: Callback | None = None
    data_variance: float = 1.0

    def draw(
        self,
        keys: NDArray[np.uint64],
        shape: tuple[int, ...],
        terms: Sequence[Term] = (),
        *,
        start: torch.Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> torch.Tensor:
        """One sample per key.

        Args:
            keys: uint64 [batch]. shape: of one sample.
            terms: guidance; corrections are applied in this order.
            start: [batch, *shape], a clean guess that is noised to ``times[0]`` (SDEdit, warm start);
                without it sampling starts from noise.

        Returns:
            [batch, *shape].

        Raises:
            ConfigError: a start of another shape or not finite, or terms that cannot be combined.
            RunError: a sample is not finite; the message names its row.

        Reference for ``start``: Meng et al., "SDEdit", 2022, algorithm 1.
        """
        noise = KeyedNoise(np.asarray(keys, np.uint64), shape, dtype, device)
        t = self.times[0]
        x = noise.initial()
        scale = self.process.sigma(t)
        if start is None:
            x = scale * x
        else:
            if start.shape != x.shape:
                raise ConfigError(f"start must have shape {tuple(x.shape)}, got {tuple(start.shape)}")
            if not bool(torch.isfinite(start).all()):
                raise ConfigError(
                    "start must be finite, got NaN or inf (the guess that sampling starts from)"
                )
            x = self.process.alpha(t) * start.to(x) + scale * x
        with torch.no_grad():
            x = replace(self, noise=noise).run(x, terms)
        bad = ~torch.isfinite(x).flatten(1).all(1)
        if bool(bad.any()):
            rows = bad.nonzero().flatten().tolist()
            raise RunError(
                f"sampling produced NaN or inf in rows {rows[:8]} of {len(x)} (check their conditions)"
            )
        return x

    def run(self, x: torch.Tensor, terms: Sequence[Term] = ()) -> torch.Tensor:
        """The sample that the state ``x`` at ``times[0]`` leads to."""
        for term in terms:
            wanted = term.guidance.requires_solver
            if wanted is not None and not isinstance(self.solver, SOLVERS.get(wanted)):
                raise ConfigError(
                    f"solver must be {wanted!r} with {type(term.guidance).__name__}, got {type(self.solver).__name__}"
                )
            if isinstance(term.problem, Measurement):
                term.problem.operator.check(x, term.problem.y)
        owners = [term for term in terms if term.guidance.owns_run]
        if len(owners) > 1:
            names = ", ".join(type(term.guidance).__name__ for term in owners)
            raise ConfigError(f"terms may hold one method that owns its transitions, got {names}")
        sampler = self._guided([term for term in terms if term not in owners])
        if owners:
            return owners[0].guidance.run(sampler, owners[0].problem, x)
        return self.solver.solve(
            self.process, sampler.denoise, x, self.times, sampler.noise, sampler.callback
        )

    def _guided(self, terms: list[Term]) -> Sampler:
        """This sampler with terms folded into its denoiser and callback."""
        if not terms:
            return self
        noise, callback = self.noise, self.callback

        def after(moment: Moment) -> torch.Tensor | None:
            put = None
            for number, term in enumerate(terms, 1):
                draw = partial(noise, moment.k, GUIDANCE_DRAWS - number)
                answer = term.guidance.after(moment, term.problem, draw)
                if answer is not None:
                    put, moment = answer, replace(moment, x=answer)
            answer = callback(moment) if callback is not None else None
            return put if answer is None else answer

        watched = any(type(term.guidance).after is not Guidance.after for term in terms)
        denoise = guide(self.process, self.denoise, terms, self.times, noise, self.data_variance)
        return replace(self, denoise=denoise, callback=after if watched else callback)


def guide(
    process: Process,
    denoise: Denoise,
    terms: Sequence[Term],
    times: Sequence[float] = (),
    noise: Noise | None = None,
    data_variance: float = 1.0,
) -> Denoise:
    """``denoise`` with the corrections of guidance terms, one after the other; what solvers call.

    Args:
        times: the solver's grid, for terms whose published step depends on it.
        noise: for terms that draw.
    """
    following = dict(zip(times[:-1], times[1:], strict=True)) if times else {}
    gradient = any(term.guidance.needs_gradient for term in terms)
    evaluations = 0

    def corrected(x: torch.Tensor, t: float) -> torch.Tensor:
        nonlocal evaluations
        number, evaluations = evaluations, evaluations + 1
        fresh: Callable[[int], torch.Tensor] | None = None
        if noise is not None:
            fresh = lambda draw: noise(number, GUIDANCE_DRAWS + draw)  # noqa: E731
        at = Estimate.of(process, denoise, x, t, following.get(t), gradient, data_variance, fresh)
        for term in terms:
            at = at.with_clean(term.guidance.correct(at, term.problem))
        return at.x0

    return corrected
