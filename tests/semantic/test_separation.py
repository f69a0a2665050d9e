"""The separation baseline against closed forms: capacity, outage, lossless codes, rates, and its cliff."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import agentsc
from agentsc.links.radio.link import LADDER
from agentsc.links.radio.packet_error import SHIPPED, read_curves
from agentsc.semantic import DECODERS, channel_code, stills
from agentsc.semantic.channel import SymbolChannel, mutual_information
from agentsc.semantic.decoders.separation import Delivered
from agentsc.semantic.receiver import Receiver
from agentsc.semantic.source import of_scenes
from envs import keyed
from envs.errors import ConfigError
from policies.scene.digital import LEVELS, TransformCodec, TransformModel
from policies.scene.shipped import TRANSFORM, scene_core


@pytest.fixture(scope="module")
def networks(weights: dict[str, Path]) -> dict[str, Path]:
    """Trained for a moment, but for the shipped transform code: an untrained one fits into no channel."""
    return {name: path for name, path in weights.items() if name != TRANSFORM}


@pytest.fixture(scope="module")
def receiver(networks: dict[str, Path]) -> Receiver:
    return Receiver(*scene_core(networks, also=[TRANSFORM]))


@pytest.fixture(scope="module")
def codec(receiver: Receiver) -> TransformCodec:
    model = receiver.core.models[TRANSFORM]
    assert isinstance(model, TransformModel)
    return model.codec


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return (2.0 * of_scenes(0, 16, 32, "birds-eye").rgb - 1.0).astype(np.float32)


def test_reading_needs_the_bytes_alone_and_gives_what_the_sender_saw(codec: TransformCodec, x: np.ndarray) -> None:
    level = np.arange(16) * 4
    data, length = codec.write(torch.as_tensor(x), level)
    seen = codec.read(data)
    # The same numbers, from a copy that never saw the images.
    again = TransformCodec(codec.network, codec.mean.tolist(), 32).read(np.pad(data, ((0, 0), (0, 40))))
    assert np.array_equal(seen, again)
    symbols, _ = codec._symbols(torch.as_tensor(x), level)
    back, _ = codec.write(torch.as_tensor(x), level)
    assert np.array_equal(back, data) and len(symbols) == 16
    for row in range(16):
        assert not data[row, length[row] :].any(), "the rest is filling"
    damaged = data.copy()
    damaged[:, 2] ^= 0x55
    assert np.isfinite(codec.read(damaged)).all() and not np.array_equal(codec.read(damaged), seen)


def test_the_forecasts_of_the_reader_are_those_of_the_writer(codec: TransformCodec, x: np.ndarray) -> None:
    """The rounded numbers themselves, not only the images, come back."""
    level = np.full(16, LEVELS - 1)
    data, _ = codec.write(torch.as_tensor(x), level)
    kept: list[torch.Tensor] = []
    plain = codec.network.synthesise

    def watch(numbers: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
        kept.append(numbers)
        return plain(numbers, quality)

    codec.network.synthesise = watch  # type: ignore[method-assign]
    codec.read(data)
    codec.network.synthesise = plain  # type: ignore[method-assign]
    with torch.no_grad():
        numbers = codec.network.analyse(torch.as_tensor(x), torch.ones(16))
    away = (kept[0] - numbers).abs() > 0.5 + 1e-4
    assert away.float().mean() < 1e-3, "rounded, and nothing else was lost but numbers far off"


def test_rate_grows_with_quality_and_what_fits_fits(codec: TransformCodec, x: np.ndarray) -> None:
    costs = np.stack([codec.cost(torch.as_tensor(x), np.full(16, level)) for level in range(0, LEVELS, 9)])
    assert (np.diff(costs.mean(axis=1)) > 0.0).all()
    data, length = codec.write(torch.as_tensor(x), np.full(16, 40))
    assert (8 * length < codec.cost(torch.as_tensor(x), np.full(16, 40)) + 16).all()
    best = None
    for bits in (0, 40, 400, 900, 2000, 5000):
        frames, taken, level = codec.fit(torch.as_tensor(x), bits)
        assert frames.shape == (16, bits // 8) and (8 * taken <= bits).all()
        assert bits or (level == -1).all()
        assert best is None or (level >= best).all(), "more room, no less quality"
        best = level


@pytest.mark.parametrize("snr_db", [0.0, 7.0])
def test_bits_stay_below_capacity(networks: dict[str, Path], snr_db: float) -> None:
    result = agentsc.transmit(scene=3, images=8, decoder="separation", link=f"awgn:snr_db={snr_db}", weights=networks)
    bound = 256 * np.log2(1.0 + 10.0 ** (0.1 * snr_db))
    assert (result.rows["coded_bits"] <= bound).all() and (result.rows["coded_bits"] > 0.0).all()
    assert channel_code.plan("capacity", 256, snr_db, 0.01).bits == int(bound)
    assert result.metrics["outage"]["mean"] == 0.0, "at the very channel that it was made for"


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_outage_over_rayleigh_is_the_closed_form(rate: float) -> None:
    snr = 10.0
    heard = SymbolChannel("rayleigh:snr_db=10", 5).send(np.ones((40_000, 4), np.complex128))
    lost = channel_code.block_errors(channel_code.Format(int(4 * rate), -1), heard)
    exact = 1.0 - np.exp(-(2.0**rate - 1.0) / snr)
    assert abs(lost.mean() - exact) < 4.0 * np.sqrt(exact * (1.0 - exact) / len(lost))


def test_separation_meets_that_outage_image_by_image(receiver: Receiver, x: np.ndarray) -> None:
    decoder = DECODERS.parse("separation:design_snr_db=5")
    many = np.tile(x[:1], (160, 1, 1, 1))
    channel = SymbolChannel("rayleigh:snr_db=10", 5)
    heard, arrival = decoder.send(receiver, channel, many, 64, 0, 10.0)
    decoded = decoder.decode(receiver, arrival, keyed.hash_words(1, np.arange(160)))
    bits = int(64 * np.log2(1.0 + 10.0**0.5))
    exact = 1.0 - np.exp(-(2.0 ** (bits / 64) - 1.0) / 10.0)
    lost = decoded.facts["outage"] > 0.0
    assert abs(lost.mean() - exact) < 4.0 * np.sqrt(exact * (1.0 - exact) / 160)
    assert np.array_equal(lost, heard.capacity_bits < bits)
    assert np.ptp(decoded.x[lost], axis=(0, 2, 3)).max() == 0.0, "one plain colour where nothing arrived"
    assert np.array_equal(decoded.x[~lost], np.broadcast_to(decoded.x[~lost][:1], decoded.x[~lost].shape))


def test_a_receiver_sees_frames_and_nothing_else_of_the_image(receiver: Receiver, x: np.ndarray) -> None:
    decoder = DECODERS.create("separation")
    _, arrival = decoder.send(receiver, SymbolChannel("awgn:snr_db=10", 1), x, 256, 0, 10.0)
    keys = keyed.hash_words(2, np.arange(16))
    seen = decoder.decode(receiver, arrival, keys).x
    alone = Delivered(arrival.frames.copy(), arrival.error.copy(), arrival.spent.copy())
    assert np.array_equal(decoder.decode(receiver, alone, keys).x, seen)
    assert set(vars(arrival)) == {"frames", "error", "spent"}
    lost = Delivered(arrival.frames, np.ones(16), arrival.spent)
    assert np.array_equal(
        decoder.decode(receiver, lost, keys).x,
        decoder.decode(receiver, Delivered(arrival.frames[::-1].copy(), np.ones(16), arrival.spent), keys).x,
    )


@pytest.mark.parametrize(
    "spec", ["awgn:snr_db=4", "rayleigh:snr_db=4", "rician:snr_db=4,k_db=3", "ofdm:snr_db=4,taps=4"]
)
def test_with_true_gains_mutual_information_is_capacity(spec: str) -> None:
    heard = SymbolChannel(spec, 3).send(np.ones((200, 96), np.complex128))
    assert mutual_information(heard) == pytest.approx(heard.capacity_bits, rel=1e-7)


def test_with_worse_gains_it_is_less_and_with_wrong_phases_nothing() -> None:
    sent = np.ones((2000, 32), np.complex128)
    some, few, none = (
        mutual_information(SymbolChannel("rayleigh:snr_db=10", 3, **options).send(sent))  # type: ignore[arg-type]
        for options in ({"csi": "ls", "pilots": 16}, {"csi": "ls", "pilots": 1}, {"csi": "unknown"})
    )
    known = SymbolChannel("rayleigh:snr_db=10", 3).send(sent)
    assert (some <= known.capacity_bits * (1.0 + 1e-9)).all()
    assert none.mean() < few.mean() < some.mean() < known.capacity_bits.mean()
    opposite = known.true_gain[:, 0].real < 0.0
    assert (none[opposite] == 0.0).all(), "a receiver that takes gains to be 1 reads the opposite"


def test_ldpc_takes_the_fastest_mode_that_is_safe_and_falls_off_a_cliff(networks: dict[str, Path]) -> None:
    modes = [channel_code.plan("ldpc", 256, snr, 0.01).mode for snr in (-5.0, 0.0, 4.0, 7.0, 11.0, 20.0)]
    assert modes == sorted(modes) and modes[0] == 0 and modes[-1] == len(LADDER) - 1
    for snr in (4.0, 10.0, 20.0):
        chosen = channel_code.plan("ldpc", 256, snr, 0.01)
        assert chosen.bits < 256 * np.log2(1.0 + 10.0 ** (0.1 * snr)), "below capacity"
        assert channel_code.ladder_errors(10.0 ** (0.1 * snr), chosen.bits + channel_code.CHECKSUM)[chosen.mode] <= 0.01
    chosen = channel_code.plan("ldpc", 256, 10.0, 0.01)
    curve = read_curves(SHIPPED)[chosen.mode]
    one = np.ones((1, 256), np.complex128)
    errors = [
        float(channel_code.block_errors(chosen, SymbolChannel(f"awgn:snr_db={snr}", 1).send(one))[0])
        for snr in (curve.snr_db[0], curve.snr_db[4], 10.0)
    ]
    assert errors[0] > 0.99 > errors[1] > errors[2] and errors[2] <= 0.01
    here, below = (
        agentsc.transmit(scene=3, images=8, decoder="separation:code=ldpc,design_snr_db=10", link=f"awgn:snr_db={snr}",
                         weights=networks).metrics["outage"]["mean"]
        for snr in (10, 3)
    )  # fmt: skip
    assert here == 0.0 and below == 1.0


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_files_come_back_without_what_receivers_know(kind: stills.Still, x: np.ndarray) -> None:
    import io

    from PIL import Image

    for quality in (0, 32, 94):
        code, whole = stills.write(x[0], kind, quality), stills._file(x[0], kind, quality)
        assert len(code) < len(whole) - 20
        with Image.open(io.BytesIO(whole)) as opened:
            plain = np.asarray(opened.convert("RGB"), np.float32).transpose(2, 0, 1) / 127.5 - 1.0
        for filling in (b"", b"\0" * 30):
            assert np.array_equal(stills.read(code + filling, kind, (32, 32)), plain)
    with pytest.raises(ValueError, match="quality"):
        stills.read(b"\xff\x00", kind, (32, 32))
    frames, length = stills.fit(x, kind, 3000)
    assert (length * 8 <= 3000).all() and (length > 0).all()
    assert (stills.fit(x, kind, 16)[1] == -1).all(), "too small for any"


def test_files_are_a_source_of_their_own(networks: dict[str, Path]) -> None:
    for source in ("jpeg", "webp"):
        result = agentsc.transmit(
            scene=3, images=4, decoder=f"separation:source={source}", cbr="1/6", link="awgn:snr_db=20", weights=networks
        )
        assert result.metrics["outage"]["mean"] == 0.0 and result.metrics["psnr_db"]["mean"] > 20.0


def test_without_sionna_real_codes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="sionna"):
        DECODERS.parse("separation:code=phy")
