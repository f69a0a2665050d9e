"""The human scenario: images over a radio to a person. `transmit` is ``agentsc transmit``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agentsc.experiment.metrics import mean, unmeasured
from agentsc.experiment.store import claim, dumps, write_frame
from agentsc.experiment.versions import versions
from agentsc.semantic import DECODERS, quality
from agentsc.semantic.channel import PREFIX, Csi, Reference, SymbolChannel
from agentsc.semantic.picture import heat, received_alone, side_by_side
from agentsc.semantic.receiver import Decoder, Receiver, segmented
from agentsc.semantic.source import REFERENCE_SEED, Source, of_file, of_scenes
from envs import camera, keyed
from envs.camera import View
from envs.errors import ConfigError
from envs.scenery import CLASSES, TRAINED
from policies.core import DiffusionCore
from policies.scene.files import fingerprints
from policies.scene.shipped import scene_core

SCHEMA = 1
FULL_QUALITY_CBR = "1/12"
CHUNK = 64
"""Images that are decoded at a time."""


@dataclass(frozen=True)
class Transmission:
    """What came of it.

    Attributes:
        data: the object that ``--json`` prints. rows: metrics per image. sent, received: float32 [B, 3, size, size] in
            [0, 1]. expected_error: float32 [B, size, size], root mean squared error that draws make one expect of every
            pixel of their mean, of peak 1; only of means of several draws. folder: where files are, if asked for.
    """

    data: dict[str, Any]
    rows: dict[str, NDArray]
    sent: NDArray[np.float32]
    received: NDArray[np.float32]
    expected_error: NDArray[np.float32] | None
    folder: Path | None

    @property
    def metrics(self) -> dict[str, Any]:
        """name → {"mean", "ci95", "n"}."""
        found: dict[str, Any] = self.data["metrics"]
        return found


def transmit(
    image: Path | str | None = None,
    *,
    scene: int | None = None,
    link: str = "awgn:snr_db=10",
    cbr: float | str = FULL_QUALITY_CBR,
    decoder: str = "jscc",
    images: int = 16,
    view: View = "birds-eye",
    families: Sequence[str] = TRAINED,
    longest: int = 128,
    csi: Csi = "known",
    pilots: int = 1,
    reference: Reference = "transmit",
    prefix: int = PREFIX,
    design_snr_db: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    out: Path | str | None = None,
    weights: Mapping[str, Path | str] | None = None,
    progress: Callable[[str, int, int, dict[str, float]], None] | None = None,
) -> Transmission:
    """Send images over a radio as analog symbols, decode them, and say how good they are.

    Args:
        image: a picture file, cut into tiles; or scene: number of the first of ``images`` scenes, which training has
            never seen. One of the two.
        link: awgn, rayleigh, rician or ofdm with ``snr_db``. cbr: complex channel uses for data per number of an image.
        decoder: ``NAME[:key=value,…]``, see agentsc list decoders.
        view, families: of scenes. longest: pixels of a picture's longer side.
        csi, pilots, reference, prefix: see `agentsc.semantic.channel.SymbolChannel`.
        design_snr_db: what the sender expects, and codes for; the link's if left out.
        seed: of the channel's and the decoder's draws. device: where networks run.
        out: folder, new or empty, for ``result.json``, ``images.parquet``, ``received.png`` and
            ``side-by-side.png``; of means of several draws ``expected-error.png``, too.
        weights: name of a model → its file, in place of the shipped ones; the result has their fingerprints.
        progress: called with (stage, done, total, facts).

    Raises:
        ConfigError: bad options; nothing was sent. RunError: a decoder's samples are not finite.
    """
    if (image is None) == (scene is None):
        raise ConfigError("transmit takes an IMAGE or --scene SEED, got " + ("neither" if image is None else "both"))
    chosen: Decoder = DECODERS.parse(decoder)
    channel = SymbolChannel(link, seed, csi=csi, pilots=pilots, reference=reference, prefix=prefix)
    rate = parse_rate(cbr)
    expected = channel.snr_db if design_snr_db is None else float(design_snr_db)
    if not math.isfinite(expected):
        raise ConfigError(f"design_snr_db must be finite, got {design_snr_db} (SNR that the sender expects)")
    own = fingerprints(weights)
    core, codec = scene_core(weights, device, also=chosen.models)
    count = codec.count_of(rate)
    size = codec.shape[-1]
    if scene is not None:
        source = of_scenes(scene, images, size, view, families)
    else:
        assert image is not None
        source = of_file(image, size, longest)
    folder = claim(out, "transmit") if out is not None else None
    torch.set_num_threads(1)
    report = progress or (lambda *_: None)
    receiver = Receiver(core, codec)

    made, expected_error, rows = _send(receiver, channel, chosen, source, count, expected, seed, report)
    rows |= {"psnr_db": quality.psnr_db(made, source.rgb), "ssim": quality.ssim(made, source.rgb)}
    metrics = {name: mean(rows[name], "no images") for name in ("psnr_db", "ssim")}
    metrics |= _understood(core, source, made, rows)
    for name in rows:
        if name not in metrics:
            metrics[name] = mean(rows[name], "no images")
    if "expected_mse" in rows:
        metrics["spread_skill"] = quality.spread_skill(rows["expected_mse"], rows["psnr_db"])
    if not chosen.analog:
        metrics["residual"] = unmeasured("bits were sent: there are no symbols of the image to compare with")
    config = {
        "source": source.about, "link": link, "cbr": count / math.prod(codec.shape), "decoder": decoder,
        "decoder_parameters": chosen.model_dump(), "csi": csi, "pilots": pilots, "reference": reference,
        "prefix": prefix, "seed": seed, "device": device, "symbols_per_image": count, "power_per_image": 1.0,
        "snr_db": channel.snr_db, "design_snr_db": expected, "n0": 10.0 ** (-0.1 * channel.snr_db),
        "uses": vars(channel.uses(count)), "link_parameters": channel.link.model_dump(), "weights": own,
        "versions": versions(),
    }  # fmt: skip
    data = {"schema": SCHEMA, "config": config, "metrics": metrics}
    if folder is not None:
        _write(folder, data, rows, source, made, expected_error, f"{chosen_name(decoder)}, {link}")
    return Transmission(data, rows, source.rgb, made, expected_error, folder)


def chosen_name(decoder: str) -> str:
    """The name in ``NAME:key=value,…``."""
    return decoder.partition(":")[0]


def parse_rate(cbr: float | str) -> float:
    """A number, or text such as 1/12.

    Raises:
        ConfigError: not a positive number.
    """
    try:
        top, _, bottom = str(cbr).partition("/")
        rate = float(top) / float(bottom or 1.0)
    except (ValueError, ZeroDivisionError):
        rate = math.nan
    if not 0.0 < rate < math.inf:
        raise ConfigError(f"cbr must be a positive number such as 1/12, got {cbr!r} (channel uses per number)")
    return rate


def _send(
    receiver: Receiver,
    channel: SymbolChannel,
    decoder: Decoder,
    source: Source,
    count: int,
    expected: float,
    seed: int,
    report: Callable[[str, int, int, dict[str, float]], None],
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, dict[str, NDArray]]:
    """Received images in [0, 1], the errors to be expected of their pixels, and what each image took."""
    total = len(source.rgb)
    parts: list[NDArray[np.float32]] = []
    errors: list[NDArray[np.float32]] = []
    rows: dict[str, list[NDArray]] = {}
    for first in range(0, total, CHUNK):
        x = 2.0 * source.rgb[first : first + CHUNK] - 1.0
        began = time.process_time()
        heard, arrival = decoder.send(receiver, channel, x, count, first, expected)
        sender_cpu_ms = 1e3 * (time.process_time() - began) / len(x)
        keys = keyed.hash_words(seed, keyed.stream_id("decoder"), first + np.arange(len(x)))
        began = time.process_time()
        decoded = decoder.decode(receiver, arrival, keys)
        cpu_ms = 1e3 * (time.process_time() - began) / len(x)
        got = np.clip(decoded.x, -1.0, 1.0)
        found = {
            "network_calls": decoded.calls, "cpu_ms": np.full(len(x), cpu_ms),
            "sender_cpu_ms": np.full(len(x), sender_cpu_ms),
            "channel_uses": np.full(len(x), heard.uses.total), "bytes_equivalent": heard.capacity_bits / 8.0,
        }  # fmt: skip
        gain = heard.gain if decoded.gain is None else decoded.gain
        if decoder.analog:
            # What the image would have sent, against what arrived: 1 if it explains the symbols as well as the truth.
            noise = heard.noise_variance if decoded.gain is None else heard.true_noise
            again, said = receiver.encode(got, expected, count), receiver.encode(x, expected, count)
            found["residual"] = np.mean(np.abs(heard.received - gain * again) ** 2, axis=1) / noise
            found["code_moved"] = np.mean(np.abs(again - said) ** 2, axis=1)
        if channel.csi != "known" and channel.link.fades:
            found["gain_nmse"] = np.mean(np.abs(gain - heard.true_gain) ** 2, axis=1)
        if decoded.expected is not None:
            found["expected_mse"] = decoded.expected.mean(axis=(1, 2), dtype=np.float64)
            errors.append(np.sqrt(decoded.expected))
        found.update(decoded.facts)
        found.update(decoder.kept(receiver, arrival, decoded))
        for name, values in found.items():
            rows.setdefault(name, []).append(np.asarray(values))
        parts.append(0.5 * (got + 1.0))
        report("images", min(first + CHUNK, total), total, {})
    expected_error = np.concatenate(errors) if errors else None
    return np.concatenate(parts), expected_error, {name: np.concatenate(values) for name, values in rows.items()}


def _understood(
    core: DiffusionCore, source: Source, made: NDArray[np.float32], rows: dict[str, NDArray]
) -> dict[str, Any]:
    """What a machine still understands: mIoU of the segmented images, and FD-task with its floor."""
    heard = segmented(core, 2.0 * made - 1.0)
    if source.labels is None:
        maps = unmeasured("nobody knows the true map of a picture")
        return {"miou": maps, "miou_sent": maps} | dict.fromkeys(
            ("fd_task", "fd_task_floor"), unmeasured("the tiles of one picture are no sample of scenes")
        )
    sent = segmented(core, 2.0 * source.rgb - 1.0)
    rows["miou"] = quality.miou(heard.labels, source.labels, len(CLASSES))
    rows["miou_sent"] = quality.miou(sent.labels, source.labels, len(CLASSES))
    found = {name: mean(rows[name], "no images") for name in ("miou", "miou_sent")}
    if len(made) < quality.FEWEST:
        few = unmeasured(f"needs {quality.FEWEST} images or more, got {len(made)}")
        return found | {"fd_task": few, "fd_task_floor": few}
    about = source.about
    other = camera.bank(REFERENCE_SEED, len(made), made.shape[-1], about["view"], about["families"]).rgb
    real = segmented(core, 2.0 * other - 1.0).features
    return found | {
        "fd_task": quality.frechet_metric(heard.features, real),
        "fd_task_floor": quality.frechet_metric(sent.features, real),
    }


def _write(
    folder: Path,
    data: dict[str, Any],
    rows: dict[str, NDArray],
    source: Source,
    made: NDArray[np.float32],
    expected_error: NDArray[np.float32] | None,
    title: str,
) -> None:
    import polars

    write_frame(polars.DataFrame({"image": np.arange(len(made)), **rows}), folder / "images.parquet")
    received_alone(source, made, folder / "received.png")
    columns = {title: made}
    if expected_error is not None:
        error = np.sqrt(np.square(made - source.rgb).mean(axis=1))
        top = float(max(np.quantile(error, 0.99), 1e-3))
        columns |= {f"expected error, 0 to {top:.2f}": heat(expected_error, top), "error": heat(error, top)}
        received_alone(source, heat(expected_error, top), folder / "expected-error.png")
    side_by_side(source, columns, folder / "side-by-side.png")
    (folder / "result.json").write_text(dumps(data) + "\n", encoding="utf-8")


def table(data: dict[str, Any]) -> Any:
    """The metrics of a result as a table for the terminal."""
    config = data["config"]
    return metric_table(data, f"{config['decoder']} over {config['link']}, CBR {config['cbr']:.4g}")


def metric_table(data: Mapping[str, Any], title: str) -> Any:
    """Any result's metrics as a table."""
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("metric", "mean", "95 % interval", "n"):
        made.add_column(column)
    for name, figure in data["metrics"].items():
        if figure["mean"] is None:
            made.add_row(name, "–", figure["reason"], str(figure["n"]))
            continue
        low, high = figure["ci95"]
        interval = "–" if low is None else f"{low:.4g} … {high:.4g}"
        made.add_row(name, f"{figure['mean']:.4g}", interval, str(figure["n"]))
    return made
