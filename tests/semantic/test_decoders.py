"""Every decoder where the posterior is known: linear codes, Gaussian and mixture priors. And their conformance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agentsc.semantic import DECODERS, quality
from agentsc.semantic.channel import SymbolChannel
from agentsc.semantic.receiver import Receiver, arrival_of
from envs import keyed
from policies import rows
from policies.core import DiffusionCore
from policies.diffusion.distances import energy_distance, gaussian_wasserstein
from policies.diffusion.exact import GaussianMixturePrior, GaussianPrior
from policies.diffusion.operators import Linear
from policies.diffusion.process.cosine import CosineVP
from policies.scene.codec import LinearCodec
from policies.scene.model import Arrival, CodecModel, Echoes, ImageModel
from policies.scene.refine import RefineModel

SHAPE, DIM, SYMBOLS, SNR_DB = (3, 2, 2), 12, 3, 6.0
DRAWN = 1500


def noise(name: str, *shape: int) -> torch.Tensor:
    return torch.as_tensor(keyed.normal(keyed.hash_words(keyed.stream_id(name), np.arange(1)), shape)[0])


def correlated() -> GaussianMixturePrior:
    root = noise("root", DIM, DIM) / math.sqrt(DIM)
    return GaussianPrior(0.1 * noise("middle", DIM), 0.04 * root @ root.T + 0.004 * torch.eye(DIM), SHAPE)


def white() -> GaussianMixturePrior:
    return GaussianPrior(torch.zeros(DIM), 0.04 * torch.eye(DIM), SHAPE)


def modes() -> GaussianMixturePrior:
    spread = 0.004 * torch.eye(DIM).expand(4, DIM, DIM)
    return GaussianMixturePrior(torch.tensor([0.4, 0.3, 0.2, 0.1]), 0.25 * noise("modes", 4, DIM), spread, SHAPE)


class Posed:
    """One image, sent once with fading; the receiver draws many images given what arrived."""

    def __init__(self, prior: GaussianMixturePrior) -> None:
        self.prior = prior
        mean, covariance = prior.mean(), prior.covariance()
        self.codec = LinearCodec(noise("code", 2 * SYMBOLS, DIM), mean, covariance, SHAPE)
        process = CosineVP()
        variance = float(covariance.diagonal().mean())
        models = {
            "jscc": CodecModel(self.codec),
            "scene-prior": ImageModel(prior.denoiser(process), process, self.codec, data_variance=variance),
        }

        def refine(r: torch.Tensor, t: float, *known: torch.Tensor) -> torch.Tensor:
            # What the least squared error leaves is known exactly, too, where all is Gaussian.
            left = GaussianPrior(torch.zeros(DIM), self.exact.covariance(), SHAPE)
            return left.clean(r, process.alpha(t), process.sigma(t))

        models["conditional"] = RefineModel(refine, process, self.codec, math.sqrt(variance))
        core = DiffusionCore(models, max_rows=4096)
        self.receiver = Receiver(core, self.codec, prior.sample(keyed.hash_words(6, np.arange(64))).numpy())
        image = prior.sample(keyed.hash_words(5, np.arange(1)))
        sent = self.receiver.encode(image.numpy(), SNR_DB, SYMBOLS)
        # Energy 1 holds on average here, so the channel is given gains and noise itself.
        channel = SymbolChannel(f"rayleigh:snr_db={SNR_DB}", 2)
        heard = channel.send(np.ones((1, SYMBOLS)))
        gain, level = heard.gain, float(heard.noise_variance[0])
        received = gain * sent + (heard.received - gain)
        pairs = [np.stack([v.real, v.imag], -1).astype(np.float32) for v in (received, gain)]
        levels = np.full(1, level, np.float32)
        echoes = Echoes(pairs[1][:, :1], np.zeros((1, 1), np.float32), levels)  # one gain, which is known
        self.one = Arrival(*pairs, levels, np.full(1, SNR_DB, np.float32), echoes)
        # y = G (M (x − mean)) as real numbers, G the gains as rotations and scalings.
        turn = torch.zeros(2 * SYMBOLS, 2 * SYMBOLS)
        for k, g in enumerate(gain[0]):
            turn[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = torch.tensor([[g.real, -g.imag], [g.imag, g.real]])
        matrix = turn @ self.codec.matrix
        y = torch.as_tensor(pairs[0]).flatten() + matrix @ mean
        self.exact = prior.posterior(y, Linear(matrix), math.sqrt(0.5 * level))

    def draw(self, decoder: str, count: int = DRAWN, stream: int = 1) -> torch.Tensor:
        arrival = rows.take(self.one, np.zeros(count, np.intp))
        decoded = DECODERS.parse(decoder).decode(self.receiver, arrival, keyed.hash_words(stream, np.arange(count)))
        return torch.as_tensor(decoded.x)

    def distance(self, samples: torch.Tensor) -> float:
        flat = samples.flatten(1).double()
        exact = self.exact.mean().double(), self.exact.covariance().double()
        return gaussian_wasserstein(flat.mean(0), flat.T.cov(), *exact)

    def excess(self, samples: torch.Tensor) -> float:
        """Distance to the posterior over that of an exact set of the same size."""
        sets = [self.exact.sample(keyed.hash_words(9, k, np.arange(len(samples)))) for k in range(5)]
        floors = [self.distance(each) for each in sets]
        return self.distance(samples) / float(np.mean(floors))


@pytest.fixture(scope="module")
def gaussian() -> Posed:
    return Posed(correlated())


@pytest.fixture(scope="module")
def isotropic() -> Posed:
    return Posed(white())


@pytest.fixture(scope="module")
def mixture() -> Posed:
    return Posed(modes())


EXACT = [
    "moment:start=noise,steps=40,iterations=8,last_ratio=0.01",
    "daps:start=noise,steps=40,iterations=12,last_ratio=0.01",
    "blind-diffcom:start=noise,steps=40,iterations=8,last_ratio=0.01",  # for a gain that is known
    "conditional:steps=40,strength=3,last_ratio=0.01,stochastic=false",
    "conditional:steps=200,strength=3,last_ratio=0.01",
    "conditional-posterior:steps=8",
]
ANALOG = [name for name in DECODERS if DECODERS.create(name).analog]


@pytest.mark.parametrize("decoder", EXACT)
def test_decoders_that_know_the_covariance_sample_the_posterior(gaussian: Posed, decoder: str) -> None:
    excess = gaussian.excess(gaussian.draw(decoder))
    assert excess <= 1.2, f"{excess:.2f} × the distance of exact sets"


def test_the_variance_of_the_data_is_enough_for_white_data(isotropic: Posed) -> None:
    drawn = isotropic.draw("variance-aware:start=noise,steps=40,iterations=8")
    assert isotropic.excess(drawn) <= 1.2


def test_and_not_enough_for_others(gaussian: Posed) -> None:
    assert gaussian.excess(gaussian.draw("variance-aware:start=noise,steps=40,iterations=8")) > 1.25


def test_a_stronger_pull_fits_what_arrived_more_closely(gaussian: Posed) -> None:
    def misfit(options: str) -> float:
        drawn = gaussian.draw(f"variance-aware:steps=6{options}", 200)
        arrival = gaussian.one
        received, gain = (pair[..., 0] + 1j * pair[..., 1] for pair in (arrival.received, arrival.gain))
        return float(np.mean(np.abs(received - gain * gaussian.receiver.encode(drawn.numpy(), SNR_DB, SYMBOLS)) ** 2))

    assert misfit(",pull=8") < misfit(",pull=2") < misfit(",pull=1")
    assert misfit("") == misfit(",pull=8"), "what is drawn around the codec's image"
    assert misfit(",start=noise") == misfit(",start=noise,pull=1"), "as published"


def test_the_linear_decoder_gives_the_posterior_mean(gaussian: Posed) -> None:
    drawn = gaussian.draw("jscc", 20)
    assert torch.allclose(drawn[0].flatten(), gaussian.exact.mean(), atol=1e-4)
    assert torch.equal(drawn, drawn[:1].expand_as(drawn)), "nothing is random about it"


def test_the_mean_of_samples_tends_to_the_posterior_mean(gaussian: Posed) -> None:
    spec = EXACT[0] + ",samples={}"
    one, sixteen = (gaussian.draw(spec.format(n), 60).flatten(1) - gaussian.exact.mean() for n in (1, 16))
    share = float(sixteen.square().mean() / one.square().mean())
    assert 0.5 / 16 < share < 2.0 / 16


@pytest.mark.parametrize("decoder", [EXACT[0], EXACT[1], EXACT[3], EXACT[5]])
def test_draws_spread_as_far_as_the_truth_is_from_their_mean(gaussian: Posed, decoder: str) -> None:
    count = 400
    arrival = rows.take(gaussian.one, np.zeros(count, np.intp))
    keys = keyed.hash_words(1, np.arange(count))
    made = DECODERS.parse(decoder + ",samples=4").decode(gaussian.receiver, arrival, keys)
    truth = gaussian.exact.sample(keyed.hash_words(8, np.arange(count))).reshape(made.x.shape).numpy()
    assert np.abs(truth).max() < 1.0, "nothing is clipped"
    assert made.expected is not None
    expected = made.expected.mean(axis=(1, 2))
    found = quality.spread_skill(expected, quality.psnr_db(0.5 * made.x, 0.5 * truth))
    assert 0.9 < found["mean"] < 1.1 and found["ci95"][0] < found["mean"] < found["ci95"][1]
    narrow = quality.spread_skill(0.25 * expected, quality.psnr_db(0.5 * made.x, 0.5 * truth))
    assert narrow["mean"] == pytest.approx(0.5 * found["mean"])
    alone = DECODERS.parse(decoder).decode(gaussian.receiver, arrival, keys)
    assert alone.expected is None, "a single draw has no spread"


def test_pixels_are_expected_to_err_as_far_as_they_do(gaussian: Posed) -> None:
    """Pixel by pixel, against the posterior's own variances: K draws' mean errs by (1 + 1/K) of them."""
    count, draws = 50, 16
    arrival = rows.take(gaussian.one, np.zeros(count, np.intp))
    decoder = DECODERS.parse(f"{EXACT[3]},samples={draws}")
    made = decoder.decode(gaussian.receiver, arrival, keyed.hash_words(1, np.arange(count)))
    assert made.expected is not None and made.expected.shape == (count, *SHAPE[1:])
    exact = gaussian.exact.covariance().diagonal().reshape(SHAPE).mean(0).numpy()
    assert exact.max() > 1.1 * exact.min(), "pixels differ"
    assert made.expected.mean(axis=0) == pytest.approx(0.25 * (1.0 + 1.0 / draws) * exact, rel=0.1)


@pytest.mark.parametrize("decoder", ["diffcom:zeta=0.01", "hifi-diffcom:zeta=0.003,gamma=0.003,steps=40"])
def test_published_pulls_use_what_arrived_but_are_no_posterior_samplers(gaussian: Posed, decoder: str) -> None:
    drawn = gaussian.draw(decoder)
    assert gaussian.excess(drawn) > 1.5
    unmeasured = gaussian.prior.sample(keyed.hash_words(4, np.arange(DRAWN)))
    assert gaussian.distance(drawn) < 0.7 * gaussian.distance(unmeasured)


def test_sdedit_goes_from_the_decoders_image_to_the_prior(gaussian: Posed) -> None:
    weak, strong = gaussian.draw("sdedit:strength=0.01"), gaussian.draw("sdedit:strength=10,steps=40")
    assert (weak - gaussian.draw("jscc")).abs().max() < 0.1
    flat = strong.flatten(1).double()
    prior = gaussian.prior
    away = gaussian_wasserstein(flat.mean(0), flat.T.cov(), prior.mean().double(), prior.covariance().double())
    assert away < 0.3 * gaussian.distance(strong), "whatever was sent is forgotten"


def test_on_a_mixture_the_covariance_brings_samples_nearer_than_published_pulls(mixture: Posed) -> None:
    truth = mixture.exact.sample(keyed.hash_words(9, 0, np.arange(DRAWN)))

    def energy(decoder: str) -> float:
        return energy_distance(mixture.draw(decoder), truth)

    best = max(energy(spec) for spec in EXACT[:2])
    assert best < 0.5 * energy("diffcom:zeta=0.01")


@pytest.mark.parametrize("decoder", [EXACT[0] + ",samples=16", EXACT[3]])
def test_the_dial_goes_from_the_least_error_to_a_draw_along_the_known_curve(gaussian: Posed, decoder: str) -> None:
    """E|x − x̂|² = (1 + d²) · least, and the spread of images that of the posterior times d.

    Reference: Freirich, Michaeli and Meir, "A theory of the distortion-perception tradeoff in Wasserstein space", 2021.
    """
    mean, least = gaussian.exact.mean(), float(torch.trace(gaussian.exact.covariance()))
    count = 400 if "samples" not in decoder else 100
    for dial in (0.0, 0.5, 1.0):
        drawn = gaussian.draw(f"{decoder},dial={dial}", count).flatten(1)
        away = float((drawn - mean).square().sum(1).mean())
        # The mean of sixteen draws has a sixteenth of their spread itself.
        slack = 0.0 if "samples" not in decoder else least * (1.0 - dial**2) / 16.0
        assert away == pytest.approx(dial**2 * least + slack, rel=0.2, abs=1e-6)


@pytest.mark.parametrize("name", ANALOG)
def test_an_image_does_not_depend_on_the_batch(gaussian: Posed, name: str) -> None:
    decoder = DECODERS.create(name)
    count = 40
    arrival, keys = rows.take(gaussian.one, np.zeros(count, np.intp)), keyed.hash_words(3, np.arange(count))
    whole = decoder.decode(gaussian.receiver, arrival, keys)
    part = decoder.decode(gaussian.receiver, rows.take(arrival, slice(7, 27)), keys[7:27])
    assert whole.x.shape == (count, *SHAPE) and np.isfinite(whole.x).all()
    # Bits are the same but where the linear codec solves its systems in one call, by a method that the batch chooses.
    tolerance = 1e-4 if name in ("hifi-diffcom", "blind-diffcom") else 0.0
    assert np.allclose(whole.x[7:27], part.x, rtol=0.0, atol=tolerance)
    assert (whole.calls == getattr(decoder, "steps", 0)).all(), "one call a step"


def test_what_was_received_is_all_that_a_decoder_sees(gaussian: Posed) -> None:
    heard = SymbolChannel("rayleigh:snr_db=5", 1, csi="ls").send(np.ones((2, 8)))
    seen = arrival_of(heard, 5.0)
    assert set(vars(seen)) == {"received", "gain", "noise_variance", "snr_db", "echoes", "link_snr_db"}
    assert seen.echoes is not None and not np.allclose(seen.echoes.mean[:, 0, 0], heard.true_gain[:, 0].real)
    assert np.allclose(seen.gain[..., 0], heard.gain.real)
    assert not np.allclose(seen.gain[..., 0], heard.true_gain.real)
