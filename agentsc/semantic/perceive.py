"""The machine scenario: what a receiver knows of a scene at a budget of bits. `perceive` is ``agentsc perceive``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agentsc.experiment.metrics import Metric, mean, unmeasured
from agentsc.experiment.store import claim, dumps, write_frame
from agentsc.experiment.versions import versions
from agentsc.semantic import DECODERS, PERCEIVERS, RECEIVERS, quality
from agentsc.semantic.budget import Budget, Spread, bits_of, shared
from agentsc.semantic.channel import PREFIX, Csi, Reference, SymbolChannel
from agentsc.semantic.detection import f1
from agentsc.semantic.perceiver import Delivered, Perceiver, Pictured, Seen, Sent, Station, Understood, one_hot
from agentsc.semantic.picture import side_by_side
from agentsc.semantic.source import REFERENCE_SEED, Source, of_scenes
from agentsc.semantic.transmit import SCHEMA
from envs import camera, keyed
from envs.camera import View
from envs.errors import unknown_name
from envs.scenery import CLASSES, TRAINED
from policies.scene.files import fingerprints
from policies.scene.machine import machine_core

CHUNK = 64
"""Scenes that are understood at a time."""
COLOURS = np.asarray(
    [[0.93, 0.93, 0.9], [0.25, 0.27, 0.32], [0.98, 0.83, 0.45], [0.55, 0.75, 0.95], [0.25, 0.7, 0.35], [0.85, 0.2, 0.2]]
)
"""Of the classes, in pictures of maps."""


@dataclass(frozen=True)
class Perception:
    """What came of it.

    Attributes:
        data: the object that ``--json`` prints. rows: metrics per scene. truth, labels: uint8 [B, size, size], the true
            maps and those understood. received: float32 [B, 3, size, size] in [0, 1], or None if there was no picture.
        folder: where files are, if asked for.
    """

    data: dict[str, Any]
    rows: dict[str, NDArray]
    truth: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    received: NDArray[np.float32] | None
    folder: Path | None

    @property
    def metrics(self) -> dict[str, Any]:
        """name → {"mean", "ci95", "n"}."""
        found: dict[str, Any] = self.data["metrics"]
        return found


def perceive(
    *,
    scene: int,
    link: str = "awgn:snr_db=10",
    bits: int | str = 512,
    decoder: str = "map",
    images: int = 16,
    view: View = "birds-eye",
    families: Sequence[str] = TRAINED,
    csi: Csi = "known",
    pilots: int = 1,
    reference: Reference = "transmit",
    prefix: int = PREFIX,
    seed: int = 0,
    device: str = "cpu",
    out: Path | str | None = None,
    weights: Mapping[str, Path | str] | None = None,
    progress: Callable[[str, int, int, dict[str, float]], None] | None = None,
) -> Perception:
    """Tell a receiver what is where in scenes, at a budget of information bits each, and say how well it knows.

    Args:
        scene: number of the first of ``images`` scenes, which training has never seen.
        link: awgn, rayleigh, rician or ofdm with ``snr_db``. bits: of every scene, see `agentsc.semantic.budget`.
        decoder: ``NAME[:key=value,…]``, see agentsc list decoders; those of `agentsc.transmit` send a picture, which
            the receiver segments.
        view, families: of scenes.
        csi, pilots, reference, prefix: see `agentsc.semantic.channel.SymbolChannel`; pilots and prefix come on top of
            the budget's channel uses.
        seed: of the channel's and the receiver's draws. device: where networks run.
        out: folder, new or empty, for ``result.json``, ``images.parquet`` and ``side-by-side.png``.
        weights: name of a model → its file, in place of the shipped ones; the result has their fingerprints.
        progress: called with (stage, done, total, facts).

    Raises:
        ConfigError: bad options; nothing was sent. RunError: samples that are not finite.
    """
    chosen = path_of(decoder)
    channel = SymbolChannel(link, seed, csi=csi, pilots=pilots, reference=reference, prefix=prefix)
    budget = Budget(bits_of(bits), channel.snr_db)
    own = fingerprints(weights)
    pictures = chosen.models if isinstance(chosen, Pictured) else ()
    core, codec, maps = machine_core(chosen.needs, weights, device, pictures)
    station = Station(core, codec, maps, weights)
    source = of_scenes(scene, images, station.size, view, families)
    folder = claim(out, "perceive") if out is not None else None
    torch.set_num_threads(1)
    report = progress or (lambda *_: None)

    found, rows = _cross(station, channel, chosen, source, budget, seed, report)
    metrics = _judge(station, source, found, rows)
    config = {
        "source": source.about, "link": link, "bits": budget.bits, "decoder": decoder,
        "decoder_parameters": chosen.model_dump(), "csi": csi, "pilots": pilots, "reference": reference,
        "prefix": prefix, "seed": seed, "device": device, "uses_per_image": budget.uses, "power_per_image": 1.0,
        "snr_db": channel.snr_db, "n0": 10.0 ** (-0.1 * channel.snr_db),
        "uses": vars(channel.uses(budget.uses)), "link_parameters": channel.link.model_dump(), "weights": own,
        "versions": versions(),
    }  # fmt: skip
    data = {"schema": SCHEMA, "config": config, "metrics": metrics}
    if folder is not None:
        _write(folder, data, rows, source, found)
    assert source.labels is not None
    return Perception(data, rows, source.labels, found.labels, found.rgb, folder)


def path_of(decoder: str) -> Perceiver | Pictured:
    """The path of ``NAME[:key=value,…]``.

    Raises:
        ConfigError: no such name, or parameters that do not fit it.
    """
    name = decoder.partition(":")[0].strip()
    if name in PERCEIVERS:
        found: Perceiver = PERCEIVERS.parse(decoder)
        return found
    if name in DECODERS:
        return Pictured(DECODERS.parse(decoder))
    raise unknown_name("decoder", name, RECEIVERS)


def _cross(
    station: Station,
    channel: SymbolChannel,
    chosen: Perceiver | Pictured,
    source: Source,
    budget: Budget,
    seed: int,
    report: Callable[[str, int, int, dict[str, float]], None],
) -> tuple[Understood, dict[str, NDArray]]:
    """What is understood of all scenes, and what each took."""
    total = len(source.rgb)
    parts: list[Understood] = []
    rows: dict[str, list[NDArray]] = {}
    for first in range(0, total, CHUNK):
        numbers = np.arange(first, min(first + CHUNK, total))
        began = time.process_time()
        seen = _seen(station, source, numbers, chosen.labels)
        sent = chosen.send(station, seen, budget)
        sender_ms = 1e3 * (time.process_time() - began) / len(numbers)
        keys = keyed.hash_words(seed, keyed.stream_id("perceiver"), numbers)
        began = time.process_time()
        delivered, took = deliver(channel, chosen, sent, budget, keys, seed, first, station)
        if sent.picture is not None:  # then the sender does its work on the way across
            sender_ms += 1e3 * (time.process_time() - began) / len(numbers)
        began = time.process_time()
        found = chosen.understand(station, delivered, keys)
        cpu_ms = 1e3 * (time.process_time() - began) / len(numbers)
        took |= {"network_calls": found.calls, **found.rows}
        took |= {name: np.full(len(numbers), ms) for name, ms in (("cpu_ms", cpu_ms), ("sender_cpu_ms", sender_ms))}
        for name, values in took.items():
            rows.setdefault(name, []).append(np.asarray(values))
        parts.append(found)
        report("scenes", int(numbers[-1]) + 1, total, {})

    def whole(name: str) -> Any:
        each = [getattr(part, name) for part in parts]
        return None if each[0] is None else np.concatenate(each)

    joined = Understood(whole("labels"), whole("calls"), whole("rgb"), whole("provisional"))
    return joined, {name: np.concatenate(values) for name, values in rows.items()}


def _seen(station: Station, source: Source, numbers: NDArray[np.intp], labels: str) -> Seen:
    """What senders have of some of the scenes."""
    rgb = source.rgb[numbers]
    if labels == "true":
        assert source.labels is not None
        return Seen(rgb, source.labels[numbers], one_hot(source.labels[numbers]))
    own, soft, _ = station.look(rgb)
    return Seen(rgb, own, soft)


def deliver(
    channel: SymbolChannel,
    chosen: Perceiver | Pictured,
    sent: Sent,
    budget: Budget,
    keys: NDArray[np.uint64],
    seed: int,
    first: int,
    station: Station | None = None,
) -> tuple[Delivered, dict[str, NDArray]]:
    """What a link makes of what was sent; figures per scene.

    Args:
        sent: a `Sent`. first: number of the first scene; what it meets depends on (seed, its number) alone.
        station: for decoders that cross by a way of their own.
    """
    batch, uses = len(keys), budget.uses
    if sent.packets is not None:
        assert sent.bits is not None and isinstance(chosen, Perceiver)
        heard = channel.send(np.ones((batch, uses), np.complex128), first=first)
        come = chosen.arrives(sent.bits, heard.capacity_bits, keys, budget)
        packets = [packet if ok else None for packet, ok in zip(sent.packets, come, strict=True)]
        took = {"payload_bits": sent.bits, "delivered": np.asarray([each is not None for each in packets], np.float64)}
        own = np.full(batch, uses)
        delivered = Delivered(packets=packets)
        carried = heard.capacity_bits
    elif sent.picture is not None:
        assert isinstance(chosen, Pictured) and station is not None
        heard, told = chosen.cross(station, channel, sent, budget, first)
        delivered, own, carried, took = Delivered(told), np.full(batch, uses), heard.capacity_bits, {}
    else:
        assert sent.symbols is not None
        spread = Spread(sent.symbols.shape[1], uses, shared(batch, uses, *chosen.shares, seed, first))
        heard = channel.send(spread.put(sent.symbols), first=first)
        early = None if chosen.early is None else max(1, round(chosen.early * uses))
        delivered = Delivered(
            spread.take(heard, budget.snr_db), None if early is None else spread.take(heard, budget.snr_db, early)
        )
        own = np.full(batch, uses) if spread.own is None else spread.own.sum(axis=1)
        snr = np.abs(heard.true_gain) ** 2 / heard.true_noise[:, None]
        carried = np.log2(1.0 + snr).sum(axis=1, where=True if spread.own is None else spread.own)
        took = {}
    extra = heard.uses.total - heard.uses.data
    return delivered, took | {"channel_uses": own + extra, "bytes_equivalent": carried / 8.0}


def _judge(station: Station, source: Source, found: Understood, rows: dict[str, NDArray]) -> dict[str, Metric]:
    """All metrics; adds those of single scenes to ``rows``."""
    truth, classes = source.labels, len(CLASSES)
    assert truth is not None
    rows |= {"miou": quality.miou(found.labels, truth, classes), "f1": f1(found.labels, truth)}
    sent = station.look(source.rgb)
    rows |= {"miou_sent": quality.miou(sent[0], truth, classes), "f1_sent": f1(sent[0], truth)}
    if found.provisional is not None:
        rows["provisional_miou"] = quality.miou(found.provisional, truth, classes)
        rows["provisional_f1"] = f1(found.provisional, truth)
    if found.rgb is not None:
        rows |= {"psnr_db": quality.psnr_db(found.rgb, source.rgb), "ssim": quality.ssim(found.rgb, source.rgb)}
    metrics = {name: mean(values, "no scenes") for name, values in rows.items()}
    none = unmeasured("this path makes no picture")
    if found.rgb is None:
        return metrics | dict.fromkeys(("psnr_db", "ssim", "fd_task", "fd_task_floor"), none)
    if len(truth) < quality.FEWEST:
        few = unmeasured(f"needs {quality.FEWEST} images or more, got {len(truth)}")
        return metrics | {"fd_task": few, "fd_task_floor": few}
    about = source.about
    other = camera.bank(REFERENCE_SEED, len(truth), station.size, about["view"], about["families"]).rgb
    real = station.look(other)[2]
    made = station.look(found.rgb)[2]
    return metrics | {
        "fd_task": quality.frechet_metric(made, real), "fd_task_floor": quality.frechet_metric(sent[2], real),
    }  # fmt: skip


def painted(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Maps [B, H, W] in the colours of their classes, float32 [B, 3, H, W]."""
    return np.asarray(COLOURS[labels].transpose(0, 3, 1, 2), np.float32)


def _write(folder: Path, data: dict[str, Any], rows: dict[str, NDArray], source: Source, found: Understood) -> None:
    import polars

    assert source.labels is not None
    write_frame(polars.DataFrame({"image": np.arange(len(found.labels)), **rows}), folder / "images.parquet")
    columns = {"true map": painted(source.labels)}
    if found.rgb is not None:
        columns["picture at the receiver"] = found.rgb
    if found.provisional is not None:
        columns["understood at once"] = painted(found.provisional)
    columns["understood"] = painted(found.labels)
    side_by_side(source, columns, folder / "side-by-side.png")
    (folder / "result.json").write_text(dumps(data) + "\n", encoding="utf-8")


def table(data: dict[str, Any]) -> Any:
    """The metrics of a result as a table for the terminal."""
    from agentsc.semantic.transmit import table as plain

    config = data["config"]
    made = plain({**data, "config": {**config, "cbr": 0.0}})
    made.title = f"{config['decoder']} over {config['link']}, {config['bits']} bits, {config['uses_per_image']} uses"
    return made


