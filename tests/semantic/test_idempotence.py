"""Sending a received picture again: what of its code comes out the same, and how a receiver sees to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import agentsc
from agentsc.semantic import DECODERS, stills
from agentsc.semantic.source import of_scenes
from policies.core import DiffusionCore
from policies.scene.digital import LEVELS, CodeRequest, TransformModel
from policies.scene.shipped import TRANSFORM, scene_core


@pytest.fixture(scope="module")
def core() -> DiffusionCore:
    return scene_core(also=(TRANSFORM,))[0]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return (2.0 * of_scenes(700, 16, 32, "birds-eye").rgb - 1.0).astype(np.float32)


def test_all_numbers_again_are_all_bytes_again(core: DiffusionCore, x: np.ndarray) -> None:
    model = core.models[TRANSFORM]
    assert isinstance(model, TransformModel)
    codec, level = model.codec, np.arange(16) * 4
    data, _ = codec.write(torch.as_tensor(x), level)
    assert (codec.again(data, torch.as_tensor(x)) == 1.0).all(), "of the picture itself"
    seen = codec.read(data)
    share = codec.again(data, torch.as_tensor(seen))
    written, _ = codec.write(torch.as_tensor(seen), level)
    width = max(data.shape[1], written.shape[1])
    both = [np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in (data, written)]
    assert np.array_equal((both[0] == both[1]).all(axis=1), share == 1.0)
    assert (codec.again(data, torch.as_tensor(x[::-1].copy()))[LEVELS // 8 :] < 1.0).all(), "of other pictures"


@pytest.mark.parametrize("bits", [220, 885, 1700])
def test_projection_makes_the_transform_code_idempotent(core: DiffusionCore, x: np.ndarray, bits: int) -> None:
    keys = np.arange(16, dtype=np.uint64)
    frames = core.sample(CodeRequest(TRANSFORM, keys, "encode", x, bits)).rows

    def measured(steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen = core.sample(CodeRequest(TRANSFORM, keys, "decode", frames, bits, steps=steps)).rows
        share = core.sample(CodeRequest(TRANSFORM, keys, "again", seen, bits, frames=frames)).rows
        return seen, share, np.mean((seen - x) ** 2, axis=(1, 2, 3))

    plain, once, enforced = measured(0), measured(1), measured(4)
    assert 0.9 < plain[1].mean() < once[1].mean() <= enforced[1].mean()
    assert (plain[1] == 1.0).mean() < 0.6 and (enforced[1] == 1.0).mean() > 0.9
    assert enforced[2].mean() < 1.01 * plain[2].mean(), "for nothing"
    assert np.abs(enforced[0]).max() <= 1.0
    # It moves what has to be moved, and far enough for a file of eight bits a primary.
    assert np.abs(enforced[0] - plain[0]).mean() < 0.02
    file = (np.round(127.5 * (enforced[0] + 1.0)) / 127.5 - 1.0).astype(np.float32)
    share = core.sample(CodeRequest(TRANSFORM, keys, "again", file, bits, frames=frames)).rows
    assert (share == 1.0).mean() > 0.9


def test_transmit_tells_and_enforces(core: DiffusionCore) -> None:
    options = {"scene": 700, "images": 16}
    plain = agentsc.transmit(decoder="separation", **options)  # type: ignore[arg-type]
    enforced = agentsc.transmit(decoder="separation:idempotent=4", **options)  # type: ignore[arg-type]
    for name in ("code_kept", "code_same"):
        assert plain.metrics[name]["mean"] < enforced.metrics[name]["mean"] <= 1.0
    assert enforced.metrics["code_same"]["mean"] > 0.9
    assert enforced.metrics["psnr_db"]["mean"] > plain.metrics["psnr_db"]["mean"] - 0.05


def test_files_are_the_same_or_not(x: np.ndarray) -> None:
    frames, _ = stills.fit(x[:4], "jpeg", 4000)
    for frame, image in zip(frames, x[:4], strict=True):
        assert stills.again(frame, image, "jpeg") and not stills.again(frame, -image, "jpeg")
    assert not stills.again(np.full(9, 255, np.uint8), x[0], "jpeg"), "no quality"
    result = agentsc.transmit(
        scene=700, images=4, decoder="separation:source=jpeg", cbr="1/6", link="awgn:snr_db=20"
    )
    assert set(np.unique(result.rows["code_same"])) <= {0.0, 1.0}
    assert np.array_equal(result.rows["code_same"], result.rows["code_kept"])


def test_symbols_move_less_over_a_better_channel() -> None:
    noisy, clear = (
        agentsc.transmit(scene=700, images=16, link=f"awgn:snr_db={snr}", design_snr_db=10.0).rows["code_moved"]
        for snr in (0, 30)
    )
    assert (clear >= 0.0).all() and clear.mean() < 0.5 * noisy.mean() and noisy.max() < 2.0


def test_a_sender_may_look_for_a_picture_that_gives_its_map_again() -> None:
    options = {"scene": 700, "images": 8}
    one, four = (
        agentsc.transmit(decoder=f"shared-seed:seeds={count},steps=2,criterion=code", **options).rows["code_kept"]  # type: ignore[arg-type]
        for count in (1, 4)
    )
    assert four.mean() > one.mean() and (four <= 1.0).all()
    assert DECODERS.create("shared-seed").criterion == "task"
