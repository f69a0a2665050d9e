"""What is kept of one lane of a run so that it can be watched: ticks, recordings and frames.

The runner hands every tick to a *sink* by ``record(**values)``: a `Recorder` keeps them and
makes a `Recording`; the live view shows them. Both answer the same question, "what is to be seen
at this time?", through `Source.frame`, so a film, a replay and the live window draw alike.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.errors import ConfigError
from envs.render import Box, world_bounds

F32 = NDArray[np.float32]
Array = NDArray[Any]

SCHEMA = 1

PACKET = np.dtype(
    [
        ("tick", "i4"),
        ("sender", "i2"),
        ("receiver", "i2"),
        ("sections", "u1"),
        ("bits", "i4"),
        ("sent_s", "f4"),
        ("arrival_s", "f4"),
    ]
)
"""One row per packet and receiver; ``arrival_s`` is NaN when it was lost."""


def packet_rows(**columns: Any) -> Array:
    """Packet rows (dtype `PACKET`) from columns named as its fields, broadcast together."""
    missing = set(PACKET.names or ()) - set(columns)
    if missing or len(columns) != len(PACKET.names or ()):
        raise TypeError(f"packet columns must be {PACKET.names}, got {tuple(columns)}")
    values = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v)) for v in columns.values()))
    rows = np.empty(len(values[0]), PACKET)
    for name, value in zip(columns, values, strict=True):
        rows[name] = value
    return rows


@dataclass(frozen=True)
class Scene:
    """What does not change while a lane runs. Lengths in metres, times in seconds.

    Attributes:
        bounds: the area to show, (xmin, ymin, xmax, ymax).
        boxes: float32 [M, 5], rounded boxes (cx, cy, hx, hy, corner radius).
        starts, goals: float32 [A, 2].
        radius: of every agent.
        separation: centre distance under which a pair has collided.
        dt: length of a tick.
        rounds_per_tick: message rounds in a tick.
        meta: scenario, protocol, link, seed, episode: what the title says.
        late: float32 [B, 5], boxes that come later. sites, hubs: float32 [S, 2] and [H, 2], metres; radios of hubs are
            numbered behind those of agents.
    """

    bounds: Box
    boxes: F32
    starts: F32
    goals: F32
    radius: float
    separation: float
    dt: float
    rounds_per_tick: int
    meta: dict[str, Any]
    late: F32 = field(default_factory=lambda: np.zeros((0, 5), np.float32))
    sites: F32 = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    hubs: F32 = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    def radios(self, position: Array) -> Array:
        """Places [A + H, 2] of all radios, when agents are at ``position`` [A, 2]."""
        return np.concatenate([position, self.hubs]) if len(self.hubs) else position

    @property
    def agents(self) -> int:
        """Number of agents."""
        return len(self.goals)

    @classmethod
    def of(
        cls, world: Any, lane: int, rounds_per_tick: int, meta: dict[str, Any], hubs: F32 | None = None
    ) -> Scene:
        """The scene of one lane of an `envs.world.World`, and of hubs beside its agents."""
        events, sites = getattr(world, "events", None), getattr(world, "sites", None)
        return cls(
            late=np.zeros((0, 5), np.float32) if events is None else events.boxes[lane],
            sites=np.zeros((0, 2), np.float32) if sites is None else sites.position[lane],
            hubs=np.zeros((0, 2), np.float32) if hubs is None else hubs,
            bounds=world_bounds(world),
            boxes=np.asarray(
                (world.truth(lane) if hasattr(world, "truth") else world.obstacles).boxes, np.float32
            ).reshape(-1, 5),
            starts=np.array(world.starts[lane], np.float32),
            goals=np.array(world.goals[lane], np.float32),
            radius=float(world.radius),
            separation=float(world.separation),
            dt=float(world.dt),
            rounds_per_tick=int(rounds_per_tick),
            meta=meta,
        )


@dataclass(frozen=True)
class Tick:
    """What the runner tells of one tick of one lane; tick t covers (t·dt, (t+1)·dt].

    Attributes:
        tick: its number, from 0.
        position: float [A, 2] at its end, metres.
        plans: float [A, Q, 2], the rest of each committed plan; NaN rows for none.
        pending: bool [A], a proposal waits for grants.
        proposals: float [A, Q, 2], the proposed plans; NaN rows for none.
        beliefs: float [A, K, Q, 2], what peers believe of agent a; NaN where nobody holds any.
        belief_age: float [A], seconds since the newest intent that peers hold of a.
        packets: rows of dtype `PACKET` sent in the tick.
        bits: int [A], bits offered to the radio in the tick.
        closest: least distance between centres during the tick, metres (inf for one agent).
        pair: the two agents it was between.
        brake: bool [A], the safety monitor stepped in.
        at_goal: bool [A].
        goals: float [A, 2], metres, current ones; None where they never change.
        alive: bool [A], joined and not failed. late: uint8 [B], boxes: 0 not there, 1 announced, 2 solid.
    """

    tick: int
    position: Array
    plans: Array | None = None
    pending: Array | None = None
    proposals: Array | None = None
    beliefs: Array | None = None
    belief_age: Array | None = None
    packets: Array = field(default_factory=lambda: np.empty(0, PACKET))
    bits: Array | None = None
    closest: float = np.inf
    pair: tuple[int, int] = (-1, -1)
    brake: Array | None = None
    at_goal: Array | None = None
    goals: Array | None = None
    alive: Array | None = None
    late: Array | None = None

    @classmethod
    def of(cls, **values: Any) -> Tick:
        """A tick that owns its arrays: copies, with floats as wide as recordings keep them."""
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                kind = np.float16 if name == "beliefs" else np.float32 if value.dtype.kind == "f" else None
                values[name] = np.array(value, kind)
        tick = cls(**values)
        tick.packets["tick"] = tick.tick
        return tick


class Sink(Protocol):
    """Where a runner sends what happens: a `Recorder`, or a live view."""

    def record(self, **values: Any) -> None:
        """Take one tick; keywords are the fields of `Tick`."""


@dataclass(frozen=True)
class Frame:
    """Everything to be seen at one instant; positions are interpolated between ticks.

    Attributes:
        time_s: the instant. tick: the tick it falls in.
        position: float [A, 2]. trail: float [N, A, 2], oldest first, ends at ``position``.
        packets: rows of dtype `PACKET` that are in the air now, or were lost a moment ago.
        flight_s: the least time that a packet is shown for.
        Others: as in `Tick`, with NaN or False where nothing is known.
    """

    time_s: float
    tick: int
    position: Array
    trail: Array
    plans: Array
    proposals: Array
    pending: Array
    beliefs: Array
    belief_age: Array
    packets: Array
    flight_s: float
    bits: Array
    closest: float
    pair: tuple[int, int]
    brake: Array
    at_goal: Array
    goals: Array
    alive: Array
    late: Array


@dataclass(frozen=True)
class Strip:
    """What the two strips beside the map plot, one value per tick.

    Attributes:
        time_s: float [N], the end of each tick.
        sent: float [N], bits per agent and second offered to the radio, averaged over a second.
        lost: float [N], the part of ``sent`` that did not reach its receivers.
        closest: float [N], least distance between two centres, metres.
    """

    time_s: Array
    sent: Array
    lost: Array
    closest: Array


def _blank(scene: Scene) -> dict[str, Any]:
    agents = scene.agents
    nothing = np.full((agents, 1, 2), np.nan, np.float32)
    return {
        "goals": scene.goals,
        "alive": np.ones(agents, bool),
        "late": np.zeros(len(scene.late), np.uint8),
        "plans": nothing,
        "proposals": nothing,
        "beliefs": nothing[:, None],
        "pending": np.zeros(agents, bool),
        "belief_age": np.full(agents, np.nan, np.float32),
        "bits": np.zeros(agents, np.int32),
        "brake": np.zeros(agents, bool),
        "at_goal": np.zeros(agents, bool),
    }


class Source:
    """Ticks of a scene in order of time, some of them perhaps missing."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._ticks: list[Tick] = []
        self._numbers: list[int] = []
        self._bits: list[tuple[float, float]] = []
        self._longest_s = 0.0  # flight of a packet so far
        self._blank = _blank(scene)

    def _append(self, tick: Tick) -> None:
        if self._numbers and tick.tick <= self._numbers[-1]:
            raise ValueError(f"ticks must come in order, got {tick.tick} after {self._numbers[-1]}")
        self._ticks.append(tick)
        self._numbers.append(tick.tick)
        total = float(np.sum(tick.bits)) if tick.bits is not None else 0.0
        flight = tick.packets["arrival_s"] - tick.packets["sent_s"]
        dead = np.isnan(flight)
        self._longest_s = max(self._longest_s, float(flight[~dead].max(initial=0.0)))
        # A broadcast is one packet on the air but a row per peer: share its loss among them.
        lost = float(tick.packets["bits"][dead].sum()) / max(self.scene.agents - 1, 1)
        self._bits.append((total, min(lost, total)))

    def __len__(self) -> int:
        return len(self._ticks)

    @property
    def ticks(self) -> list[Tick]:
        """All ticks held, oldest first."""
        return self._ticks

    @property
    def duration_s(self) -> float:
        """End of the last tick."""
        return (self._numbers[-1] + 1) * self.scene.dt if self._numbers else 0.0

    def _row(self, number: int) -> int:
        """Index of the last tick held that is not after ``number``; -1 before the first."""
        return int(np.searchsorted(self._numbers, number, side="right")) - 1

    def _ends(self, row: int) -> tuple[float, Array]:
        """Time and positions at the end of a row; row -1 is the start."""
        if row < 0:
            return 0.0, self.scene.starts
        return (self._numbers[row] + 1) * self.scene.dt, self._ticks[row].position

    def frame(self, time_s: float, *, flight_s: float | None = None, trail_s: float | None = None) -> Frame:
        """What is to be seen at a time, clipped to what is held.

        Args:
            time_s: seconds since the start; between ticks positions are interpolated.
            flight_s: least time to show a packet for, so that a link without delay can be seen
                to work; 1.5 ticks unless given.
            trail_s: length of the trails; 32 ticks unless given.
        """
        dt, agents = self.scene.dt, self.scene.agents
        time_s = float(np.clip(time_s, 0.0, self.duration_s))
        flight = 1.5 * dt if flight_s is None else flight_s
        number = max(int(np.ceil(time_s / dt - 1e-6)) - 1, 0)
        row = self._row(number)
        if row + 1 < len(self) and (row < 0 or self._ends(row)[0] < time_s - 1e-6 * dt):
            row += 1  # in a gap (or in the first tick): the tick that ends it
        if row < 0:
            start = np.asarray(self.scene.starts)
            return Frame(
                time_s,
                0,
                start,
                start[None],
                packets=np.empty(0, PACKET),
                flight_s=flight,
                closest=np.inf,
                pair=(-1, -1),
                **self._blank,
            )
        tick = self._ticks[row]
        end_s, end = self._ends(row)
        begin_s, begin = self._ends(row - 1)
        share = float(np.clip((time_s - begin_s) / (end_s - begin_s), 0.0, 1.0))
        position = np.asarray(begin) + (np.asarray(end) - begin) * share

        oldest = time_s - (32 * dt if trail_s is None else trail_s)
        first = self._row(int(np.floor(oldest / dt)) - 1)
        past = [self._ends(r)[1] for r in range(first, row)]
        trail = np.stack([*past, position]).astype(np.float32)

        # Lost packets linger for twice the least time of flight.
        back = self._row(int((time_s - max(2.0 * flight, self._longest_s)) / dt) - 1)
        rows = np.concatenate([t.packets for t in self._ticks[max(back, 0) : row + 1]])
        until = np.where(
            np.isnan(rows["arrival_s"]),
            rows["sent_s"] + 2.0 * flight,
            np.maximum(rows["arrival_s"], rows["sent_s"] + flight),
        )
        known = {k: v for k in self._blank if (v := getattr(tick, k)) is not None}
        return Frame(
            time_s=time_s,
            tick=tick.tick,
            position=position,
            trail=trail.reshape(-1, agents, 2),
            packets=rows[(rows["sent_s"] <= time_s) & (time_s < until)],
            flight_s=flight,
            closest=float(tick.closest),
            pair=tick.pair,
            **{**self._blank, **known},
        )

    def strip(self) -> Strip:
        """The series that the strips plot, up to the newest tick."""
        dt = self.scene.dt
        bits = np.array(self._bits, np.float64).reshape(-1, 2) / (dt * max(self.scene.agents, 1))
        span = max(round(1.0 / dt), 1)
        total = np.cumsum(np.concatenate([np.zeros((1, 2)), bits]), axis=0)
        ends = np.arange(1, len(total))
        begins = np.maximum(ends - span, 0)
        mean = (total[ends] - total[begins]) / np.maximum(ends - begins, 1)[:, None]
        return Strip(
            time_s=(np.array(self._numbers, np.float64) + 1) * dt,
            sent=mean[:, 0],
            lost=mean[:, 1],
            closest=np.array([t.closest for t in self._ticks], np.float64),
        )

    def pace(self, shortest_s: float = 6.0, longest_s: float = 12.0) -> float:
        """Seconds of the run per second of film, so that it lasts neither too long nor too short."""
        return self.duration_s / float(np.clip(self.duration_s, shortest_s, longest_s)) if len(self) else 1.0

    def telling_moment(self) -> float:
        """The time at which most goes on: agents under way, close together, and talking, seconds."""
        best, when = -1.0, 0.0
        far = 6.0 * self.scene.separation
        for tick in self._ticks:
            position = np.asarray(tick.position, np.float32)
            moving = 1.0 - float(np.mean(tick.at_goal)) if tick.at_goal is not None else 1.0
            gap = np.linalg.norm(position[:, None] - position[None], axis=-1)
            met = float((gap < far).sum() - len(gap)) / max(len(gap), 1)
            asked = float(np.mean(tick.pending)) if tick.pending is not None else 0.0
            dead = float(np.isnan(tick.packets["arrival_s"]).any())
            score = moving * (1.0 + min(met, 3.0) + asked + 0.5 * dead + 0.5 * (len(tick.packets) > 0))
            if score > best:
                best, when = score, (tick.tick + 0.7) * self.scene.dt
        return when


class Recorder(Source):
    """Keeps every tick of one lane.

    Use: ``recorder.record(tick=0, position=…, plans=…, …)`` per tick, then ``finish()``.
    """

    def record(self, **values: Any) -> None:
        """Take one tick; keywords are the fields of `Tick`. Arrays are copied."""
        self._append(Tick.of(**values))

    def keep(self, tick: Tick) -> None:
        """Take a tick as it is, without a copy."""
        self._append(tick)

    def forget(self, most: int) -> None:
        """Bound the memory: once more than ``most`` ticks are held, drop the older half."""
        if len(self) > most:
            for held in (self._ticks, self._numbers, self._bits):
                del held[: most // 2]

    def finish(self) -> Recording:
        """The recording of all ticks so far."""
        return Recording(self.scene, self._ticks)


_STACKED = (
    *("plans", "pending", "proposals", "beliefs", "belief_age", "bits", "brake", "at_goal"),
    *("goals", "alive", "late"),
)


class Recording(Source):
    """One lane of a run, complete; one ``.npz`` file on disk.

    The file holds plain arrays and a JSON text and is read without unpickling anything:
    ``positions`` float32 [T+1, A, 2], ``plans`` and ``proposals`` float32 [T, A, Q, 2],
    ``beliefs`` float16 [T, A, K, Q, 2], ``belief_age`` float32 [T, A], ``pending``, ``brake``
    and ``at_goal`` bool [T, A], ``bits`` int32 [T, A], ``closest`` float32 [T], ``pair`` int16
    [T, 2], ``packets`` rows of dtype `PACKET`, and the scene (``goals``, ``boxes``, ``bounds``
    and, in ``meta``, its numbers). Where the world has such things: ``late_boxes``, ``sites`` and ``hubs``, and by tick
    ``tick_goals`` float32 [T, A, 2], ``alive`` bool [T, A] and ``late`` uint8 [T, B].
    """

    def __init__(self, scene: Scene, ticks: list[Tick]) -> None:
        super().__init__(scene)
        for tick in ticks:
            self._append(tick)

    @property
    def positions(self) -> F32:
        """float32 [T+1, A, 2], metres, starting positions first."""
        return np.stack([self.scene.starts, *(t.position for t in self._ticks)]).astype(np.float32)

    def save(self, path: str | Path) -> Path:
        """Write the file.

        Raises:
            ConfigError: it cannot be written there.
        """
        scene = self.scene
        columns: dict[str, Array] = {}
        for name in _STACKED:
            rows = [getattr(t, name) for t in self._ticks]
            if any(r is not None for r in rows):
                # A tick that lacks what others have gets "nothing known" of the same shape.
                blank = self._blank[name]
                empty = np.full(next(np.shape(r) for r in rows if r is not None), blank.flat[0], blank.dtype)
                columns[name] = np.stack([empty if r is None else r for r in rows])
        if "beliefs" in columns:
            columns["beliefs"] = columns["beliefs"].astype(np.float16)
        if "goals" in columns:
            columns["tick_goals"] = columns.pop("goals")
        if len(scene.late):
            columns["late_boxes"] = scene.late
        if len(scene.sites):
            columns["sites"] = scene.sites
        if len(scene.hubs):
            columns["hubs"] = scene.hubs
        numbers = {
            "schema": SCHEMA,
            "radius": scene.radius,
            "separation": scene.separation,
            "dt": scene.dt,
            "rounds_per_tick": scene.rounds_per_tick,
            "run": scene.meta,
        }
        target = Path(path)
        try:
            with target.open("wb") as file:
                np.savez_compressed(
                    file,
                    allow_pickle=False,
                    meta=np.array(json.dumps(numbers)),
                    bounds=np.array(scene.bounds, np.float64),
                    boxes=scene.boxes,
                    goals=scene.goals,
                    positions=self.positions,
                    ticks=np.array(self._numbers, np.int32),
                    packets=np.concatenate([np.empty(0, PACKET), *(t.packets for t in self._ticks)]),
                    closest=np.array([t.closest for t in self._ticks], np.float32),
                    pair=np.array([t.pair for t in self._ticks], np.int16).reshape(-1, 2),
                    **columns,
                )
        except OSError as error:
            raise ConfigError(
                f"recording cannot be written to {str(target)!r}: {error.strerror or error}; "
                "give a path in a folder that exists and is writable"
            ) from None
        return target

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Read a recording.

        Raises:
            ConfigError: no such file, or not a recording.
        """
        source = Path(path)
        try:
            with np.load(source, allow_pickle=False) as file:
                data = {name: file[name] for name in file.files}
            stacked = {name: name for name in _STACKED} | {"goals": "tick_goals"}
            numbers = json.loads(str(data["meta"]))
            if numbers["schema"] != SCHEMA:
                raise ConfigError(
                    f"recording {str(source)!r} has schema {numbers['schema']}, this version reads {SCHEMA}: "
                    "record the run again"
                )
            positions = data["positions"]
            x0, y0, x1, y1 = data["bounds"].tolist()
            scene = Scene(
                bounds=(x0, y0, x1, y1),
                boxes=data["boxes"],
                starts=positions[0],
                goals=data["goals"],
                radius=float(numbers["radius"]),
                separation=float(numbers["separation"]),
                dt=float(numbers["dt"]),
                rounds_per_tick=int(numbers["rounds_per_tick"]),
                meta=dict(numbers["run"]),
                late=data.get("late_boxes", np.zeros((0, 5), np.float32)),
                sites=data.get("sites", np.zeros((0, 2), np.float32)),
                hubs=data.get("hubs", np.zeros((0, 2), np.float32)),
            )
            ticks = data["ticks"].tolist()
            packets = data["packets"].astype(PACKET, copy=False)
            cuts = np.searchsorted(packets["tick"], ticks).tolist() + [len(packets)]
            rows = [
                Tick(
                    tick=number,
                    position=positions[n + 1],
                    packets=packets[cuts[n] : cuts[n + 1]],
                    closest=float(data["closest"][n]),
                    pair=(int(data["pair"][n, 0]), int(data["pair"][n, 1])),
                    **{name: data[column][n] for name, column in stacked.items() if column in data},
                )
                for n, number in enumerate(ticks)
            ]
            return cls(scene, rows)
        except FileNotFoundError:
            raise ConfigError(
                f"recording {str(source)!r} does not exist: run with --record, or give another path"
            ) from None
        except (OSError, KeyError, ValueError, TypeError, IndexError, zipfile.BadZipFile, EOFError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"recording {str(source)!r} is damaged or not a recording ({type(error).__name__}): "
                "record the run again"
            ) from None


def open_recording(path: str | Path) -> Recording:
    """The recording in a file, or the first one in a run folder.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    place = Path(path)
    if not place.is_dir():
        return Recording.load(place)
    files = sorted(place.glob("recording-*.npz"), key=lambda f: (len(f.name), f.name))
    if not files:
        raise ConfigError(
            f"run {str(place)!r} holds no recording-*.npz: name a run folder that has one, "
            "or run with record.episodes=[0]"
        )
    return Recording.load(files[0])
