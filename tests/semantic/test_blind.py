"""Gains that are found with the image: against exact posteriors and the estimate that knows the symbols."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agentsc.semantic import DECODERS
from agentsc.semantic.channel import SymbolChannel
from agentsc.semantic.receiver import Receiver, arrival_of
from envs import keyed
from policies.core import DiffusionCore
from policies.diffusion import GUIDANCE, SOLVERS
from policies.diffusion.compose import joint
from policies.diffusion.exact import GaussianPrior
from policies.diffusion.guidance import Term
from policies.diffusion.process.cosine import CosineVP
from policies.diffusion.sampling import KeyedNoise, Sampler
from policies.diffusion.schedule import grid
from policies.scene.blind import BlindChannel, BlindReception, Gains
from policies.scene.codec import LinearCodec
from policies.scene.model import Arrival, CodecModel, ImageModel

SHAPE, DIM, SYMBOLS = (3, 2, 2), 12, 96
SHARED = 0.96
"""Share of the symbols' energy that all images have in common."""
ROWS = 96


def draws(name: str, *shape: int) -> torch.Tensor:
    return torch.as_tensor(keyed.normal(keyed.hash_words(keyed.stream_id(name), np.arange(1)), shape)[0])


def known(count: int, length: int) -> torch.Tensor:
    """Symbols of energy 1, complex [count, length]."""
    angle = 2.0 * np.pi * keyed.uniform(7, np.arange(count)[:, None], np.arange(length))
    return torch.polar(torch.ones(count, length, dtype=torch.float64), torch.as_tensor(angle))


def pairs(values: np.ndarray) -> np.ndarray:
    return np.stack([values.real, values.imag], axis=-1).astype(np.float32)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
@pytest.mark.parametrize(
    "spec", ["rayleigh:snr_db={}", "rician:snr_db={},k_db=3", "ofdm:snr_db={},taps=4,subcarriers=8"]
)
def test_with_known_symbols_gains_are_the_exact_least_squared_error_estimate(spec: str, snr_db: float) -> None:
    length, count = 16, 3000
    sent = known(count, length)
    heard = SymbolChannel(spec.format(snr_db), 3, csi="unknown").send(sent.numpy())
    belief = heard.belief
    gains = Gains(torch.as_tensor(pairs(belief.mean)), torch.as_tensor(belief.variance), belief.carriers)
    level = torch.as_tensor(heard.true_noise)[:, None].expand(count, length)
    found = gains.posterior(torch.as_tensor(heard.received), sent, level)
    error = (gains.response(found.mean, length) - torch.tensor(heard.true_gain)).abs().square().mean()
    # Independent subcarriers' worth of symbols of energy 1: each tap is seen with noise N0/n.
    noise = heard.true_noise[0] / length
    exact = (belief.variance[0] * noise / (belief.variance[0] + noise)).sum()
    assert float(error) == pytest.approx(exact, rel=0.06)
    assert float(gains.unsure(found, length).mean()) == pytest.approx(exact, rel=1e-6), "and it knows its error"


@pytest.mark.parametrize("spec", ["rayleigh:snr_db=5", "ofdm:snr_db=5,taps=4,subcarriers=8"])
def test_pilots_count_as_far_as_there_are_any(spec: str) -> None:
    """What the pilots leave open is the prior of what the symbols then say: both together are as many pilots."""
    length, count, pilots = 16, 3000, 2
    sent = known(count, length)
    heard = SymbolChannel(spec, 3, csi="mmse", pilots=pilots).send(sent.numpy())
    belief = heard.belief
    gains = Gains(torch.as_tensor(pairs(belief.mean)), torch.as_tensor(belief.variance), belief.carriers)
    nothing = torch.zeros(count, gains.taps, dtype=torch.complex128)
    assert np.allclose(gains.response(nothing, length), heard.gain, atol=1e-6), "before, they are what pilots say"
    level = torch.as_tensor(heard.true_noise)[:, None].expand(count, length)
    found = gains.posterior(torch.as_tensor(heard.received), sent, level)
    error = (gains.response(found.mean, length) - torch.tensor(heard.true_gain)).abs().square().mean()
    power = SymbolChannel(spec, 3, csi="unknown").send(sent[:1].numpy()).belief.variance[0]
    noise = heard.true_noise[0] / (length + pilots * belief.carriers)
    assert float(error) == pytest.approx((power * noise / (power + noise)).sum(), rel=0.06)


def test_the_priors_step_is_tweedies_of_unit_data() -> None:
    process = CosineVP()
    gains = Gains(torch.zeros(5, 3, 2), torch.rand(5, 3), 8)
    exact = GaussianPrior(torch.zeros(6), torch.eye(6)).denoiser(process)
    u = draws("state", 5, 6)
    for t in (0.1, 0.5, 0.9):
        assert torch.allclose(gains.denoiser(process)(u, t), exact(u, t), atol=1e-6)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_diffused_gains_are_draws_from_their_posterior(snr_db: float) -> None:
    """With known symbols; a wrong step of the prior (or a missing root) would show in mean and spread."""
    count, length, noise = 1500, 4, 10.0 ** (-0.1 * snr_db)
    sent = known(1, length).expand(count, length)
    gains = Gains(torch.zeros(count, 1, 2), torch.ones(count, 1), 1)
    received = torch.complex(*(torch.full((count, length), value, dtype=torch.float64) for value in (0.9, -0.4))) * sent
    process = CosineVP()
    times = grid(process, 40, "log-snr", start=process.time_of(30.0), last_ratio=0.01)
    point = GaussianPrior(torch.zeros(2), 1e-9 * torch.eye(2))
    level = torch.full((count,), noise)
    problem = BlindReception(
        torch.view_as_real(received).float(),
        lambda x: torch.view_as_real(sent).float() + 0.0 * x[:, :1, None],
        gains, level, 2, times,
    )  # fmt: skip
    both = joint([(point.denoiser(process), (2,)), (gains.denoiser(process), (2,))])
    draw = KeyedNoise(keyed.hash_words(3, np.arange(count)), (4,))
    sampler = Sampler(process, both, SOLVERS.parse("dpm-solver++"), times, draw)
    term = Term(BlindChannel(likelihood=GUIDANCE.parse("pigdm"), updates="diffused"), problem)
    with torch.no_grad():
        state = sampler.run(process.sigma(times[0]) * draw.initial(), [term])
    found = gains.response(torch.view_as_complex(state[:, 2:].double().contiguous())[:, None], 1)[:, 0]
    trust = length / (length + noise)
    spread = noise / (length + noise)
    assert abs(complex(found.mean()) - trust * complex(0.9, -0.4)) < 4.0 * math.sqrt(spread / count) + 0.01
    assert float((found - found.mean()).abs().square().mean()) == pytest.approx(spread, rel=0.12)


class Posed:
    """Many images of a linear code with a shared part, each through a gain of its own that nobody knows."""

    def __init__(self, snr_db: float) -> None:
        root = draws("root", DIM, DIM) / math.sqrt(DIM)
        self.prior = GaussianPrior(torch.zeros(DIM), 0.04 * root @ root.T + 0.004 * torch.eye(DIM), SHAPE)
        matrix, offset = draws("code", 2 * SYMBOLS, DIM), draws("offset", 2 * SYMBOLS)
        energy = torch.trace(matrix @ self.prior.covariance() @ matrix.T)
        offset = offset * (energy * SHARED / (1.0 - SHARED)).sqrt() / offset.norm()
        self.codec = LinearCodec(matrix, torch.zeros(DIM), self.prior.covariance(), SHAPE, offset)
        process = CosineVP()
        variance = float(self.prior.covariance().diagonal().mean())
        models = {
            "jscc": CodecModel(self.codec),
            "scene-prior": ImageModel(self.prior.denoiser(process), process, self.codec, data_variance=variance),
        }
        examples = self.prior.sample(keyed.hash_words(8, np.arange(256))).numpy()
        self.receiver = Receiver(DiffusionCore(models), self.codec, examples)
        self.x = self.prior.sample(keyed.hash_words(5, np.arange(ROWS)))
        self.sent = self.receiver.encode(self.x.numpy(), snr_db, SYMBOLS)
        # Energy 1 holds on average here, so the channel is given gains and noise itself.
        heard = SymbolChannel(f"rayleigh:snr_db={snr_db}", 2, csi="unknown").send(np.ones((ROWS, SYMBOLS)))
        self.gain, self.noise = heard.true_gain[:, 0], float(heard.true_noise[0])
        self.received = self.gain[:, None] * self.sent + heard.received - heard.true_gain
        seen = arrival_of(heard, snr_db)
        self.arrival = Arrival(pairs(self.received), seen.gain, seen.noise_variance, seen.snr_db, seen.echoes)

    def error(self, gain: np.ndarray) -> float:
        return float(np.mean(np.abs(gain - self.gain) ** 2))

    def with_symbols(self) -> np.ndarray:
        """The least squared error estimate that knows the symbols."""
        matched = (self.sent.conj() * self.received).sum(1)
        return matched / ((np.abs(self.sent) ** 2).sum(1) + self.noise)

    def exact(self) -> np.ndarray:
        """E[g | y], by quadrature about the estimate that knows the symbols."""
        covariance = (self.codec.matrix @ self.prior.covariance() @ self.codec.matrix.T).double()
        values, basis = torch.linalg.eigh(covariance)
        middle = self.with_symbols()
        reach = 6.0 * math.sqrt(1.3 * self.noise / (SYMBOLS + self.noise))
        line = np.linspace(-reach, reach, 41)
        offsets = (line[:, None] + 1j * line).ravel()
        made = np.zeros(ROWS, complex)
        for row in range(ROWS):
            g = middle[row] + offsets
            turned = torch.as_tensor(pairs(self.received[row] / g[:, None])).double().flatten(1)
            away = (turned - self.codec.offset.double()) @ basis
            spread = values.clamp_min(0.0) + torch.as_tensor(0.5 * self.noise / np.abs(g) ** 2)[:, None]
            fit = -0.5 * (away.square() / spread + spread.log()).sum(1).numpy()
            log = fit - 2.0 * SYMBOLS * np.log(np.abs(g)) - np.abs(g) ** 2
            weight = np.exp(log - log.max())
            made[row] = (weight * g).sum() / weight.sum()
        return made


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_blind_gains_are_within_a_tenth_of_the_exact_estimate_with_known_symbols(snr_db: float) -> None:
    posed = Posed(snr_db)
    bound, exact = posed.error(posed.with_symbols()), posed.error(posed.exact())
    keys = keyed.hash_words(1, np.arange(ROWS))
    for updates in ("exact", "diffused", "alternate"):
        decoder = DECODERS.parse(f"blind-diffcom:gains={updates},steps=8,iterations=6,samples=4")
        found = decoder.decode(posed.receiver, posed.arrival, keys)
        assert found.gain is not None
        error = posed.error(found.gain[:, 0])
        assert error <= 1.1 * bound, f"{updates}: {error / bound:.3f} × the error with known symbols"
        assert error <= 1.1 * exact, f"{updates}: {error / exact:.3f} × the exact posterior mean's"
