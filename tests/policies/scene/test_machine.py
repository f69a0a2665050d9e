"""Models of the machine scenario: exact posteriors of cells, guidance by maps, and codecs of soft maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs import camera
from envs.errors import ConfigError
from envs.scenery import AGENT, FLOOR, TRAINED
from policies.diffusion.process.cosine import CosineVP
from policies.models import Meter
from policies.networks.map_jscc import MapJSCC
from policies.networks.spade_unet import SpadeUNet
from policies.scene.categorical import SHARES, decided, map_denoiser, scores
from policies.scene.codec import estimate
from policies.scene.machine import MapCodec, calibrated
from policies.scene.paint import PaintModel, PaintRequest
from policies.scene.tasks.coding import estimates


def filled(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """With weights that are nowhere zero."""
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1, generator=generator)
    return network.eval().requires_grad_(False)


def test_cells_alone_have_the_posterior_of_bayes_rule() -> None:
    """A prior of classes that the network knows, one cell: P(c | x̄) ∝ P(c) N(x̄; h_c, ρ²), and the mean 2 P − 1."""
    prior = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.06, 0.04])
    process = CosineVP()

    def network(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return prior.log()[None, :, None, None].expand(len(x), 6, 1, 1)

    hot = 2.0 * torch.eye(6) - 1.0
    for ratio in (0.4, 1.0, 3.0):
        t = process.time_of(ratio)
        noisy = hot[torch.tensor([0, 3, 5])] + ratio * torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
        likely = torch.exp(-0.5 * (noisy[:, None] - hot[None]).square().sum(2) / ratio**2) * prior
        exact = likely / likely.sum(1, keepdim=True)
        made = map_denoiser(network, process)(process.alpha(t) * noisy[..., None, None], t)
        assert torch.allclose(made[:, :, 0, 0], 2.0 * exact - 1.0, atol=1e-4)
    free = map_denoiser(network, process)(torch.randn(2, 6, 1, 1), 1.0)
    assert torch.allclose(free[0, :, 0, 0], 2.0 * prior - 1.0, atol=2e-2), "at pure noise only the prior is left"
    sharp = scores(network, hot[:, :, None, None], torch.tensor([0.01]))
    assert torch.isfinite(sharp).all() and sharp.argmax(1).flatten().tolist() == list(range(6))


def test_symbols_of_soft_maps_have_energy_one_at_every_rate() -> None:
    network = filled(MapJSCC(planes=2, fine=8, coarse=16, blocks=1))
    codec, x = MapCodec(network), torch.rand(4, 6, 32, 32, generator=torch.Generator().manual_seed(1)) * 2.0 - 1.0
    assert codec.counts == tuple(16 * k for k in range(1, 9))
    snr = torch.linspace(0.0, 20.0, 4)
    for count in codec.counts:
        symbols = codec.encode(x, snr, count)
        assert symbols.shape == (4, count, 2)
        assert torch.allclose(symbols.square().sum((1, 2)), torch.full((4,), float(count)), rtol=1e-4)
        soft = codec.decode(symbols, torch.zeros(4, count), snr)
        assert soft.shape == (4, 6, 32, 32)
        assert torch.allclose((0.5 * (soft + 1.0)).sum(1), torch.ones(4, 32, 32), atol=1e-5), "probabilities"


def test_the_map_codec_and_training_meet_the_same_channel() -> None:
    network = filled(MapJSCC(planes=2, fine=8, coarse=16, blocks=1))
    codec, count = MapCodec(network), 48
    x = torch.rand(3, 6, 32, 32, generator=torch.Generator().manual_seed(2)) * 2.0 - 1.0
    snr, sent = torch.full((3,), 7.0), torch.full((3,), 3)
    whole = network.encode(0.5 * (x + 1.0), snr, sent)
    assert (whole[:, 3:] == 0.0).all() and torch.equal(codec.encode(x, snr, count), whole.flatten(1, 3)[:, :count])
    noise = torch.randn(whole.shape, generator=torch.Generator().manual_seed(3))
    told = network.decode(*estimates(network, whole, torch.ones(1, 1, 1, 1), snr, sent, noise), snr, sent)
    level = 10.0 ** (-0.1 * snr)
    gain = torch.zeros(3, count, 2)
    gain[..., 0] = 1.0
    received = codec.encode(x, snr, count) + (0.5 * level).sqrt()[:, None, None] * noise.flatten(1, 3)[:, :count]
    made = codec.decode(*estimate(received, gain, level), snr)
    assert torch.allclose(made, 2.0 * torch.softmax(told, dim=1) - 1.0, atol=1e-4)


def test_a_plane_and_its_phases_are_the_same_symbols() -> None:
    """What decode puts together is what encode took apart: phases of one plane fill every other place."""
    network = MapJSCC(planes=3, fine=8, coarse=16, blocks=1)
    places = torch.arange(3 * 8 * 8.0).reshape(1, 3, 1, 8, 8).expand(1, 3, 2, 8, 8)
    cut = torch.nn.functional.pixel_unshuffle(places, 2).unflatten(2, (2, 4)).movedim(2, -1).flatten(1, 2)
    assert cut.shape == (1, 12, 4, 4, 2)
    seen: list[torch.Tensor] = []
    network.decoder.forward = lambda x, told: seen.append(x) or x  # type: ignore[method-assign]
    network.decode(cut, cut[..., 0], torch.zeros(1), torch.tensor([12]))
    assert torch.equal(seen[0][:, 0:6].reshape(1, 3, 2, 8, 8), places)
    assert torch.equal(seen[0][:, 6:], places[:, :, 0])


def painter() -> SpadeUNet:
    return filled(SpadeUNet(width=8, multipliers=(1, 2), guide=8))  # type: ignore[return-value]


def request(count: int = 20, **options: object) -> PaintRequest:
    guide = torch.nn.functional.one_hot(torch.arange(count * 1024).reshape(count, 32, 32) % 6, 6).movedim(-1, 1)
    return PaintRequest("x", np.arange(count, dtype=np.uint64), guide.float().numpy(), **options)  # type: ignore[arg-type]


def test_guidance_extrapolates_between_two_networks() -> None:
    model = PaintModel(painter(), 0.37, 32)
    meter = Meter(model.device)
    plain, none, strong = (model.sample(request(steps=3, weight=w), meter) for w in (1.0, 0.0, 2.0))
    assert plain.calls.tolist() == [3] * 20 and strong.calls.tolist() == [6] * 20
    blank = model.sample(PaintRequest("x", np.arange(20, dtype=np.uint64), 0.0 * request().guide, 1.0, steps=3), meter)
    assert np.allclose(none.x, blank.x, atol=1e-5), "weight 0 does not know the map"
    assert not np.allclose(plain.x, none.x, atol=1e-2) and not np.allclose(strong.x, plain.x, atol=1e-2)


def test_pictures_depend_on_their_own_map_and_key_alone() -> None:
    for network in (painter(), calibrated(painter(), 0.37, 32)):
        model = PaintModel(network, 0.37, 32)
        meter, whole = Meter(model.device), request(40, steps=2)
        made = model.sample(whole, meter).x
        part = PaintRequest("x", whole.keys[7:30], whole.guide[7:30], steps=2)
        assert np.array_equal(model.sample(part, meter).x, made[7:30])
    with pytest.raises(ConfigError, match="guide"):
        model.check(PaintRequest("x", np.arange(3, dtype=np.uint64), np.zeros((3, 5, 32, 32), np.float32)))
    with pytest.raises(ConfigError, match="weight"):
        model.check(request(weight=-1.0))
    with pytest.raises(ConfigError, match="width"):
        SpadeUNet(width=6)


def test_rare_classes_are_preferred_where_a_map_is_unsure() -> None:
    labels = camera.bank(0, 2048, 32, "both", TRAINED).labels
    shares = np.bincount(labels.ravel(), minlength=6) / labels.size
    assert np.allclose(SHARES, shares, atol=0.004) and abs(sum(SHARES) - 1.0) < 0.001
    sure = np.eye(6)[labels[:4]].transpose(0, 3, 1, 2)
    assert np.array_equal(decided(sure), labels[:4]) and np.array_equal(decided(0.8 * sure + 0.2 / 6), labels[:4])
    unsure = np.zeros((1, 6, 1, 3))
    unsure[0, FLOOR], unsure[0, AGENT] = (0.52, 0.64, 0.70), (0.48, 0.36, 0.30)
    # 0.026^-0.2 / 0.715^-0.2 = 1.94: an agent is decided for where its odds are better than one to that.
    assert decided(unsure).tolist() == [[[AGENT, AGENT, FLOOR]]]
