"""Scene networks: shapes, independence of rows, files, training that resumes, and EDM's convention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from envs.errors import ConfigError
from policies.diffusion.operators import Nonlinear, Retained
from policies.diffusion.parameterisation import denoiser, from_clean, preconditioning
from policies.diffusion.process.cosine import CosineVP
from policies.networks.jscc import DeepJSCC
from policies.networks.scene_net import SceneNet
from policies.networks.unet import UNet
from policies.presets import PRESETS
from policies.scene import files
from policies.scene.codec import JsccCodec, estimate, faded
from policies.scene.presets import HELD_OUT_SEED, SCENES
from policies.scene.tasks.coding import estimates
from policies.scene.tasks.denoising import precondition
from policies.scene.train import train
from policies.training import train as train_by_name


def filled(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """With weights that are nowhere zero."""
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1, generator=generator)
    return network.eval().requires_grad_(False)


def images(count: int, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3)) * 2.0 - 1.0


@pytest.mark.parametrize("size", [32, 64, 40])
def test_a_unet_keeps_the_size_and_rows_apart(size: int) -> None:
    network = filled(UNet(width=8))
    x, level = images(32, size), torch.linspace(-1.0, 1.0, 32)
    made = network(x, level)
    assert made.shape == x.shape
    assert torch.equal(network(x[16:], level[16:]), made[16:])
    assert torch.allclose(network(x[2:19], level[2:19]), made[2:19], atol=1e-6)
    changed = x.clone()
    changed[0, :, 0, 0] += 1.0
    again = network(changed, level)
    assert torch.equal(again[1:], made[1:]) and not torch.equal(again[0], made[0])
    assert torch.equal(network(x, 0.3), network(x, torch.full((32,), 0.3))), "one level for all"


def test_a_unet_refuses_what_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="width"):
        UNet(width=6)
    with pytest.raises(ValueError, match="multiples of 8"):
        UNet(width=8)(images(1, 36), 0.0)


def test_training_and_sampling_speak_of_the_same_denoiser() -> None:
    """What EDM's loss asks for, in x_0 + ρ ε, is what the engine makes of the network at x_t/α and σ/α = ρ."""
    process, network = CosineVP(), filled(UNet(width=8)).double()
    x0, ratio, sigma_data = images(4).double(), 0.7, 0.37
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    skip, out, scale, clock = precondition(torch.tensor([ratio], dtype=torch.float64), sigma_data)
    clean = skip * (x0 + ratio * noise) + out * network(scale * (x0 + ratio * noise), clock)
    t = process.time_of(ratio)
    x = process.alpha(t) * (x0 + ratio * noise)
    assert torch.allclose(denoiser(network, "edm", process, sigma_data)(x, t), clean, atol=1e-10)
    target = (x0 - skip * (x0 + ratio * noise)) / out
    assert torch.allclose(from_clean("edm", x0, x, process, t, sigma_data), target, atol=1e-9)
    assert preconditioning(process, t, sigma_data)[3] == pytest.approx(float(clock))


@pytest.mark.parametrize("sent", [1, 4, 8])
def test_symbols_have_energy_one_whatever_the_rate(sent: int) -> None:
    network = filled(DeepJSCC(fine=8, coarse=16, blocks=1))
    x, snr = images(5), torch.linspace(0.0, 20.0, 5)
    symbols = network.encode(x, snr, torch.full((5,), sent))
    assert symbols.shape == (5, 8, 8, 8, 2)
    assert torch.allclose(symbols.square().sum((1, 2, 3, 4)), torch.full((5,), 64.0 * sent), rtol=1e-5)
    assert (symbols[:, sent:] == 0.0).all(), "what is not sent costs nothing"
    assert torch.allclose(network.encode(3.0 * x - 1.0, snr, torch.full((5,), sent)).square().sum((1, 2, 3, 4)),
                          torch.full((5,), 64.0 * sent), rtol=1e-5)  # fmt: skip


def test_the_codec_and_training_meet_the_same_channel() -> None:
    network = filled(DeepJSCC(fine=8, coarse=16, blocks=1))
    codec, count = JsccCodec(network), 128
    x, snr = images(6), torch.full((6,), 7.0)
    symbols = codec.encode(x, snr, count)
    whole = network.encode(x, snr, torch.full((6,), 2))
    assert torch.equal(symbols, whole.flatten(1, 3)[:, :count])
    generator = torch.Generator().manual_seed(2)
    power = torch.rand(6, 8, 8, 8, generator=generator)
    noise = torch.randn(whole.shape, generator=generator)
    sent = torch.full((6,), 2)
    made = network.decode(*estimates(network, whole, power, snr, sent, noise), snr, sent)
    # The same with phases, which a receiver that knows them undoes.
    phase = torch.rand(6, count, generator=generator) * 6.0
    gain = power.flatten(1)[:, :count].sqrt()[..., None] * torch.stack([phase.cos(), phase.sin()], -1)
    turned = faded(noise.flatten(1, 3)[:, :count], torch.stack([phase.cos(), phase.sin()], -1))
    level = 10.0 ** (-0.1 * snr)
    received = faded(symbols, gain) + (0.5 * level).sqrt()[:, None, None] * turned
    assert torch.allclose(codec.decode(*estimate(received, gain, level), snr), made, atol=1e-4)


def test_estimates_of_symbols_are_the_best_linear_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(3, 4000, 50, 2, generator=generator, dtype=torch.float64) * 0.5**0.5
    sent, gain, noise = draws
    level = torch.full((4000,), 0.3, dtype=torch.float64)
    found, left = estimate(faded(sent, gain) + 0.3**0.5 * noise, gain, level)
    error = (found - sent).square().sum(2)
    assert float(error.mean()) == pytest.approx(float(left.mean()), rel=0.02)
    assert abs(float((error * 1.0 - left).mean())) < 0.01
    assert abs(float(((found - sent) * found).sum(2).mean())) < 0.01, "the error is orthogonal to the estimate"


def test_a_rate_is_named_by_its_ratio() -> None:
    codec = JsccCodec(DeepJSCC(fine=8, coarse=16, blocks=1))
    assert codec.count_of(1 / 12) == 256 and codec.count_of(1 / 48) == 64 and codec.count_of(1 / 6) == 512
    with pytest.raises(ConfigError, match="0.083333"):
        codec.count_of(0.08)


def test_operators_that_keep_their_graph_give_the_same_derivatives() -> None:
    network = filled(DeepJSCC(fine=8, coarse=16, blocks=1))
    codec, snr = JsccCodec(network), torch.full((4,), 5.0)

    def sent(x: torch.Tensor) -> torch.Tensor:
        return codec.encode(x, snr, 64).flatten(1)

    plain, kept = Nonlinear(sent), Retained(sent)
    for x in (images(4), images(4).flip(0)):
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            u, v = torch.randn(4, 128, generator=generator), torch.randn(x.shape, generator=generator)
            assert torch.equal(kept.adjoint(u, x), plain.adjoint(u, x))
            assert torch.allclose(kept.forward_derivative(v, x), plain.forward_derivative(v, x), atol=1e-5)
            product = (kept.forward_derivative(v, x) * u).sum() - (kept.adjoint(u, x) * v).sum()
            assert abs(float(product)) < 1e-2 * float(u.norm() * v.norm()) / 100.0


SMALL = {
    "conditional": {"width": 8, "multipliers": (1, 2)},
    "ntc": {"fine": 8, "coarse": 16, "blocks": 1, "context": 8},
    "jscc": {"fine": 8, "coarse": 16, "blocks": 1},
    "scene-prior": {"width": 8, "multipliers": (1, 2)},
    "segmenter": {"width": 8},
    "map-coder": {"reach": 2, "width": 16, "hidden": 8, "learning_rate": 3e-2},
    "soft-map": {"planes": 2, "fine": 8, "coarse": 16, "blocks": 1},
    "map-prior": {"width": 8, "multipliers": (1, 2)},
    "map-to-scene": {"width": 8, "multipliers": (1, 2), "guide": 8},
    "occupancy-prior": {"width": 12, "learning_rate": 8e-3},
}


@pytest.mark.parametrize("name", list(SCENES))
def test_training_learns_and_writes_a_card(name: str, tmp_path: Path) -> None:
    options = {"learning_rate": 5e-3, **SMALL[name]}
    preset = SCENES.create(name, **options, steps=60, batch=16, held_out=16)
    seen: list[float] = []
    card = train(name, preset=preset, out=tmp_path / "net.safetensors", progress=lambda *a: seen.append(a[3]["loss"]))
    network, spec, kept = files.load(name, tmp_path / "net.safetensors")
    if name == "conditional":
        # So little is to be gained in so few steps that only the same draws show it.
        task = preset.task()
        blank = files.build(name, task.spec).eval()
        with torch.no_grad():
            losses = [float(task.loss(each, torch.Generator().manual_seed(5))[0]) for each in (network, blank)]
        assert losses[0] < 0.99 * losses[1]
    else:
        assert seen[-1] < 0.95 * seen[0]
    assert kept == card and card["parameters"] == sum(w.numel() for w in network.parameters())
    text = (tmp_path / "net.md").read_text()
    assert text.startswith(f"# {name}") and "held-out families" in text and f"agentsc train {name}" in text
    assert not (tmp_path / "net.checkpoint").exists()
    assert preset.images <= HELD_OUT_SEED


def test_a_resumed_training_takes_the_steps_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policies.scene.train.CHECKPOINT_EVERY", 5)
    preset = SCENES.create("segmenter", width=8, steps=12, batch=8, held_out=16, precision="float32")
    whole = train("segmenter", preset=preset, out=tmp_path / "whole.safetensors")

    class Stop(Exception):
        pass

    def stop(stage: str, done: int, total: int, facts: dict[str, float]) -> None:
        if done == 8:
            raise Stop

    with pytest.raises(Stop):
        train("segmenter", preset=preset, out=tmp_path / "parts.safetensors", progress=stop)
    parts = train("segmenter", preset=preset, out=tmp_path / "parts.safetensors", resume=True)
    assert parts["held_out"] == whole["held_out"] and parts["loss"] == whole["loss"]
    first, second = (files.load("segmenter", tmp_path / f"{n}.safetensors")[0] for n in ("whole", "parts"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_resume_with_other_steps_is_told_on_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.scene.train.CHECKPOINT_EVERY", 4)
    preset = SCENES.create("segmenter", width=8, steps=50, batch=8, held_out=16)
    out = tmp_path / "net.safetensors"

    def stop(stage: str, done: int, total: int, facts: dict[str, float]) -> None:
        if done == 4 + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("segmenter", preset=preset, out=out, progress=stop)
    card = train("segmenter", preset=preset, out=out, resume=True, steps=6)
    assert card["plans"] == [[0, 50], [4, 6]] and "resumed" in out.with_suffix(".md").read_text()


def test_a_preset_takes_options_by_name(tmp_path: Path) -> None:
    spec = "segmenter:seed=7,width=8,blocks=1,batch=4,held_out=16"
    card = train_by_name(spec, steps=1, out=tmp_path / "net.safetensors")
    assert card["name"] == "segmenter" and card["command"] == f"agentsc train {spec} --steps 1"
    assert (card["preset"]["seed"], card["preset"]["width"]) == (7, 8)
    assert files.load("segmenter", tmp_path / "net.safetensors")[1]["width"] == 8
    for wrong, word in (("segmenter:depth=2", "depth"), ("segmenter:seed=x", "seed"), ("edge-prior:seed=-1", "seed")):
        with pytest.raises(ConfigError, match=word):
            train_by_name(wrong, steps=1, out=tmp_path / "no.safetensors")


def test_damaged_or_foreign_files_are_refused(tmp_path: Path) -> None:
    network = SceneNet(width=8)
    files.save(tmp_path / "net.safetensors", "segmenter", {"width": 8}, network, {})
    whole = (tmp_path / "net.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    files.save(tmp_path / "wide.safetensors", "segmenter", {"width": 16}, network, {})
    for name, kind, word in (
        ("cut", "segmenter", "intact"), ("net", "jscc", "kind"), ("wide", "segmenter", "intact"),
        ("absent", "segmenter", "agentsc train segmenter"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=word):
            files.load(kind, tmp_path / f"{name}.safetensors")
    (tmp_path / "parts.checkpoint").write_bytes(b"no checkpoint")
    preset = SCENES.create("segmenter", width=8, steps=2, batch=8, held_out=16)
    with pytest.raises(ConfigError, match="resume"):
        train("segmenter", preset=preset, out=tmp_path / "parts.safetensors", resume=True)


def test_all_presets_are_trained_by_one_name() -> None:
    assert set(SCENES) < set(PRESETS) and "edge" in PRESETS
    assert {row["name"] for row in PRESETS.describe()} == set(PRESETS)
    with pytest.raises(ConfigError, match="choose one of .*jscc"):
        train_by_name("jcss")


@pytest.mark.parametrize("name", list(SCENES))
def test_shipped_networks_load_are_small_and_better_than_nothing(name: str) -> None:
    path = files.WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size < 3_100_000
    network, _, card = files.load(name)
    assert card["name"] == name and path.with_suffix(".md").is_file()
    row = card["held_out"]["rows"][0]
    if name == "jscc":
        assert row["psnr_10db"]["mean"] > 17.0
        assert np.diff([row[f"psnr_{snr}db"]["mean"] for snr in (0, 5, 10)]).min() > 0.0
    elif name == "segmenter":
        assert row["miou"]["mean"] > 0.5
    elif name == "ntc":
        assert row["psnr_0"]["mean"] > 20.0 and row["bits_0"]["mean"] < 2000.0
        assert np.diff([row[f"bits_{quality:g}"]["mean"] for quality in (-1, -0.5, 0, 0.5, 1)]).min() > 0.0
    elif name == "conditional":
        # A network that does nothing is as good as the codec; what is added must not cost much.
        assert row["refined_10db"]["mean"] > row["codec_10db"]["mean"] - 0.2
    elif name == "occupancy-prior":
        assert row["log_loss"]["mean"] < 0.6 * row["blind"]["mean"] and row["calibration"] < 0.03
    elif name == "map-coder":
        assert row["bytes_0"]["mean"] < 55.0
    elif name == "soft-map":
        # Of a map that is floor throughout it is 0.14.
        assert card["held_out"]["rows"][2]["miou_10db"]["mean"] > 0.5
    elif name == "map-prior":
        for ratio in ("0.5", "1", "2"):
            assert row[f"bits_{ratio}"]["mean"] < 0.5 * row[f"alone_{ratio}"]["mean"], "surroundings tell much"
    elif name == "map-to-scene":
        given, free = card["held_out"]["rows"][:2]
        assert given["psnr_2"]["mean"] > free["psnr_2"]["mean"] + 0.5, "a map says much where noise hides all"
    else:
        # The best that knows nothing but the variance: 10 log10(4 (1/σ² + 1/v)) with v = 0.14.
        assert row["psnr_0.2"]["mean"] > 10.0 * np.log10(4.0 * (1.0 / 0.2**2 + 1.0 / 0.14)) + 3.0
