"""Runge–Kutta methods for the probability-flow ODE in the angle φ.

With x/r = cos(φ) x_0 + sin(φ) ε and r² = α² + σ² every process obeys d(x/r)/dφ = cos(φ) ε̂ − sin(φ) x̂_0,
which is bounded at both ends and zero for standard normal data; no process needs a clipped end.
Reference: Song et al. 2021, eq. 13; Salimans and Ho, "Progressive distillation", 2022, appendix D.
"""

from __future__ import annotations

import math

import torch

from policies.diffusion import SOLVERS
from policies.diffusion.process import Process
from policies.diffusion.solvers import Solver, Step


def _radius(process: Process, t: float) -> float:
    return math.hypot(process.alpha(t), process.sigma(t))


def _slope(process: Process, x: torch.Tensor, x0: torch.Tensor, t: float) -> torch.Tensor:
    """d(x/r)/dφ at time ``t``."""
    angle = process.angle(t)
    return math.cos(angle) * process.epsilon(x, x0, t) - math.sin(angle) * x0


@SOLVERS.register("heun")
class Heun(Solver):
    """Heun's method on the probability-flow ODE with a DDIM predictor (order 2, two calls a step).

    Reference: Karras et al. 2022, algorithm 1, which is this in σ instead of φ.
    """

    def step(self, at: Step) -> torch.Tensor:
        process, t, s = at.process, at.t, at.s
        guess = at.ddim()
        first = _slope(process, at.x, at.x0, t)
        second = _slope(process, guess, at.denoise(guess, s), s)
        turn = process.angle(s) - process.angle(t)
        return _radius(process, s) * (at.x / _radius(process, t) + 0.5 * turn * (first + second))


@SOLVERS.register("rk4")
class RungeKutta4(Solver):
    """The classical Runge–Kutta method on the probability-flow ODE (order 4, four calls a step).

    Reference: long seed paper, section III-A.3 (b).
    """

    def step(self, at: Step) -> torch.Tensor:
        process, t, s = at.process, at.t, at.s
        turn = process.angle(s) - process.angle(t)
        middle = process.time_at_angle(process.angle(t) + 0.5 * turn)
        start = at.x / _radius(process, t)

        def slope(unit: torch.Tensor, time: float) -> torch.Tensor:
            x = _radius(process, time) * unit
            return _slope(process, x, at.denoise(x, time), time)

        k1 = _slope(process, at.x, at.x0, t)
        k2 = slope(start + 0.5 * turn * k1, middle)
        k3 = slope(start + 0.5 * turn * k2, middle)
        k4 = slope(start + turn * k3, s)
        return _radius(process, s) * (start + turn / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4))
