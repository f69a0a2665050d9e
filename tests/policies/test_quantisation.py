"""int8: integer products are exact, ranges are static, files come back bit by bit and say what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from envs import keyed
from envs.errors import ConfigError
from policies.diffusion.quantisation import (
    Int8Conv2d,
    Int8Linear,
    Int8NormSiLU,
    int8_bytes,
    observe,
    prepare,
    quantise,
)
from policies.networks.convolution import Merge, NormSiLU, ResidualBlock, Shrink
from policies.trajectory.context import feature_count
from policies.trajectory.prior import FORMAT_INT8, Denoiser, PriorSpec, TrajectoryPrior

SPEC = PriorSpec(control_points=8, horizon_ticks=16, width=64, blocks=2)


@pytest.fixture(scope="module")
def prior() -> TrajectoryPrior:
    torch.manual_seed(0)
    made = TrajectoryPrior(SPEC, np.full(SPEC.state_dim, 0.1, np.float32), {"loss": 0.5})
    nn.init.normal_(made.network.exit.weight, std=0.1)
    made.network.eval().requires_grad_(False)
    made.round_weights()  # as the weights of a file are
    return made


def features(rows: int, seed: int = 1) -> np.ndarray:
    return keyed.normal(keyed.hash_words(seed, np.arange(rows)), (feature_count(SPEC.control_points),))


def test_a_layer_computes_with_rounded_numbers_exactly() -> None:
    torch.manual_seed(1)
    layer, x = nn.Linear(24, 16).requires_grad_(False), torch.randn(40, 24)
    made = Int8Linear.of(layer, (float(x.min()), float(x.max())))
    scale, zero = float(made.input_scale), int(made.input_zero)
    rounded = ((x / scale).round() + zero).clamp(0, 255) - zero
    by_hand = (
        rounded.double() @ made.weight.double().T
    ) * scale * made.weight_scale.double() + made.bias.double()
    torch.testing.assert_close(made(x).double(), by_hand, rtol=1e-5, atol=1e-5)
    assert made.weight.dtype == torch.int8
    # Half a step of the input and of each weight bounds the error.
    bound = 24 * (
        0.5 * scale * float(layer.weight.abs().max())
        + 0.5 * float(made.weight_scale.max()) * float(x.abs().max())
    )
    assert float((made(x) - layer(x)).abs().max()) < bound


def test_ranges_are_static_so_rows_do_not_feel_their_batch() -> None:
    torch.manual_seed(2)
    made = Int8Linear.of(nn.Linear(24, 16), (-3.0, 3.0))
    x = torch.randn(64, 24)
    loud = torch.cat([x, 100.0 * x])
    for size in (1, 2, 17, 64):
        assert torch.equal(made(x[:size]), made(loud)[:size])


def test_calibration_sees_every_layer_and_says_which_it_missed(prior: TrajectoryPrior) -> None:
    rows, x = torch.as_tensor(features(8)), torch.zeros(8, 2, SPEC.state_dim)
    seen = observe(prior.network, lambda: Denoiser.bind(prior, rows)(x, 0.5))
    linear = {name for name, layer in prior.network.named_modules() if isinstance(layer, nn.Linear)}
    assert set(seen) == linear and all(low <= 0.0 <= high for low, high in seen.values())
    seen.pop("inner.1")
    with pytest.raises(ConfigError, match=r"seen must hold the input range of layer 'inner\.1'"):
        quantise(prior.network, seen)


def test_a_quantised_prior_stays_close_and_comes_back_from_its_file(
    prior: TrajectoryPrior, tmp_path: Path
) -> None:
    small = prior.int8([features(32)])
    assert (prior.precision, small.precision) == ("float32", "int8") and small.dtype == torch.float32
    x = torch.as_tensor(keyed.normal(keyed.hash_words(9, np.arange(16)), (4, SPEC.state_dim)))
    rows = torch.as_tensor(features(16, seed=5))
    exact, rounded = Denoiser.bind(prior, rows)(x, 0.4), Denoiser.bind(small, rows)(x, 0.4)
    gap = float((exact - rounded).square().mean().sqrt() / exact.square().mean().sqrt())
    assert 0.0 < gap < 0.05
    small.save(tmp_path / "small.safetensors")
    prior.save(tmp_path / "whole.safetensors")
    again = TrajectoryPrior.load(tmp_path / "small.safetensors")
    assert again.precision == "int8" and again.card == {"loss": 0.5}
    assert again.parameters() == prior.parameters()
    with pytest.raises(ConfigError, match="device must be cpu for the int8 weights 'small.safetensors'"):
        TrajectoryPrior.load(tmp_path / "small.safetensors", "meta")
    assert torch.equal(Denoiser.bind(again, rows)(x, 0.4), rounded)
    with safe_open(tmp_path / "small.safetensors", "pt") as file:
        assert file.metadata()["format"] == FORMAT_INT8
        assert file.get_tensor("inner.0.weight").dtype == torch.int8
    assert (tmp_path / "small.safetensors").stat().st_size < 0.75 * (
        tmp_path / "whole.safetensors"
    ).stat().st_size


def test_bfloat16_keeps_the_clock_precise(prior: TrajectoryPrior) -> None:
    half = prior.bfloat16()
    assert half.precision == "bfloat16" and prior.precision == "float32"
    x = torch.as_tensor(keyed.normal(keyed.hash_words(9, np.arange(16)), (4, SPEC.state_dim)))
    rows = torch.as_tensor(features(16))
    for t in (1.0, 0.37, 0.01):
        exact, rounded = Denoiser.bind(prior, rows)(x, t), Denoiser.bind(half, rows)(x, t)
        assert rounded.dtype == torch.float32
        assert float((exact - rounded).square().mean().sqrt() / exact.square().mean().sqrt()) < 0.02


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 1), (1, 1, 0), (3, 2, 1)])
def test_a_convolution_computes_with_rounded_numbers_exactly(size: int, stride: int, padding: int) -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(6, 10, size, stride, padding).requires_grad_(False)
    x = torch.randn(5, 6, 8, 8)
    made = Int8Conv2d.of(layer, (float(x.min()), float(x.max())))
    scale, zero = float(made.input_scale), int(made.input_zero)
    rounded = ((x / scale).round() + zero).clamp(0, 255) - zero
    weight = made.weight.double() * made.weight_scale.double()[:, None, None, None] * scale
    by_hand = nn.functional.conv2d(rounded.double(), weight, made.bias.double(), stride, padding)
    torch.testing.assert_close(made(x).double(), by_hand, rtol=1e-5, atol=1e-5)
    assert made.weight.dtype == torch.int8 and float((made(x) - layer(x)).abs().max()) < 0.1
    for rows in (1, 3):
        assert torch.equal(made(x[:rows]), made(x)[:rows]), "ranges are static"


def test_a_network_of_convolutions_becomes_small_and_stays_near() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 16, 3, padding=1), nn.SiLU(),
                            nn.Conv2d(16, 2, 1)).requires_grad_(False)  # fmt: skip
    x = torch.randn(20, 3, 8, 8)
    seen = observe(network, lambda: network(x))
    made = quantise(network, seen, ("4",))
    assert isinstance(made[2], Int8Conv2d) and isinstance(made[4], nn.Conv2d)
    assert int8_bytes(made) < 0.65 * int8_bytes(network)
    assert float((made(x) - network(x)).abs().mean()) < 0.02 * float(network(x).abs().mean())
    again = prepare(nn.Sequential(*(nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 16, 3, padding=1),
                                    nn.SiLU(), nn.Conv2d(16, 2, 1))), made.state_dict())  # fmt: skip
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(x), made(x))
    for odd in (nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, dilation=2)):
        with pytest.raises(ConfigError, match="keep"):
            quantise(nn.Sequential(odd), {"0": (-1.0, 1.0)})


@pytest.mark.parametrize("told", ["nothing", "level", "place", "both"])
def test_a_normalisation_in_steps_is_the_float_one_rounded(told: str) -> None:
    torch.manual_seed(3)
    layer = NormSiLU(24).requires_grad_(False)
    nn.init.normal_(layer.weight, 1.0, 0.3), nn.init.normal_(layer.bias, 0.0, 0.3)
    x = 3.0 * torch.randn(7, 24, 6, 4) + torch.arange(7.0)[:, None, None, None]
    level = 0.4 * torch.randn(7, 48) if told in ("level", "both") else None
    place = 0.4 * torch.randn(7, 48, 6, 4) if told in ("place", "both") else None
    if told == "place":
        level = torch.zeros(7, 48)  # the float layer adds a place to a level
    exact = layer(x, level, place)
    reader = Int8Conv2d.of(nn.Conv2d(24, 8, 1), (-0.3, 0.7 * float(exact.max())))  # the greatest do not fit
    made = Int8NormSiLU(layer, reader)
    steps = made(x, None if told == "place" else level, place)
    scale, zero = float(reader.input_scale), int(reader.input_zero)
    expected = ((exact / scale).round() + zero).clamp(0, 255)
    assert steps.dtype == torch.uint8 and steps.shape == x.shape
    away = (steps.double() - expected).abs()
    assert float(away.max()) <= 1.0 and float((away > 0).double().mean()) < 0.002, "only ties are rounded otherwise"
    assert len(expected.unique()) > 100 and float(expected.max()) == 255.0
    torch.testing.assert_close(reader(steps), reader(exact), atol=2.0 * scale, rtol=1e-3)
    for order in (torch.channels_last, torch.contiguous_format):
        assert torch.equal(made(x.contiguous(memory_format=order), level, place), made(x, level, place))
    part = slice(2, 5)
    alone = made(x[part], None if level is None else level[part], None if place is None else place[part])
    assert torch.equal(alone, made(x, level, place)[part]), "rows do not feel their batch"


def test_blocks_in_eight_bits_stay_near_and_come_back_from_their_state() -> None:
    torch.manual_seed(4)
    block, again = (ResidualBlock(16, 6).requires_grad_(False) for _ in range(2))
    nn.init.normal_(block.second.weight, 0.0, 0.1)
    x, told = torch.randn(9, 16, 8, 8), torch.randn(9, 6)
    seen = observe(block, lambda: block(x, told))
    made = quantise(block, seen)
    assert isinstance(made.norm_in, Int8NormSiLU) and isinstance(made.norm_out, Int8NormSiLU)
    change = block(x, told) - x
    assert float((made(x, told) - block(x, told)).square().mean()) < 0.001 * float(change.square().mean())
    half = quantise(block, seen, ("first",))
    assert isinstance(half.norm_in, NormSiLU) and isinstance(half.norm_out, Int8NormSiLU), "a float layer reads floats"
    restored = prepare(again, made.state_dict())
    restored.load_state_dict(made.state_dict())
    assert torch.equal(restored(x, told), made(x, told))


def test_halved_and_merged_tensors_are_plain_convolutions_in_eight_bits() -> None:
    torch.manual_seed(5)
    shrink, merge = Shrink(6, 10).requires_grad_(False), Merge(14, 5).requires_grad_(False)
    x, y = torch.randn(3, 6, 8, 4), 2.0 * torch.randn(3, 8, 8, 4)
    assert shrink(x).shape == (3, 10, 4, 2)
    torch.testing.assert_close(shrink.plain()(x), shrink(x))
    network = nn.ModuleDict({"shrink": shrink, "merge": merge})
    seen = observe(network, lambda: (network["shrink"](x), network["merge"](x, y)))
    assert seen["merge"] == (float(min(x.min(), y.min())), float(max(x.max(), y.max()))), "all parts are observed"
    made = quantise(network, seen)
    for name, parts in (("shrink", (x,)), ("merge", (x, y))):
        exact, error = network[name](*parts), made[name](*parts) - network[name](*parts)
        assert float(error.square().mean()) < 1e-3 * float(exact.square().mean()), name
    restored = prepare(nn.ModuleDict({"shrink": Shrink(6, 10), "merge": Merge(14, 5)}), made.state_dict())
    restored.load_state_dict(made.state_dict())
    assert torch.equal(restored["shrink"](x), made["shrink"](x))
    assert torch.equal(restored["merge"](x, y), made["merge"](x, y))
