"""What a network may predict, and exact conversions between the predictions.

With x = α x_0 + σ ε the five targets carry the same information wherever σ > 0:

=============  =====================================================  ==========================
``x0``         the clean data                                          x̂_0
``epsilon``    the noise                                               (x − α x̂_0)/σ
``v``          v = α ε − σ x_0                                         Salimans and Ho 2022
``velocity``   dx/dt along the conditional path, α' x_0 + σ' ε         Lipman et al. 2023
``edm``        F with D = c_skip x̄ + c_out F, x̄ = x/α, σ̄ = σ/α         Karras et al. 2022, table 1
=============  =====================================================  ==========================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch

from envs.errors import ConfigError
from policies.diffusion.process import Process

Target = Literal["x0", "epsilon", "v", "velocity", "edm"]
TARGETS: tuple[Target, ...] = ("x0", "epsilon", "v", "velocity", "edm")


def to_clean(
    target: Target, output: torch.Tensor, x: torch.Tensor, process: Process, t: float, sigma_data: float = 1.0
) -> torch.Tensor:
    """The clean estimate that a network's output stands for.

    Args:
        target: what the network predicts. output, x: [batch, …].
        sigma_data: standard deviation of the data, for ``edm``.

    Raises:
        ConfigError: an unknown target.
    """
    alpha, sigma = process.alpha(t), process.sigma(t)
    if target == "x0":
        return output
    if target == "epsilon":
        return (x - sigma * output) / alpha
    if target == "v":
        return (alpha * x - sigma * output) / (alpha * alpha + sigma * sigma)
    if target == "velocity":
        alpha_rate, sigma_rate = process.rates(t)
        # x = α x_0 + σ ε and u = α' x_0 + σ' ε, solved for x_0.
        return (sigma_rate * x - sigma * output) / (sigma_rate * alpha - sigma * alpha_rate)
    if target == "edm":
        skip, out, _, _ = preconditioning(process, t, sigma_data)
        return skip * x + out * output
    raise _unknown(target)


def from_clean(
    target: Target, x0: torch.Tensor, x: torch.Tensor, process: Process, t: float, sigma_data: float = 1.0
) -> torch.Tensor:
    """Inverse of `to_clean`: what the network would have had to say. Needs σ(t) > 0 but for ``x0``."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    if target == "x0":
        return x0
    epsilon = (x - alpha * x0) / sigma
    if target == "epsilon":
        return epsilon
    if target == "v":
        return alpha * epsilon - sigma * x0
    if target == "velocity":
        alpha_rate, sigma_rate = process.rates(t)
        return alpha_rate * x0 + sigma_rate * epsilon
    if target == "edm":
        skip, out, _, _ = preconditioning(process, t, sigma_data)
        return (x0 - skip * x) / out
    raise _unknown(target)


def preconditioning(process: Process, t: float, sigma_data: float = 1.0) -> tuple[float, float, float, float]:
    """(skip, out, in, noise) with x̂_0 = skip · x + out · F(in · x, noise), finite at pure noise too.

    These are c_skip, c_out, c_in and c_noise of EDM for x/α and σ/α, multiplied out so that x itself
    enters: F sees inputs of unit variance and has targets of unit variance.

    Reference: Karras et al. 2022, table 1, last column.
    """
    alpha, sigma = process.alpha(t), process.sigma(t)
    norm = sigma * sigma + alpha * alpha * sigma_data * sigma_data
    root = math.sqrt(norm)
    noise = 0.25 * math.log(max(sigma, 1e-12) / max(alpha, 1e-12))
    return alpha * sigma_data * sigma_data / norm, sigma * sigma_data / root, 1.0 / root, noise


def denoiser(
    network: Callable[[torch.Tensor, float], torch.Tensor],
    target: Target,
    process: Process,
    sigma_data: float = 1.0,
) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """``denoise(x, t) → x̂_0`` of a network that predicts ``target``.

    Args:
        network: (input [batch, …], t) → output of that shape; with ``edm`` it is given c_in x and c_noise.
    """
    if target not in TARGETS:
        raise _unknown(target)

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        if target != "edm":
            return to_clean(target, network(x, t), x, process, t)
        skip, out, scale, noise = preconditioning(process, t, sigma_data)
        return skip * x + out * network(scale * x, noise)

    return denoise


def _unknown(target: object) -> ConfigError:
    return ConfigError(
        f"target must be one of {', '.join(TARGETS)}, got {target!r} (what the network predicts)"
    )
