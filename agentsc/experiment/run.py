"""One experiment: check everything, run the lanes, keep the results."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentsc.catalog import installed
from agentsc.experiment.config import RunConfig, defaults, resolve
from agentsc.experiment.log import ProgressCallback, RunLog
from agentsc.experiment.metrics import lane_rows, metrics, radio, timing
from agentsc.experiment.store import RunFolder, claim
from agentsc.experiment.versions import versions
from agentsc.intent.fields import MAX_AGENTS, MAX_ROUNDS
from envs.errors import ConfigError

if TYPE_CHECKING:
    from agentsc.view.recording import Scene, Sink
    from envs.world import World

SCHEMA = 1
"""Version of the result object."""


@dataclass(frozen=True)
class Job:
    """A run that has passed every check and can start.

    Attributes:
        config: fully resolved: every parameter of every plug-in, the time limit, the device.
        world: the arena with all lanes.
    """

    config: RunConfig
    world: World


@dataclass(frozen=True)
class RunResult:
    """What `run` returns.

    Attributes:
        folder: the run folder. data: the object that ``--json`` prints. log: all arrays.
        film: the film that was asked for.
    """

    folder: Path
    data: dict[str, Any]
    log: RunLog = field(repr=False)
    film: Path | None = None

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Metric name → mean, interval, n."""
        return dict(self.data["metrics"])

    @property
    def digest(self) -> str:
        """SHA-256 of all trajectories."""
        return str(self.data["digest"])


def options(
    *,
    scenario: str | Mapping[str, Any] | None = None,
    map: Path | str | None = None,
    scen: Path | str | None = None,
    agents: int | None = None,
    protocol: str | Mapping[str, Any] | None = None,
    **values: Any,
) -> dict[str, Any]:
    """The partial tree that the run options stand for.

    Args:
        scenario, protocol: a name, or a mapping with the name and parameters.
        map, scen: MovingAI files; they choose the scenario ``movingai``.
        agents: the scenario's number of agents.
        values: config keys of the top level; None means not given.

    Raises:
        ConfigError: options that contradict each other.
    """
    tree: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    arena: dict[str, Any] = {"name": scenario} if isinstance(scenario, str) else dict(scenario or {})
    if map is not None:
        if arena.get("name", "movingai") != "movingai":
            raise ConfigError(f"scenario must be movingai with --map, got {arena['name']!r} (drop one)")
        arena |= {"name": "movingai", "map": str(map)}
    if scen is not None:
        if map is None:
            raise ConfigError(f"scen must come with a map, got {str(scen)!r} alone (add --map FILE.map)")
        arena["scen"] = str(scen)
    if agents is not None:
        arena["agents"] = agents
    if arena:
        tree["scenario"] = arena
    if protocol is not None:
        tree["protocol"] = {"name": protocol} if isinstance(protocol, str) else dict(protocol)
    return tree


def prepare(config: RunConfig) -> Job:
    """Check everything that can be checked without running, and build the world.

    Raises:
        ConfigError: an unknown plug-in, a parameter out of bounds, agents that do not fit, a
            malformed or missing file, a device that is not there.
    """
    scenario = installed("scenarios").create(config.scenario.name, **config.scenario.parameters)
    protocol = installed("protocols").create(config.protocol.name, **config.protocol.parameters)
    code = installed("plan-codes").create(config.plan_code.name, **config.plan_code.parameters)
    from agentsc.links import parse_link
    from agentsc.links.medium import Medium
    from agentsc.protocol import Setup

    parse_link(config.link)
    strangers = sorted(set(config.recorded) - set(config.episode_numbers))
    if strangers:
        own = config.episode_numbers
        raise ConfigError(
            f"record.episodes must be lanes of the run, {own[0]} to {own[-1]}, got {strangers[0]} (drop it)"
        )
    device = _device(config.device)
    if protocol.needs_network or config.prior.model_dump() != defaults()["prior"]:
        _check_prior(config, device)
    world = scenario.build(config.seed, list(config.episode_numbers))
    if world.agents > MAX_AGENTS:
        raise ConfigError(f"agents must be at most {MAX_AGENTS}, got {world.agents} (8 bits name a sender)")
    # Links that do not fit the fleet, or each other, say so when a medium is made of them.
    radios = world.agents + _hubs(protocol, world, config.prior.name)
    Medium(config.link, config.seed, [0], radios, world.dt / config.rounds_per_tick)
    if protocol.plans_once and world.changes:
        raise ConfigError(
            f"scenario must keep goals, agents and map as they are with protocol {config.protocol.name}, which plans "
            f"only once, got {config.scenario.name} (choose another protocol, or set its events to 0)"
        )
    if world.unknown is not None and (protocol.hosted or not protocol.explores):
        raise ConfigError(
            f"scenario must have a map that all know with protocol {config.protocol.name}"
            f"{' and machines at hubs' if protocol.hosted else ''}, got {config.scenario.name} (choose the protocol "
            "negotiated with its architecture distributed, which finds its way over unknown maps)"
        )
    if world.processes_die and protocol.hosted:
        raise ConfigError(
            f"scenario must let processes run with machines at hubs, got {config.scenario.name} with processes that "
            "die (set restarts to 0, or protocol.architecture to distributed; hubs die by their hub_failure_s)"
        )
    if world.processes_die and not protocol.restarts:
        raise ConfigError(
            f"scenario must let processes run with protocol {config.protocol.name}, which has no rule for restarts, "
            f"got {config.scenario.name} (choose another protocol, set restarts to 0, or protocol.silence_s for intent)"
        )
    if config.backend == "ray" and config.hosts > world.agents:
        raise ConfigError(f"hosts must be at most the number of agents, {world.agents}, got {config.hosts}")
    if config.ticks is not None:
        world = replace(world, max_ticks=config.ticks)
    if world.max_ticks * config.rounds_per_tick >= MAX_ROUNDS:
        raise ConfigError(
            f"ticks must be below {MAX_ROUNDS // config.rounds_per_tick} with {config.rounds_per_tick} "
            f"rounds per tick, got {world.max_ticks} (a packet's round counter has 16 bits)"
        )
    # Plans of a shape that the code does not know, and weights that cannot be read, are found now.
    Setup.of(world, prior=config.prior.name, rounds=config.rounds_per_tick, seed=config.seed, code=code)
    resolved = config.tree()
    resolved["scenario"] = {"name": config.scenario.name, **scenario.model_dump(mode="json")}
    resolved["protocol"] = {"name": config.protocol.name, **protocol.model_dump(mode="json")}
    resolved["plan_code"] = {"name": config.plan_code.name, **code.model_dump(mode="json")}
    resolved |= {"ticks": world.max_ticks, "device": device}
    resolved["record"]["episodes"] = config.recorded
    return Job(RunConfig.model_validate(resolved), world)


def _hubs(protocol: Any, world: World, prior: str) -> int:
    """Radios that the architecture puts beside the agents', after all checks on it."""
    from agentsc.protocol.architectures import Hosted

    architecture = protocol.hosting if protocol.hosted else None
    if not isinstance(architecture, Hosted):
        return 0
    from agentsc.hosting.checks import check

    check(protocol, architecture, world, prior)
    return architecture.hubs


def _device(name: str) -> str:
    if name == "cpu":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise ConfigError("device must be one that is here, got 'cuda' without a usable GPU (use cpu)")
    return "cpu"


def _check_prior(config: RunConfig, device: str) -> None:
    """Read the weights once, so that a missing or corrupt file is found now."""
    installed("priors").get(config.prior.name)
    installed("solvers").parse(config.prior.solver)
    from policies.trajectory.prior import TrajectoryPrior

    shipped = Path(str(files("policies"))) / "weights" / f"{config.prior.name}.safetensors"
    TrajectoryPrior.load(config.prior.weights or shipped, device)


def run(
    config: Path | str | Mapping[str, Any] | None = None,
    *,
    scenario: str | Mapping[str, Any] | None = None,
    map: Path | str | None = None,
    scen: Path | str | None = None,
    agents: int | None = None,
    protocol: str | Mapping[str, Any] | None = None,
    link: str | None = None,
    episodes: int | None = None,
    seed: int | None = None,
    ticks: int | None = None,
    backend: str | None = None,
    hosts: int | None = None,
    device: str | None = None,
    set: Sequence[str] = (),
    out: Path | str | None = None,
    record: Path | str | None = None,
    view: bool = False,
    progress: ProgressCallback | None = None,
) -> RunResult:
    """Run an experiment and write its run folder; the call behind ``agentsc run``.

    Args:
        config: a YAML file, or a mapping with the same keys. See ``defaults.yaml`` for all keys.
        scenario, map, scen, agents, protocol, link, episodes, seed, ticks, backend, hosts, device:
            override the configuration, as the options of the same names.
        set: ``key=value`` strings for any other key.
        out: the run folder, new or empty; by default one under ``runs/``.
        record: film or still to make of the first recorded lane (.mp4, .gif or .png).
        view: show a live window while running; results do not change.
        progress: called after every tick.

    Returns:
        The run folder, the result object and all arrays.

    Raises:
        ConfigError: anything wrong with the input; nothing was started then.
    """
    tree = options(
        scenario=scenario, map=map, scen=scen, agents=agents, protocol=protocol, link=link, episodes=episodes,
        seed=seed, ticks=ticks, backend=backend, hosts=hosts, device=device,
    )  # fmt: skip
    resolved = resolve(config, tree, set)
    if record is not None and not resolved.recorded:
        raise ConfigError(f"record.episodes must name a lane for the film {str(record)!r}, got [] (name one)")
    job = prepare(resolved)
    folder = RunFolder(claim(out, f"{job.config.scenario.name}-{job.config.protocol.name}"))
    window = None
    try:
        if record is not None:
            from agentsc.view.film import check_output

            check_output(record)
        if view:
            from agentsc.view.live import LiveView

            lane = resolved.recorded[0] - resolved.first_episode if resolved.recorded else 0
            window = (lane, LiveView(_scene(job, lane)))
    except ConfigError:
        folder.path.rmdir()  # nothing was started, so nothing stays behind
        raise
    try:
        return execute(job, folder, record=record, window=window, progress=progress)
    finally:
        if window is not None:
            window[1].close()


def execute(
    job: Job,
    folder: RunFolder,
    *,
    record: Path | str | None = None,
    window: tuple[int, Sink] | None = None,
    progress: ProgressCallback | None = None,
) -> RunResult:
    """Run a checked job into a claimed folder.

    Args:
        record: film or still to make of the first recorded lane.
        window: a lane's index, and what else is told of its ticks.
        progress: called after every tick.
    """
    from agentsc.experiment.runner import run_lanes
    from agentsc.experiment.table import summary_text
    from agentsc.view.recording import Recorder

    config, world = job.config, job.world
    folder.begin(config.tree(), versions())
    lanes = [episode - config.first_episode for episode in config.recorded]
    tapes = {lane: Recorder(_scene(job, lane)) for lane in lanes}
    sinks: dict[int, Sink] = dict(tapes)
    if window is not None:
        lane, shown = window
        sinks[lane] = _Tee(sinks[lane], shown) if lane in sinks else shown
    started = time.perf_counter()
    log = run_lanes(config, world, progress=progress, recorder=sinks)
    log.wall_s = time.perf_counter() - started
    tracks = {lane: tape.finish() for lane, tape in tapes.items()}
    for lane, track in tracks.items():
        track.save(folder.recording(int(world.episodes[lane])))
    rows = lane_rows(log)
    data = result_object(config, log, rows, folder.path)
    folder.finish(data, rows, summary_text(data))
    film = None
    if record is not None:
        from agentsc.view.film import record as make_film

        film = make_film(tracks[min(tracks)], record)
    return RunResult(folder.path, data, log, film)


def result_object(
    config: RunConfig, log: RunLog, rows: Sequence[Mapping[str, Any]], out: Path
) -> dict[str, Any]:
    """The object that ``agentsc run --json`` prints and ``result.json`` holds."""
    kept = ("episode", "success", "collision_free", "duration_s", "min_separation_m", "digest")
    return {
        "schema": SCHEMA,
        "config": config.tree(),
        "digest": log.digest(),
        "metrics": metrics(rows),
        "radio": radio(log),
        "timing": timing(log),
        "lanes": [{key: row[key] for key in kept} for row in rows],
        "out": str(out),
    }


def _scene(job: Job, lane: int) -> Scene:
    from agentsc.view.recording import Scene

    config = job.config
    protocol = installed("protocols").create(config.protocol.name, **config.protocol.parameters)
    hubs = protocol.hosting.places(job.world) if protocol.hosted else None
    meta = {
        "scenario": config.scenario.name,
        "protocol": config.protocol.name,
        "link": config.link,
        "seed": config.seed,
        "episode": int(job.world.episodes[lane]),
    }
    return Scene.of(job.world, lane, config.rounds_per_tick, meta, hubs)


class _Tee:
    """A sink that passes every tick on to several others."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def record(self, **values: Any) -> None:
        """Take one tick."""
        for sink in self._sinks:
            sink.record(**values)
