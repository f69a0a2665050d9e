"""Solvers against diffusers' schedulers: the same network, the same noise, the same levels.

A variance-preserving schedule is fixed by its noise-to-signal ratios, so their discrete schedule is a grid of
times on our process. As shipped their tables are float32; with the tables made double what remains is rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from policies.diffusion import PROCESSES, SOLVERS
from policies.diffusion.parameterisation import denoiser
from policies.diffusion.solvers import Denoise

diffusers = pytest.importorskip("diffusers")
STEPS, SHAPE = 20, (16, 3, 4)
SCHEDULES = ["linear", "scaled_linear", "squaredcos_cap_v2"]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES)
every_precision = pytest.mark.parametrize("double", [False, True], ids=["as shipped", "double tables"])
VP, VE = PROCESSES.create("vp-cosine"), PROCESSES.create("ve", sigma_max=1e6)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(x: torch.Tensor, log_snr: float) -> torch.Tensor:
    """A fixed random network that predicts noise; its clean estimates stay of the order of 1 at any level."""
    first, second = normal(1, 13, 32) / 4.0, normal(2, 32, 12) / 4.0
    level = torch.full((len(x), 1), log_snr / 5.0, dtype=torch.float64)
    hidden = torch.tanh(torch.cat([x.flatten(1), level], dim=1) @ first)
    kept = 1.0 / (1.0 + math.exp(-2.0 * log_snr))
    return (math.sqrt(1.0 - kept) * x.flatten(1) + math.sqrt(kept) * hidden @ second).reshape(x.shape)


OURS: Denoise = denoiser(lambda x, t: network(x, VP.log_snr(t)), "epsilon", VP)


def scheduler(name: str, schedule: str, double: bool, **options: Any) -> Any:
    # "leading" starts at 95 % of their chain: at its very end the cosine schedule keeps α = 5e-5 of the data, and
    # in float32 a clean estimate from predicted noise, (x − σ ε)/α, has three digits left.
    made = getattr(diffusers, name)(
        num_train_timesteps=1000, beta_schedule=schedule, timestep_spacing="leading", **options
    )
    if double:
        made.alphas_cumprod = made.alphas_cumprod.double()
    made.set_timesteps(STEPS)
    return made


def ratio(scheduler: Any, step: int) -> float:
    """Their σ/α at a training step."""
    kept = float(scheduler.alphas_cumprod[step])
    return math.sqrt((1.0 - kept) / kept)


def theirs(
    scheduler: Any, x: torch.Tensor, step: Callable[[torch.Tensor, Any, torch.Tensor, int], Any]
) -> torch.Tensor:
    for k, t in enumerate(scheduler.timesteps):
        x = step(network(x, -math.log(ratio(scheduler, int(t)))), t, x, k)
    return x


def times_of(scheduler: Any) -> list[float]:
    return [*(VP.time_of(ratio(scheduler, int(t))) for t in scheduler.timesteps), 0.0]


def noise(step: int, draw: int = 0) -> torch.Tensor:
    return normal(100 + step, *SHAPE)


def gap(one: torch.Tensor, other: torch.Tensor, what: str, record: Callable[[str, object], None]) -> float:
    """Largest difference, in units of the sample's scale; printed with -s and kept in the report."""
    found = float((one - other).abs().max() / other.std())
    record(what, found)
    print(f"{what}: largest difference {found:.1e}")
    return found


@every_schedule
@every_precision
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_agrees(schedule: str, double: bool, eta: float, record_property: Any) -> None:
    peer = scheduler("DDIMScheduler", schedule, double, clip_sample=False)
    peer.final_alpha_cumprod = torch.tensor(1.0)
    x = normal(0, *SHAPE)
    wanted = theirs(
        peer, x, lambda out, t, x, k: peer.step(out, t, x, eta=eta, variance_noise=noise(k)).prev_sample
    )
    got = SOLVERS.create("ddim", eta=eta).solve(VP, OURS, x, times_of(peer), noise)
    what = f"DDIM, {schedule}, eta {eta}, {'double' if double else 'as shipped'}"
    assert gap(got, wanted, what, record_property) < (1e-10 if double else 2e-6)


@every_schedule
@every_precision
def test_ancestral_sampling_agrees_with_ddpm(
    schedule: str, double: bool, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = scheduler("DDPMScheduler", schedule, double, clip_sample=False)
    peer.one = torch.tensor(1.0, dtype=torch.float64)
    drawn: list[torch.Tensor] = []
    module = __import__("diffusers.schedulers.scheduling_ddpm", fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: drawn[-1])

    def step(out: torch.Tensor, t: Any, x: torch.Tensor, k: int) -> torch.Tensor:
        drawn.append(noise(k))
        made: torch.Tensor = peer.step(out, t, x).prev_sample
        return made

    x = normal(0, *SHAPE)
    wanted = theirs(peer, x, step)
    got = SOLVERS.create("ancestral").solve(VP, OURS, x, times_of(peer), noise)
    what = f"DDPM, {schedule}, {'double' if double else 'as shipped'}"
    # Their β = 1 − ᾱ_t/ᾱ_s is a difference in float32, which loses digits where little noise is added.
    assert gap(got, wanted, what, record_property) < (1e-10 if double else 1e-5)


@every_schedule
@pytest.mark.parametrize("karras", [False, True], ids=["even steps", "karras"])
def test_dpm_solver_agrees(schedule: str, karras: bool, record_property: Any) -> None:
    """Their step computes in float32 whatever it is given, so there is no variant in double."""
    peer = scheduler(
        "DPMSolverMultistepScheduler", schedule, False, algorithm_type="dpmsolver++", solver_order=2,
        solver_type="midpoint", lower_order_final=False, final_sigmas_type="zero", use_karras_sigmas=karras,
    )  # fmt: skip
    # Karras levels share training steps on the cosine schedule; without this they look their place up by them.
    peer.set_begin_index(0)
    levels = peer.sigmas[:-1].tolist()
    x = normal(0, *SHAPE)
    wanted = x
    for level, t in zip(levels, peer.timesteps, strict=True):
        wanted = peer.step(network(wanted, -math.log(level)), t, wanted).prev_sample
    times = [*(VP.time_of(level) for level in levels), 0.0]
    got = SOLVERS.create("dpm-solver++").solve(VP, OURS, x, times)
    what = f"DPM-Solver++(2M), {schedule}, {'karras' if karras else 'even steps'}"
    assert gap(got, wanted, what, record_property) < 2e-6


@every_schedule
def test_ddim_on_the_exploding_process_is_their_euler(schedule: str, record_property: Any) -> None:
    """Euler's method in σ on x/α: DDIM knows no scale of the state."""
    peer = scheduler("EulerDiscreteScheduler", schedule, False)
    peer.sigmas = peer.sigmas.double()
    levels, x = peer.sigmas[:-1].tolist(), float(peer.sigmas[0]) * normal(0, *SHAPE)
    wanted = x
    for level, t in zip(levels, peer.timesteps, strict=True):
        scaled = wanted / math.sqrt(1.0 + level**2)
        torch.testing.assert_close(peer.scale_model_input(wanted, t), scaled)
        wanted = peer.step(network(scaled, -math.log(level)), t, wanted).prev_sample

    def predicted(x: torch.Tensor, t: float) -> torch.Tensor:
        level = VE.ratio(t)
        return network(x / math.sqrt(1.0 + level**2), -math.log(level))

    times = [*(VE.time_of(level) for level in levels), 0.0]
    got = SOLVERS.create("ddim").solve(VE, denoiser(predicted, "epsilon", VE), x, times)
    assert gap(got, wanted, f"Euler, {schedule}", record_property) < 2e-6
