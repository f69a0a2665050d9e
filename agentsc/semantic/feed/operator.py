"""A film of a run as an operator receives it. `feed` is ``agentsc feed``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from agentsc.experiment.metrics import mean, unmeasured
from agentsc.experiment.store import claim, dumps, write_frame
from agentsc.experiment.versions import versions
from agentsc.links import parse_link
from agentsc.links.medium import Medium, Packets
from agentsc.semantic import DECODERS, quality
from agentsc.semantic.channel import SymbolChannel
from agentsc.semantic.feed.ends import Screen, Stale, Station
from agentsc.semantic.feed.paint import Painter, tiles, whole
from agentsc.semantic.feed.tokens import MOST_FRAMES, Facts, Lattice, Objects
from agentsc.semantic.receiver import Decoder, Receiver
from agentsc.semantic.transmit import parse_rate
from agentsc.view.film import check_output, write_film
from agentsc.view.recording import Source, open_recording
from envs import keyed
from envs.errors import ConfigError
from policies.core import DiffusionCore
from policies.scene.codec import ImageCodec
from policies.scene.shipped import scene_core

SCHEMA = 1
STATION, OPERATOR = 0, 1
"""Numbers of the two radios."""
ROUNDS = 4
"""Message rounds between frames."""
ANALOG = ("awgn", "rayleigh", "rician", "ofdm")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fed:
    """What came of it.

    Attributes:
        data: the object that ``--json`` prints. rows: name → a number per frame. true, shown: float32 [N, 3, P, P] in
            [0, 1], the films. folder: where files are, if asked for.
    """

    data: dict[str, Any]
    rows: dict[str, NDArray]
    true: Floats
    shown: Floats
    folder: Path | None

    @property
    def metrics(self) -> dict[str, Any]:
        """name → {"mean", "ci95", "n"}."""
        found: dict[str, Any] = self.data["metrics"]
        return found


class Pictures:
    """Pictures through the semantic channel, cut into tiles; what each took.

    Args:
        core, codec: see `policies.scene.shipped.scene_core`. link: with ``snr_db``. rate: channel uses per number.
        decoder: ``NAME[:key=value,…]``. seed: of channel and decoder.
    """

    def __init__(
        self, core: DiffusionCore, codec: ImageCodec, link: str, rate: float, decoder: str, seed: int
    ) -> None:
        self.decoder: Decoder = DECODERS.parse(decoder)
        self.channel = SymbolChannel(link, seed)
        self.receiver, self.count, self.seed = Receiver(core, codec), codec.count_of(rate), seed
        self.size = int(codec.shape[-1])
        self.sent = 0

    def send(self, picture: Floats) -> tuple[Floats, float, int]:
        """A picture [3, H, W] in [0, 1] as received, bits that an ideal code would have carried, and channel uses."""
        x = 2.0 * tiles(picture, self.size) - 1.0
        heard, arrival = self.decoder.send(
            self.receiver, self.channel, x.astype(np.float32), self.count, self.sent, self.channel.snr_db
        )
        keys = keyed.hash_words(self.seed, keyed.stream_id("decoder"), self.sent + np.arange(len(x)))
        self.sent += len(x)
        made = self.decoder.decode(self.receiver, arrival, keys).x
        parts = 0.5 * (np.clip(made, -1.0, 1.0) + 1.0)
        columns = picture.shape[2] // self.size
        return whole(parts.astype(np.float32), columns), float(heard.capacity_bits.sum()), len(x) * heard.uses.total


class Live:
    """A feed that goes on frame by frame: what the station sees goes in, what the screen shows comes out.

    Args:
        source: the recording that the station looks at. pictures: the semantic channel. link: of packets.
        seed: of the packet link. fps: frames per second. pixels: per side. look: seed of colours and light.
        stale: see `Screen`. refresh_s: seconds between key frames, None for the first one alone.
        symbol_rate: channel uses per second, for how long a key frame takes.
    """

    def __init__(
        self, source: Source, pictures: Pictures, link: str, seed: int, fps: float, pixels: int, look: int,
        stale: Stale, refresh_s: float | None, symbol_rate: float,
    ) -> None:  # fmt: skip
        scene = source.scene
        self.source, self.pictures, self.fps = source, pictures, fps
        self.painter = Painter(scene.bounds, scene.boxes, scene.radius, pixels, look)
        steps = np.diff(np.stack([scene.starts, *(tick.position for tick in source.ticks)]), axis=0)
        fastest = float(np.linalg.norm(steps, axis=-1).max(initial=0.0)) / scene.dt
        self.lattice = Lattice.of(scene.bounds, max(fastest, 1e-3), fps)
        self.station = Station(self.lattice, self._facts(0.0))
        self.screen = Screen(self.lattice, scene.agents, stale)
        self.medium = Medium(link, seed, [0], 2, 1.0 / (fps * ROUNDS))
        self._corners = np.array([[scene.bounds[:2], scene.bounds[2:]]], np.float32)
        self._every = None if refresh_s is None else max(round(refresh_s * fps), 1)
        self._symbol_rate = symbol_rate
        self._background: Floats | None = None
        self._due: list[tuple[float, Floats]] = []

    def step(self, number: int) -> tuple[Floats, Floats, dict[str, float]]:
        """Frame ``number`` in turn: what is there, what is shown, and what it took."""
        now = number / self.fps
        cost = {"key_bits": 0.0, "key_uses": 0.0}
        self._carry(ROUNDS * number)
        if number == 0 or (self._every is not None and number % self._every == 0):
            made, cost["key_bits"], uses = self.pictures.send(self._background_now(now))
            cost["key_uses"] = float(uses)
            self._due.append((now + uses / self._symbol_rate, made))
        while self._due and self._due[0][0] <= now:
            self._background = self._due.pop(0)[1]
        began = time.process_time()
        seen = self.screen.show(now)  # from what has arrived by now
        shown = self.painter.shown(self._background, seen, self.lattice)
        cost["paint_cpu_ms"] = 1e3 * (time.process_time() - began)
        objects, heading, frame = self._look(now)
        before = self.medium.bits.sum()
        data, bits = self.station.speak(number, objects, self._facts(now))
        self._send(STATION, data, bits, ROUNDS * number)
        cost["token_bits"] = float(bits)
        for clock in range(ROUNDS * number + 1, ROUNDS * (number + 1)):
            self._carry(clock)
            self.medium.transmit(_none(), clock, self._corners)
        cost["ack_bits"] = float(self.medium.bits.sum() - before - bits)
        there = np.asarray(frame.alive, bool)
        true = self.painter.truth(frame.position, heading, np.asarray(frame.goals), there, self._solid(frame.late))
        gap = np.linalg.norm(seen.at - frame.position, axis=-1)[there & seen.there]
        cost["position_error_m"] = float(gap.mean()) if seen.opacity > 0 and len(gap) else math.nan
        cost["age_s"] = seen.age_s
        return true, shown, cost

    def _background_now(self, now: float) -> Floats:
        """Of the first frame: the arena; later ones have what has come to stand there."""
        late = self._solid(self.source.frame(now).late)
        nobody = np.zeros((0, 2), np.float32)
        return self.painter.truth(nobody, np.zeros(0), nobody, np.zeros(0, bool), late)

    def _solid(self, states: NDArray) -> Floats:
        return np.asarray(self.source.scene.late[np.asarray(states) == 2], np.float32).reshape(-1, 5)

    def _look(self, now: float) -> tuple[Objects, NDArray[np.floating], Any]:
        """What the station measures: objects in codes; true headings and the frame are for measuring alone."""
        frame = self.source.frame(now)
        span = 1.0 / self.fps
        moved = frame.position - self.source.frame(now - span).position if now >= span else 0.0 * frame.position
        velocity = moved / span
        if now < span:
            velocity = (self.source.frame(span).position - frame.position) / span
        heading, speed = self.lattice.motion(velocity)
        return Objects(self.lattice.code(frame.position), heading, speed), heading * (2 * np.pi / 64), frame

    def _facts(self, now: float) -> Facts:
        frame = self.source.frame(now)
        late = np.asarray(self.source.scene.late, np.float32).reshape(-1, 5)
        boxes = np.concatenate(
            [np.asarray(frame.late)[:, None], self.lattice.code(late[:, :2]), self.lattice.length(late[:, 2:4])], axis=1
        ).astype(np.int64)
        boxes[np.asarray(frame.late) == 0] = 0  # nobody is told of what has not come
        return Facts(self.lattice.code(np.asarray(frame.goals)), np.asarray(frame.alive, bool), boxes)

    def _carry(self, clock: int) -> None:
        """Hand over what has arrived by a round, and send what answers it in the next one."""
        inbox = self.medium.deliver(clock)
        answers: list[tuple[Any, int]] = []
        for row in range(len(inbox)):
            data, bits = inbox.payload[inbox.packet[row]], int(inbox.payload_bits[inbox.packet[row]])
            if inbox.receiver[row] == STATION:
                self.station.hear(data, bits)
            elif (answer := self.screen.hear(data, bits)) is not None:
                answers.append(answer)
        if answers:  # one packet a round: the newest is acknowledged
            self._send(OPERATOR, *answers[-1], clock)

    def _send(self, sender: int, data: NDArray[np.uint8], bits: int, clock: int) -> None:
        one = np.array([sender], np.int32)
        packets = Packets(np.zeros(1, np.int32), one, data[None], np.array([bits], np.int32))
        self.medium.transmit(packets, clock, self._corners)


def _none() -> Packets:
    none = np.zeros(0, np.int32)
    return Packets(none, none, np.zeros((0, 1), np.uint8), none)


def feed(
    run: Path | str | Source,
    *,
    link: str = "erasure:p=0.2",
    image_link: str | None = None,
    cbr: float | str = "1/12",
    decoder: str = "jscc",
    fps: float = 10.0,
    pixels: int = 128,
    stale: Stale = "extrapolate",
    refresh_s: float | None = None,
    seconds: float | None = None,
    symbol_rate: float = 100_000.0,
    against: int = 4,
    episode: int | None = None,
    seed: int = 0,
    look: int = 0,
    film: Literal["gif", "mp4"] = "gif",
    device: str = "cpu",
    out: Path | str | None = None,
    weights: Mapping[str, Path | str] | None = None,
    progress: Callable[[str, int, int, dict[str, float]], None] | None = None,
) -> Fed:
    """Send a film of a run to an operator: the background once, as a picture, and tokens for what moves.

    Args:
        run: a run folder, a recording's file, or a `Recording`. episode: a recorded lane; the first one unless given.
        link: of the packets that carry tokens. image_link: of the picture, with ``snr_db``; ``link`` itself if it is
            such a one, else awgn:snr_db=10. cbr, decoder: as `agentsc.transmit`.
        fps: frames per second. pixels: per side, a multiple of the codec's tiles. seconds: of the run; all of it.
        stale: what a screen does with objects until the next packet: ``extrapolate`` moves them on, ``hold`` does not.
        refresh_s: seconds between key frames; one alone if None. symbol_rate: channel uses per second.
        against: frames that are also sent whole through the picture's channel, to compare with; 0 for none.
        seed: of links and decoder. look: of colours and light. film: kind of the film. device: where networks run.
        out: folder, new or empty, for ``result.json``, ``frames.parquet``, the film and ``still.png``.
        weights: name of a model → its file. progress: called with (stage, done, total, facts).

    Raises:
        ConfigError: bad options, or no recording; nothing was sent. RunError: samples that are not finite.
    """
    source = run if isinstance(run, Source) else _recording(run, episode)
    if not len(source):
        raise ConfigError("recording has no ticks, so there is nothing to send: run for at least one tick")
    if source.scene.agents > 256 or len(source.scene.late) > 255:
        raise ConfigError(
            f"recording must have at most 256 agents and 255 late boxes, got {source.scene.agents} and "
            f"{len(source.scene.late)} (tokens number them in 8 bits)"
        )
    for name, value in (("fps", fps), ("symbol_rate", symbol_rate), ("refresh_s", refresh_s), ("seconds", seconds)):
        if value is not None and not 0.0 < value < math.inf:
            raise ConfigError(f"{name} must be a positive number, got {value!r}")
    if fps > 100:
        raise ConfigError(f"fps must be at most 100, got {fps:g} (frames per second)")
    if stale not in ("extrapolate", "hold"):
        raise ConfigError(f"stale must be extrapolate or hold, got {stale!r} (what is done with objects in between)")
    if film not in ("gif", "mp4"):
        raise ConfigError(f"film must be gif or mp4, got {film!r} (kind of the film)")
    if against < 0:
        raise ConfigError(f"against must be at least 0, got {against} (frames sent whole, to compare with)")
    parse_link(link)
    if image_link is None:
        image_link = link if link.partition(":")[0] in ANALOG and "+" not in link else "awgn:snr_db=10"
    duration = source.duration_s if seconds is None else min(seconds, source.duration_s)
    frames = int(duration * fps + 1e-6) + 1
    if frames > MOST_FRAMES:
        raise ConfigError(f"frames must be at most {MOST_FRAMES}, got {frames} (give fewer seconds or a lower fps)")
    core, codec = scene_core(weights, device, also=DECODERS.parse(decoder).models)
    pictures = Pictures(core, codec, image_link, parse_rate(cbr), decoder, seed)
    size = pictures.size
    if pixels % size or not size <= pixels <= 1024:
        raise ConfigError(f"pixels must be a multiple of {size} up to 1024, got {pixels} (per side of the film)")
    live = Live(source, pictures, link, seed, fps, pixels, look, stale, refresh_s, symbol_rate)
    folder = claim(out, "feed") if out is not None else None
    if folder is not None:
        try:
            check_output(folder / f"feed.{film}")
        except ConfigError:
            folder.rmdir()
            raise
    torch.set_num_threads(1)
    report = progress or (lambda *_: None)

    true, shown = (np.empty((frames, 3, pixels, pixels), np.float32) for _ in range(2))
    costs: list[dict[str, float]] = []
    for number in range(frames):
        true[number], shown[number], cost = live.step(number)
        costs.append(cost)
        report("frames", number + 1, frames, {})
    rows: dict[str, NDArray] = {name: np.array([cost[name] for cost in costs]) for name in costs[0]}
    rows["psnr_db"] = quality.psnr_db(shown, true)
    offered, lost = int(live.medium.decisions.sum()), int(live.medium.lost.sum())
    metrics = _metrics(rows, fps, duration, offered, lost, live.screen.refused)
    metrics |= _every_frame(pictures, true, against, fps, metrics)
    config = {
        "run": str(run) if not isinstance(run, Source) else None, "meta": source.scene.meta, "link": link,
        "image_link": image_link, "cbr": pictures.count / math.prod(codec.shape), "decoder": decoder, "fps": fps,
        "pixels": pixels, "stale": stale, "refresh_s": refresh_s, "seconds": duration, "symbol_rate": symbol_rate,
        "agents": source.scene.agents, "seed": seed, "look": look, "device": device, "versions": versions(),
    }  # fmt: skip
    data = {"schema": SCHEMA, "config": config, "metrics": metrics}
    if folder is not None:
        import polars

        write_frame(polars.DataFrame({"frame": np.arange(frames), **rows}), folder / "frames.parquet")
        write_film(folder / f"feed.{film}", (side_by_side(*pair) for pair in zip(true, shown, strict=True)),
                   Fraction(fps).limit_denominator(1000))  # fmt: skip
        _still(true, shown, folder / "still.png")
        (folder / "result.json").write_text(dumps(data) + "\n", encoding="utf-8")
    return Fed(data, rows, true, shown, folder)


def _recording(run: Path | str, episode: int | None) -> Source:
    from agentsc.experiment.watch import load_recording

    if Path(run).is_dir():
        return load_recording(run, episode)
    if episode is not None:
        raise ConfigError(f"episode must be left out with a recording's own file, got {episode}")
    return open_recording(run)


def _metrics(
    rows: Mapping[str, NDArray], fps: float, duration: float, offered: int, lost: int, refused: int
) -> dict[str, Any]:
    """Means over frames; frames of one film are no independent draws, so intervals are narrow."""
    span = max(duration, 1.0 / fps)
    tokens = rows["token_bits"].sum() + rows["ack_bits"].sum()
    nothing = "nothing was received"
    return {
        "psnr_db": mean(rows["psnr_db"], "no frames"),
        "position_error_m": mean(rows["position_error_m"], nothing),
        "age_s": mean(rows["age_s"], nothing),
        "age_p95_s": _single(float(np.nanquantile(rows["age_s"], 0.95)) if np.isfinite(rows["age_s"]).any() else None),
        "token_bits_per_frame": mean(rows["token_bits"], "no frames"),
        "token_bits_per_s": _single(float(tokens / span)),
        "key_bits": _single(float(rows["key_bits"].sum())),
        "feed_bits_per_s": _single(float((tokens + rows["key_bits"].sum()) / span)),
        "lost_share": _single(lost / offered if offered else None),
        "refused": _single(float(refused)),
        "paint_cpu_ms": mean(rows["paint_cpu_ms"], "no frames"),
    }


def _single(value: float | None) -> dict[str, Any]:
    """A number of the whole film, so without an interval."""
    return unmeasured("nothing was received") if value is None else {"mean": value, "ci95": [None, None], "n": 1}


def _every_frame(
    pictures: Pictures, true: Floats, against: int, fps: float, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """What some frames cost and are worth when they are sent whole."""
    if not against:
        none = unmeasured("no frames were sent whole (against is 0)")
        return dict.fromkeys(("every_frame_psnr_db", "every_frame_bits_per_s", "saving"), none)
    some = np.unique(np.linspace(0, len(true) - 1, against).round().astype(int))
    made = [pictures.send(true[number]) for number in some]
    psnr = quality.psnr_db(np.stack([picture for picture, _, _ in made]), true[some])
    bits = np.array([each for _, each, _ in made])
    return {
        "every_frame_psnr_db": mean(psnr, "no frames"),
        "every_frame_bits_per_s": mean(bits * fps, "no frames"),
        "saving": _single(float(bits.mean() * fps / metrics["feed_bits_per_s"]["mean"])),
    }


def side_by_side(true: Floats, shown: Floats, least: int = 320) -> NDArray[np.uint8]:
    """Both pictures [3, P, P] in [0, 1] beside each other, uint8 [height, width, 3] with even sides."""
    scale = max(1, -(-least // true.shape[1]))
    gap = np.ones((3, true.shape[1], max(2, true.shape[1] // 32)), np.float32)
    line = np.concatenate([true, gap, shown], axis=2)
    pixels = np.round(255.0 * np.clip(line, 0.0, 1.0)).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(pixels.repeat(scale, 0).repeat(scale, 1)[:, : pixels.shape[1] * scale // 2 * 2])


def _still(true: Floats, shown: Floats, path: Path) -> None:
    from PIL import Image

    middle = len(true) // 2
    Image.fromarray(side_by_side(true[middle], shown[middle])).save(path)


def table(data: Mapping[str, Any]) -> Any:
    """The metrics of a result as a table for the terminal."""
    from agentsc.semantic.transmit import metric_table

    config = data["config"]
    return metric_table(data, f"feed at {config['fps']:g} frames/s over {config['link']}, {config['agents']} agents")
