"""The human scenario end to end, on small networks; and the shipped ones once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from PIL import Image

import agentsc
from agentsc.cli import main
from agentsc.semantic import DECODERS, quality
from agentsc.semantic.channel import SymbolChannel
from agentsc.semantic.receiver import Receiver, arrival_of
from agentsc.semantic.source import of_file, of_scenes
from envs import camera, keyed
from envs.errors import ConfigError
from policies import rows
from policies.networks.conditional import reception
from policies.scene.refine import RefineRequest
from policies.scene.shipped import REFINER, scene_core
from policies.scene.train import train

METRICS = {
    "psnr_db", "ssim", "miou", "miou_sent", "fd_task", "fd_task_floor", "network_calls", "cpu_ms", "channel_uses",
    "bytes_equivalent", "residual", "sender_cpu_ms",
}  # fmt: skip
CODED = {"outage", "coded_bits", "code_kept", "code_same"}
MORE = {
    "separation": CODED,
    "shared-seed": CODED | {"seeds_tried", "raises", "fell_back", "sender_calls", "promised"},
    "prompted": {"prompt_bits"},
}


def test_every_decoder_gives_what_the_contract_says(weights: dict[str, Path], tmp_path: Path) -> None:
    for name in DECODERS:
        result = agentsc.transmit(scene=3, images=3, decoder=name, weights=weights, out=tmp_path / name)
        assert result.received.shape == result.sent.shape == (3, 3, 32, 32)
        assert result.received.min() >= 0.0 and result.received.max() <= 1.0
        analog = DECODERS.create(name).analog
        assert set(result.metrics) == METRICS | MORE.get(name, set()) | ({"code_moved"} if analog else set())
        for metric, figure in result.metrics.items():
            assert set(figure) >= {"mean", "ci95", "n"}
            if metric.startswith("fd_task"):
                assert figure["mean"] is None and "64" in figure["reason"]
            elif metric == "residual" and not analog:
                assert figure["mean"] is None and "bits" in figure["reason"]
            elif metric in ("code_kept", "code_same") and result.metrics["outage"]["mean"] == 1.0:
                assert figure["mean"] is None, "of nothing there is no code"
            else:
                assert np.isfinite(figure["mean"]) and figure["n"] == 3
        steps = getattr(DECODERS.create(name), "steps", 0)
        # Guided by a map, each step has one call with the map and one without.
        each = 2 if name in ("prompted", "shared-seed") else 1
        assert result.metrics["network_calls"]["mean"] == each * steps
        assert result.metrics["channel_uses"]["mean"] == 256
        assert result.metrics["bytes_equivalent"]["mean"] == pytest.approx(256 * np.log2(11.0) / 8.0)
        kept = json.loads((tmp_path / name / "result.json").read_text())
        assert kept["metrics"] == json.loads(json.dumps(result.metrics)) and kept["config"]["n0"] == pytest.approx(0.1)
        assert len(polars.read_parquet(tmp_path / name / "images.parquet")) == 3
        with Image.open(tmp_path / name / "side-by-side.png") as shown:
            assert min(shown.size) > 100


def test_enough_images_have_a_frechet_distance_and_its_floor(weights: dict[str, Path]) -> None:
    result = agentsc.transmit(scene=0, images=64, weights=weights)
    for name in ("fd_task", "fd_task_floor"):
        figure = result.metrics[name]
        assert figure["n"] == 64 and 0.0 <= figure["ci95"][0] <= figure["mean"] <= figure["ci95"][1]


def test_several_draws_say_how_sure_they_are(weights: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "several"
    result = agentsc.transmit(scene=3, images=6, decoder="sdedit:samples=3,steps=4", weights=weights, out=out)
    found, rows = result.metrics["spread_skill"], result.rows
    error = np.mean((result.received - result.sent) ** 2, axis=(1, 2, 3))
    assert found["mean"] == pytest.approx(np.sqrt(rows["expected_mse"].sum() / error.sum()), rel=1e-4)
    assert found["n"] == 6 and result.metrics["network_calls"]["mean"] == 12
    pixels = result.expected_error
    assert pixels is not None and pixels.shape == (6, 32, 32) and pixels.std() > 0.0
    assert np.square(pixels).mean(axis=(1, 2)) == pytest.approx(rows["expected_mse"], rel=1e-4)
    with Image.open(out / "expected-error.png") as shown, Image.open(out / "side-by-side.png") as beside:
        assert shown.size == (96, 64) and beside.size[0] > 3 * beside.size[1], "sent, received, expected, error"
        tile = np.asarray(shown, np.float64).mean(axis=2)[:32, :32]
    most, least = (np.unravel_index(find(pixels[0]), (32, 32)) for find in (np.argmax, np.argmin))
    assert tile[most] > tile[least], "bright where an error is expected"
    for number, alone in enumerate(("sdedit:steps=4", "sdedit:steps=4,samples=2,dial=0.5")):
        folder = tmp_path / str(number)
        made = agentsc.transmit(scene=3, images=1, decoder=alone, weights=weights, out=folder)
        assert "spread_skill" not in made.metrics, "not of what is no mean of draws"
        assert made.expected_error is None and not (folder / "expected-error.png").exists()


@pytest.mark.parametrize(
    "decoder",
    ["jscc", "sdedit", "variance-aware:steps=3,iterations=2", "conditional", "blind-diffcom:steps=2,turns=1",
     "moment:steps=2,start=refined"],
)
def test_an_image_does_not_depend_on_what_is_sent_beside_it(weights: dict[str, Path], decoder: str) -> None:
    options = {"decoder": decoder, "weights": weights, "link": "rayleigh:snr_db=8"}
    chosen = DECODERS.parse(decoder)
    core, codec = scene_core(weights, also=chosen.models)
    receiver = Receiver(core, codec)
    x = 2.0 * of_scenes(0, 40, 32, "birds-eye").rgb - 1.0
    symbols = receiver.encode(x, 8.0, 256)
    csi = "unknown" if "blind" in decoder else "known"
    arrival = arrival_of(SymbolChannel(options["link"], 1, csi=csi).send(symbols), 8.0)  # type: ignore[arg-type]
    keys = keyed.hash_words(1, np.arange(40))
    whole = chosen.decode(receiver, arrival, keys).x
    part = chosen.decode(receiver, rows.take(arrival, slice(9, 29)), keys[9:29]).x
    assert np.array_equal(whole[9:29], part)


def test_drawing_around_a_refined_image_counts_its_calls_and_draws_each_start_anew(weights: dict[str, Path]) -> None:
    sent = agentsc.transmit(scene=5, images=3, decoder="sdedit:steps=4,start=refined", weights=weights)
    plain = agentsc.transmit(scene=5, images=3, decoder="sdedit:steps=4", weights=weights)
    assert (sent.rows["network_calls"] == 6).all() and not np.array_equal(sent.received, plain.received)
    # With next to no noise of its own, what is drawn differs as its starts do.
    still = "sdedit:steps=2,strength=0.001,samples=3"
    spread = [
        agentsc.transmit(scene=5, images=3, decoder=f"{still}{more}", weights=weights).rows["expected_mse"]
        for more in ("", ",start=refined")
    ]
    assert (spread[1] > 10.0 * spread[0]).all()


def test_the_shipped_refiner_uses_the_symbols_and_the_image() -> None:
    receiver = Receiver(*scene_core(also=(REFINER,)))
    x = 2.0 * of_scenes(20_000, 48, 32, "birds-eye").rgb - 1.0
    symbols = receiver.encode(x, 10.0, 256)
    arrival = arrival_of(SymbolChannel("awgn:snr_db=10", 1).send(symbols), 10.0)
    known, left = receiver.estimates(arrival)
    image, told = receiver.decode(arrival), reception(*(torch.full((48,), v) for v in (1 / 11, 1 / 12, 10.0))).numpy()

    def error(image: np.ndarray, known: np.ndarray) -> np.ndarray:
        keys = keyed.hash_words(1, np.arange(48))
        drawn = receiver.core.sample(RefineRequest(REFINER, keys, image, known, left, told, steps=1)).x
        return np.square(drawn - x).mean(axis=(1, 2, 3))

    with_both = error(image, known)
    for other in (error(image, np.roll(known, 1, axis=0)), error(image, 0.0 * known)):
        assert (with_both < other).mean() > 0.9, "scene by scene"
    assert (with_both < error(np.zeros_like(image), known)).mean() > 0.9


def test_shipped_draws_of_the_posterior_spread_as_far_as_they_err() -> None:
    options: dict = {"scene": 20_000, "images": 48, "link": "awgn:snr_db=10"}
    even = agentsc.transmit(decoder="conditional-posterior:samples=4", **options).metrics
    assert 0.9 < even["spread_skill"]["mean"] < 1.1
    few = agentsc.transmit(decoder="conditional:samples=4", **options).metrics
    assert few["spread_skill"]["mean"] < 0.6 and few["psnr_db"]["mean"] > even["psnr_db"]["mean"] + 0.5


def test_the_same_command_gives_the_same_images(weights: dict[str, Path]) -> None:
    options: dict = {"scene": 5, "images": 2, "decoder": "sdedit", "weights": weights, "link": "ofdm:snr_db=5"}
    first, second = agentsc.transmit(**options), agentsc.transmit(**options)
    assert np.array_equal(first.received, second.received)
    other = agentsc.transmit(**options, seed=1)
    assert not np.array_equal(first.received, other.received)


def test_energy_is_one_for_every_image_and_rate(weights: dict[str, Path]) -> None:
    core, codec = scene_core(weights)
    receiver = Receiver(core, codec)
    x = 2.0 * of_scenes(0, 8, 32, "onboard").rgb - 1.0
    assert codec.counts == tuple(64 * k for k in range(1, 9))
    for count in codec.counts:
        symbols = receiver.encode(x, 10.0, count)
        assert symbols.shape == (8, count)
        assert np.mean(np.abs(symbols) ** 2, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_more_pilots_cost_uses_and_unknown_gains_cost_quality_of_fit(weights: dict[str, Path]) -> None:
    options: dict = {
        "scene": 1, "images": 24, "weights": weights, "link": "ofdm:snr_db=15,taps=8,decay=4,subcarriers=64",
    }  # fmt: skip
    known, guessed = (agentsc.transmit(**options, csi=csi).metrics for csi in ("known", "mmse"))
    assert known["channel_uses"]["mean"] == 256 + 4 * 12
    assert guessed["channel_uses"]["mean"] == 256 + 64 + 5 * 12
    assert known["bytes_equivalent"]["mean"] == pytest.approx(guessed["bytes_equivalent"]["mean"], rel=1e-6)


def test_a_picture_is_sent_tile_by_tile(weights: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)).save(path)
    result = agentsc.transmit(path, weights=weights, out=tmp_path / "sent")
    assert result.data["config"]["source"]["tiles"] == [2, 4] and len(result.received) == 8
    assert result.metrics["miou"]["mean"] is None and "picture" in result.metrics["miou"]["reason"]
    with Image.open(tmp_path / "sent" / "side-by-side.png") as shown:
        assert shown.size[0] > shown.size[1], "two pictures of 128 × 64, one beside the other"
    with Image.open(tmp_path / "sent" / "received.png") as alone:
        pixels = np.asarray(alone)
    assert pixels.shape == (64, 128, 3)
    np.testing.assert_allclose(pixels[32:, 96:], 255.0 * result.received[7].transpose(1, 2, 0), atol=0.51)


def _save(path: Path, size: tuple[int, int], mode: str, **options: object) -> Path:
    Image.new(mode, size).save(path, **options)  # type: ignore[arg-type]
    return path


def test_kinds_of_picture_files(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    source = of_file(tmp_path / "clear.png", 32)
    assert (source.rgb == 1.0).all() and source.about["notes"] == ["transparent on white"]
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    source = of_file(tmp_path / "film.gif", 32)
    assert source.rgb[0, 0].min() > 0.9 and source.about["notes"] == ["first of 2 frames"]
    for mode in ("L", "1", "P", "CMYK", "LA"):
        suffix = "tif" if mode == "CMYK" else "png"
        assert of_file(_save(tmp_path / f"{mode}.{suffix}", (40, 70), mode), 32).rgb.shape == (2, 3, 32, 32)
    deep = np.full((32, 32), 32768, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert of_file(tmp_path / "deep.png", 32).rgb == pytest.approx(0.5, abs=0.01)
    small = of_file(_save(tmp_path / "small.png", (8, 100), "RGB"), 32)
    assert small.about["tiles"] == [4, 1], "a side is brought to a tile at least"
    turned = Image.new("RGB", (128, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert of_file(tmp_path / "turned.jpg", 32).about["tiles"] == [4, 1], "as the camera was held"


def test_files_that_are_no_pictures_to_send_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    whole = _save(tmp_path / "whole.png", (300, 300), "RGB").read_bytes()
    noisy = tmp_path / "noisy.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(noisy)
    (tmp_path / "cut.jpg").write_bytes(noisy.read_bytes()[:4000])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "head.png").write_bytes(whole[:40])
    _save(tmp_path / "line.png", (1, 64), "RGB")
    _save(tmp_path / "slim.png", (10, 600), "RGB")
    _save(tmp_path / "bomb.png", (20_000, 20_000), "1")
    _save(tmp_path / "large.png", (9000, 8000), "1")
    for name, word in (
        ("none.png", "no such file"), ("text.png", "none"), ("cut.jpg", "cannot be read"), ("empty.png", "none"),
        ("head.png", "head.png"), ("line.png", "8 pixels"), ("slim.png", "ratio"), ("bomb.png", "at most"),
        ("large.png", "at most"), (".", "no such file"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=word):
            of_file(tmp_path / name, 32)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "neither"),
        ({"image": "a.png", "scene": 1}, "both"),
        ({"scene": 1, "cbr": "1/7"}, "cbr"),
        ({"scene": 1, "cbr": "many"}, "cbr"),
        ({"scene": 1, "cbr": 0}, "cbr"),
        ({"scene": -1}, "scene"),
        ({"scene": 1, "images": 0}, "images"),
        ({"scene": 1, "decoder": "jcss"}, "choose one of .*jscc"),
        ({"scene": 1, "decoder": "sdedit:strength=-1"}, "strength"),
        ({"scene": 1, "link": "erasure:p=0.5"}, "snr_db"),
        ({"scene": 1, "csi": "guess"}, "csi"),
        ({"scene": 1, "families": ["mazy"]}, "maze"),
        ({"scene": 1, "device": "tpu"}, "device"),
        ({"scene": 1, "weights": {"jscc": "no.safetensors"}}, "no.safetensors"),
        ({"scene": 1, "weights": {"jcss": "no.safetensors"}}, "choose one of .*jscc"),
        ({"scene": 1, "decoder": "conditional", "weights": {"jscc": "own"}}, "conditional:codec=FILE"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_leaves_nothing(
    options: dict, word: str, weights: dict[str, Path], tmp_path: Path
) -> None:
    own = {name: weights[name] if file == "own" else file for name, file in options.get("weights", weights).items()}
    with pytest.raises(ConfigError, match=word):
        agentsc.transmit(**{**options, "weights": own}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_networks_of_another_size_send_images_of_that_size(weights: dict[str, Path], tmp_path: Path) -> None:
    large: dict[str, Path] = {}
    for name, width in (("jscc", "fine"), ("scene-prior", "width"), ("segmenter", "width")):
        large[name] = tmp_path / f"{name}.safetensors"
        train(f"{name}:size=64,batch=2,held_out=16,{width}=8", steps=1, out=large[name])
    sent = agentsc.transmit(scene=0, images=2, decoder="variance-aware:steps=2", weights=large)
    assert sent.received.shape == (2, 3, 64, 64) and sent.data["config"]["symbols_per_image"] == 1024
    assert np.array_equal(sent.sent, camera.bank(2_000_000_000, 2, 64).rgb)
    for name, file in large.items():
        with pytest.raises(ConfigError, match=rf"one size, got .*{name} 64.*size=64"):
            agentsc.transmit(scene=0, images=2, weights={**weights, name: file})


def test_quality_has_its_closed_forms() -> None:
    flat = np.full((2, 3, 32, 32), 0.5)
    assert quality.psnr_db(flat + 0.1, flat) == pytest.approx(20.0)
    c1 = 0.01**2
    assert quality.ssim(flat, flat) == pytest.approx(1.0)
    assert quality.ssim(flat + 0.2, flat) == pytest.approx((2 * 0.7 * 0.5 + c1) / (0.7**2 + 0.5**2 + c1))
    maps = np.array([[[0, 0], [1, 1]]])
    assert quality.miou(maps, np.array([[[0, 0], [0, 1]]]), 6) == pytest.approx((2 / 3 + 1 / 2) / 2)
    draws = keyed.normal(keyed.hash_words(1, np.arange(20_000)), (3,)).astype(np.float64)
    assert quality.frechet(draws, draws) == pytest.approx(0.0, abs=1e-9)
    assert quality.frechet(2.0 * draws + 1.0, draws) == pytest.approx(3.0 + 3.0, rel=0.03), "Σ (μ² + (σ − 1)²)"
    dead = draws * np.array([1.0, 1.0, 0.0])
    assert quality.frechet(dead, draws) == pytest.approx(1.0, rel=0.05), "a feature that is 0 throughout"


def test_the_command_prints_one_object_and_tells_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """With the shipped weights, as a newcomer would call it."""
    with pytest.raises(SystemExit) as ended:
        main(["transmit", "--scene", "7", "--images", "4", "--link", "awgn:snr_db=10", "--decoder", "jscc", "--json"])
    assert ended.value.code in (0, None)
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"schema", "config", "metrics"} and printed["metrics"]["psnr_db"]["n"] == 4
    with pytest.raises(SystemExit) as ended:
        main(["transmit", "--scene", "7", "--decoder", "telepathy"])
    assert ended.value.code == 2 and "telepathy" in capsys.readouterr().err


def test_weights_of_ones_own_stand_in_for_the_shipped_ones(
    weights: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*options: str) -> dict:
        with pytest.raises(SystemExit) as ended:
            main([*options, "--scene", "7", "--images", "2", "--json"])
        assert ended.value.code in (0, None)
        found: dict = json.loads(capsys.readouterr().out)
        return found

    given = f"jscc={weights['jscc']}"
    shipped, own = printed("transmit"), printed("transmit", "--weights", given)
    assert shipped["config"]["weights"] == {} and set(own["config"]["weights"]) == {"jscc"}
    assert own["config"]["weights"]["jscc"] == hashlib.sha256(weights["jscc"].read_bytes()).hexdigest()[:12]
    assert own["metrics"]["psnr_db"]["mean"] < shipped["metrics"]["psnr_db"]["mean"] - 3.0, "barely trained"
    seen = printed("perceive", "--decoder", "jscc", "--weights", given)
    assert seen["config"]["weights"] == own["config"]["weights"]
    with pytest.raises(SystemExit) as ended:
        main(["transmit", "--scene", "7", "--weights", "jscc"])
    assert ended.value.code == 2 and "NAME=FILE" in capsys.readouterr().err
