"""The command line. Imports nothing heavy before a command needs it.

Exit status: 0 done; 2 bad usage or configuration, one sentence on stderr and nothing started;
1 failure at run time. With ``--json`` stdout holds exactly one JSON value; everything else goes
to stderr.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from agentsc.experiment.run import RunResult

app = typer.Typer(
    name="agentsc",
    help="Fleets of agents that coordinate by exchanging diffusion-based intents over lossy radio links.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout.")]
Config = Annotated[Path | None, typer.Argument(help="YAML file with the keys that differ from the defaults.")]
Scenario = Annotated[str | None, typer.Option(help="Scenario, see: agentsc list scenarios.")]
Map = Annotated[Path | None, typer.Option(help="MovingAI .map file (chooses the scenario movingai).")]
Scen = Annotated[Path | None, typer.Option(help="MovingAI .scen file with start and goal pairs for the map.")]
Agents = Annotated[int | None, typer.Option(help="Number of agents.")]
ProtocolName = Annotated[str | None, typer.Option(help="Protocol, see: agentsc list protocols.")]
Link = Annotated[str | None, typer.Option(help="Radio, e.g. gilbert-elliott:p=0.05,r=0.2+delay:ms=150.")]
Episodes = Annotated[int | None, typer.Option(help="Lanes to run.")]
Seed = Annotated[int | None, typer.Option(help="Key of all randomness.")]
Ticks = Annotated[int | None, typer.Option(help="Time limit in control steps.")]
Backend = Annotated[str | None, typer.Option(help="local or ray; the results are identical.")]
Hosts = Annotated[int | None, typer.Option(help="Host actors with backend ray.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or auto.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any configuration key.")]
Episode = Annotated[int | None, typer.Option(help="Recorded lane; the first one by default.")]
Weights = Annotated[
    list[str] | None, typer.Option(help="NAME=FILE: a model from your own training; repeat for several.")
]
Out = Annotated[Path | None, typer.Option(help="Run folder, new or empty; by default one under runs/.")]


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    # A pipe or a file has no width of its own: one that does not fold the tables.
    return console if console.is_terminal else Console(stderr=stderr, width=118)


def _emit(value: Any) -> None:
    from agentsc.experiment.store import dumps

    typer.echo(dumps(value))


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from agentsc import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="One kind, e.g. scenarios; all by default.")] = None,
    json: Json = False,
) -> None:
    """List scenarios, protocols, links, priors, solvers and other plug-ins."""
    from agentsc.catalog import KINDS, listing

    found = {name: listing(name) for name in ([kind] if kind else KINDS)}
    if json:
        _emit(found[kind] if kind else found)
        return
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    for name, rows in found.items():
        if not rows:
            typer.echo(f"{name}: none in this version", err=kind is None)
            continue
        title = f"{name}: {KINDS[name].description}"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in ("name", "description", "parameters"):
            table.add_column(column, no_wrap=column == "name", style="bold" if column == "name" else "")
        for row in rows:
            parameters = ", ".join(_parameter(key, facts) for key, facts in row["parameters"].items())
            table.add_row(*(escape(cell) for cell in (row["name"], row["description"], parameters)))
        console.print(table)
        console.print()


def _parameter(name: str, facts: dict[str, Any]) -> str:
    return name if facts["required"] else f"{name}={facts.get('default')}"


@app.command()
def run(
    config: Config = None,
    scenario: Scenario = None,
    map: Map = None,
    scen: Scen = None,
    agents: Agents = None,
    protocol: ProtocolName = None,
    link: Link = None,
    episodes: Episodes = None,
    seed: Seed = None,
    ticks: Ticks = None,
    backend: Backend = None,
    hosts: Hosts = None,
    device: Device = None,
    set: Set = None,
    out: Out = None,
    record: Annotated[Path | None, typer.Option(help="Also make a film or a still there.")] = None,
    view: Annotated[bool, typer.Option("--view", help="Watch in a window; results do not change.")] = False,
    json: Json = False,
) -> None:
    """Run an experiment; write a run folder and print a summary."""
    from agentsc.experiment.progress import Display
    from agentsc.experiment.run import run as call

    with Display(_console(stderr=True)) as display:
        result = call(
            config, scenario=scenario, map=map, scen=scen, agents=agents, protocol=protocol, link=link,
            episodes=episodes, seed=seed, ticks=ticks, backend=backend, hosts=hosts, device=device,
            set=set or (), out=out, record=record, view=view, progress=display.run,
        )  # fmt: skip
    if json:
        _emit(result.data)
    else:
        _print_summary(result)


def _print_summary(result: RunResult) -> None:
    from agentsc.experiment.table import radio_table, summary_table, timing_line

    console = _console()
    console.print(summary_table(result.data, width=console.width))
    if (books := radio_table(result.data)) is not None:
        console.print(books)
    lines = [timing_line(result.data), f"digest {result.digest}", f"run folder {result.folder}"]
    if result.film is not None:
        lines.append(f"film {result.film}")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


@app.command()
def bench(
    suite: Annotated[str, typer.Argument(help="A suite, see: agentsc list suites; or a YAML file; or core.")],
    out: Annotated[Path | None, typer.Option(help="Folder, new or empty; by default one under runs/.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what the folder holds.")] = False,
    workers: Annotated[int | None, typer.Option(help="Tasks at a time; 0 runs without Ray.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Episodes per cell; repetitions of core.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster to spread over.")] = None,
    device: Device = None,
    set: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be run, and how long.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Resume failed cells too.")] = False,
    json: Json = False,
) -> None:
    """Run a suite of experiments; write rows, figures and a report. Or measure the diffusion core."""
    from agentsc.experiment.bench import bench as call
    from agentsc.experiment.progress import Display

    with Display(_console(stderr=True)) as display:
        result = call(
            suite, out=out, resume=resume, workers=workers, seeds=seeds, address=address, device=device,
            set=set or (), dry_run=dry_run, retry_failed=retry_failed, progress=display.bench,
        )  # fmt: skip
    if json:
        _emit(result.data)
        return
    from agentsc.experiment.table import bench_text

    told = result.text if result.text is not None else bench_text(result.data)
    _console().print(told, highlight=False, soft_wrap=True, markup=False)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN…", help="Run folders, or benchmark folders.")],
    json: Json = False,
) -> None:
    """Put runs side by side, with paired tests where they have the same episodes."""
    from agentsc.experiment.compare import compare as call
    from agentsc.experiment.compare import print_comparison

    data = call(*runs)
    if json:
        _emit(data)
    else:
        print_comparison(data, _console())


@app.command()
def freeze(
    config: Config = None,
    scenario: Scenario = None,
    map: Map = None,
    scen: Scen = None,
    agents: Agents = None,
    episodes: Episodes = None,
    seed: Seed = None,
    set: Set = None,
    out: Annotated[Path | None, typer.Option(help="Folder, new or empty; by default one under runs/.")] = None,
    check: Annotated[Path | None, typer.Option(metavar="DIR", help="Only check the scenes in this folder.")] = None,
    json: Json = False,
) -> None:
    """Write a scenario's instances as scene files with SHA-256, or check such a folder."""
    from agentsc.experiment.freeze import check_scenes
    from agentsc.experiment.freeze import freeze as call

    if check is None:
        scenes = call(
            config, scenario=scenario, map=map, scen=scen, agents=agents, episodes=episodes, seed=seed,
            set=set or (), out=out,
        )  # fmt: skip
    else:
        scenes = check_scenes(check)
    if json:
        _emit({**scenes.manifest, "out": str(scenes.folder)})
        return
    typer.echo(f"{len(scenes)} scenes in {scenes.folder}{'' if check is None else ', all as they were frozen'}")
    typer.echo(f"sha256 {scenes.sha256}")
    typer.echo(f"run them: {scenes.run_command()}")


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="config (a run's YAML) or suite (a benchmark's).")] = "config",
) -> None:
    """Print the JSON schema of a YAML file, for editors."""
    from agentsc.experiment.schema import schema as call

    _emit(call(what))


@app.command()
def leaderboard(
    results: Annotated[Path, typer.Argument(help="Folder of benchmark folders, e.g. experiments/results.")],
    out: Annotated[Path | None, typer.Option(help="Markdown file; by default README.md in that folder.")] = None,
) -> None:
    """Make a page that ranks protocols over all benchmark results in a folder."""
    from agentsc.experiment.leaderboard import leaderboard as call

    typer.echo(f"page {call(results, out)}", err=True)


@app.command()
def view(
    target: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Run folder, or YAML.")] = None,
    episode: Episode = None,
    scenario: Scenario = None,
    map: Map = None,
    scen: Scen = None,
    agents: Agents = None,
    protocol: ProtocolName = None,
    link: Link = None,
    seed: Seed = None,
    ticks: Ticks = None,
    backend: Backend = None,
    hosts: Hosts = None,
    device: Device = None,
    set: Set = None,
    out: Out = None,
) -> None:
    """Replay a run folder in a window, or watch a new run and then replay it."""
    from agentsc.experiment.progress import Display
    from agentsc.experiment.watch import watch as call

    with Display(_console(stderr=True)) as display:
        result = call(
            target, episode=episode, scenario=scenario, map=map, scen=scen, agents=agents, protocol=protocol,
            link=link, seed=seed, ticks=ticks, backend=backend, hosts=hosts, device=device,
            set=set or (), out=out, progress=display.run,
        )  # fmt: skip
    if result is not None:
        _print_summary(result)


@app.command()
def record(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Film (.mp4, .gif), still (.png) or Rerun file (.rrd).")],
    episode: Episode = None,
    moment: Annotated[float | None, typer.Option(help="When, s; for a still.")] = None,
    agent: Annotated[int | None, typer.Option(help="An agent to bring out.")] = None,
    fps: Annotated[int | None, typer.Option(min=1, help="Frames per second.")] = None,
    speed: Annotated[float | None, typer.Option(help="Seconds of the run per second of film.")] = None,
) -> None:
    """Make a film, a still or a Rerun file of a run, without a display."""
    from agentsc.experiment.progress import Display
    from agentsc.experiment.watch import record as call

    with Display(_console(stderr=True)) as display:
        made = call(
            folder, out, episode=episode, moment_s=moment, selected=agent, fps=fps, speed=speed,
            progress=lambda done, total: display.stage("frames", done, total, {}),
        )  # fmt: skip
    typer.echo(f"film {made}", err=True)


@app.command()
def export(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run folders.")],
    tensorboard: Annotated[Path, typer.Option(metavar="LOGDIR", help="Write TensorBoard event files there.")],
    film: Annotated[bool, typer.Option("--film", help="Add a film of the first recorded episode.")] = False,
) -> None:
    """Write runs in the format of another tool."""
    from agentsc.experiment.export import export as call
    from agentsc.experiment.progress import Display

    with Display(_console(stderr=True)) as display:
        made = call(
            *runs, tensorboard=tensorboard, film=film,
            progress=lambda done, total: display.stage("frames", done, total, {}),
        )  # fmt: skip
    for folder in made:
        typer.echo(f"events {folder}", err=True)


@app.command()
def train(
    preset: Annotated[str, typer.Argument(help="What to train, NAME[:key=value,…], see: agentsc list presets.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Weights file; by default the shipped one.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
) -> None:
    """Train what a preset describes, on demonstrations or scenes; write weights and a model card."""
    from agentsc.experiment.progress import Display
    from policies.training import train as call

    with Display(_console(stderr=True)) as display:
        card = call(preset, device=device, out=out, resume=resume, steps=steps, progress=display.stage)
    _emit(card)


def _weights(pairs: list[str] | None) -> dict[str, str]:
    """Models → files, of ``NAME=FILE``."""
    from envs.errors import ConfigError

    found: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise ConfigError(f"weights must be NAME=FILE, got {pair!r} (a model and its safetensors file)")
        found[name] = file
    return found


def _show(result: Any, table: Callable[[Any], Any], json: bool) -> None:
    """What the semantic channel's commands print: one JSON object, or a table and where the files are."""
    if json:
        _emit(result.data)
        return
    _console().print(table(result.data))
    if result.folder is not None:
        typer.echo(f"folder {result.folder}")


@app.command()
def transmit(
    image: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="Picture file; or give --scene.")] = None,
    scene: Annotated[int | None, typer.Option(help="Number of the first scene to send.")] = None,
    link: Annotated[str, typer.Option(help="Radio with snr_db, e.g. rayleigh:snr_db=5.")] = "awgn:snr_db=10",
    cbr: Annotated[str, typer.Option(help="Complex channel uses per number of the image, e.g. 1/12.")] = "1/12",
    decoder: Annotated[str, typer.Option(help="Receiver, see: agentsc list decoders.")] = "jscc",
    images: Annotated[int, typer.Option(help="Scenes to send.")] = 16,
    view: Annotated[str, typer.Option(help="Of scenes: birds-eye or onboard.")] = "birds-eye",
    family: Annotated[list[str] | None, typer.Option(help="Map family of scenes; repeat for several.")] = None,
    longest: Annotated[int, typer.Option(help="Pixels of a picture's longer side.")] = 128,
    csi: Annotated[str, typer.Option(help="What the receiver knows of gains: known, ls, mmse or unknown.")] = "known",
    pilots: Annotated[int, typer.Option(help="Pilots of an image, with ls and mmse.")] = 1,
    reference: Annotated[str, typer.Option(help="What snr_db is relative to: transmit or received.")] = "transmit",
    prefix: Annotated[int, typer.Option(help="Samples of cyclic prefix, with ofdm.")] = 12,
    design_snr_db: Annotated[float | None, typer.Option(help="SNR that senders expect; else the link's.")] = None,
    seed: Annotated[int, typer.Option(help="Key of the channel and the decoder.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder, new or empty, for result and pictures.")] = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Send images over a radio as analog symbols and show what a receiver makes of them."""
    from agentsc.experiment.progress import Display
    from agentsc.semantic.transmit import table
    from agentsc.semantic.transmit import transmit as call
    from envs.scenery import TRAINED

    with Display(_console(stderr=True)) as display:
        result = call(
            image, scene=scene, link=link, cbr=cbr, decoder=decoder, images=images, view=view,  # type: ignore[arg-type]
            families=family or TRAINED, longest=longest, csi=csi, pilots=pilots,  # type: ignore[arg-type]
            reference=reference, prefix=prefix, design_snr_db=design_snr_db, seed=seed,  # type: ignore[arg-type]
            device=device, out=out, weights=_weights(weights), progress=display.stage,
        )  # fmt: skip
    _show(result, table, json)


@app.command()
def perceive(
    scene: Annotated[int, typer.Option(help="Number of the first scene.")],
    link: Annotated[str, typer.Option(help="Radio with snr_db, e.g. rayleigh:snr_db=5.")] = "awgn:snr_db=10",
    bits: Annotated[str, typer.Option(help="Information bits of a scene, e.g. 512.")] = "512",
    decoder: Annotated[str, typer.Option(help="Path, see: agentsc list decoders.")] = "map",
    images: Annotated[int, typer.Option(help="Scenes to send.")] = 16,
    view: Annotated[str, typer.Option(help="birds-eye or onboard.")] = "birds-eye",
    family: Annotated[list[str] | None, typer.Option(help="Map family of scenes; repeat for several.")] = None,
    csi: Annotated[str, typer.Option(help="What the receiver knows of gains: known, ls, mmse or unknown.")] = "known",
    pilots: Annotated[int, typer.Option(help="Pilots of a scene, with ls and mmse.")] = 1,
    reference: Annotated[str, typer.Option(help="What snr_db is relative to: transmit or received.")] = "transmit",
    prefix: Annotated[int, typer.Option(help="Samples of cyclic prefix, with ofdm.")] = 12,
    seed: Annotated[int, typer.Option(help="Key of the channel and the receiver.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder, new or empty, for result and pictures.")] = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Tell a machine what is where in scenes, at a budget of bits, and show how well it knows."""
    from agentsc.experiment.progress import Display
    from agentsc.semantic.perceive import perceive as call
    from agentsc.semantic.perceive import table
    from envs.scenery import TRAINED

    with Display(_console(stderr=True)) as display:
        result = call(
            scene=scene, link=link, bits=bits, decoder=decoder, images=images, view=view,  # type: ignore[arg-type]
            families=family or TRAINED, csi=csi, pilots=pilots, reference=reference,  # type: ignore[arg-type]
            prefix=prefix, seed=seed, device=device, out=out, weights=_weights(weights), progress=display.stage,
        )  # fmt: skip
    _show(result, table, json)


@app.command()
def feed(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, or a recording's .npz file.")],
    link: Annotated[str, typer.Option(help="Radio of the packets that carry tokens.")] = "erasure:p=0.2",
    image_link: Annotated[
        str | None, typer.Option(help="Radio of the picture, with snr_db; --link if it has one, else awgn:snr_db=10.")
    ] = None,
    cbr: Annotated[str, typer.Option(help="Complex channel uses per number of the picture.")] = "1/12",
    decoder: Annotated[str, typer.Option(help="Receiver of the picture, see: agentsc list decoders.")] = "jscc",
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 10.0,
    pixels: Annotated[int, typer.Option(help="Of the film per side.")] = 128,
    stale: Annotated[str, typer.Option(help="Objects between packets: extrapolate or hold.")] = "extrapolate",
    refresh_s: Annotated[float | None, typer.Option(help="Seconds between key frames; one alone by default.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Of the run; all of it by default.")] = None,
    symbol_rate: Annotated[float, typer.Option(help="Channel uses per second, for the key frame.")] = 100_000.0,
    against: Annotated[int, typer.Option(help="Frames also sent whole, to compare with.")] = 4,
    episode: Episode = None,
    seed: Annotated[int, typer.Option(help="Key of links and decoder.")] = 0,
    look: Annotated[int, typer.Option(help="Seed of colours and light.")] = 0,
    film: Annotated[str, typer.Option(help="Kind of film: gif or mp4.")] = "gif",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder, new or empty, for result and film.")] = None,
    json: Json = False,
) -> None:
    """Send a film of a run to an operator: a key frame, and tokens for what moves."""
    from agentsc.experiment.progress import Display
    from agentsc.semantic.feed.operator import feed as call
    from agentsc.semantic.feed.operator import table

    with Display(_console(stderr=True)) as display:
        result = call(
            run, link=link, image_link=image_link, cbr=cbr, decoder=decoder, fps=fps, pixels=pixels,
            stale=stale, refresh_s=refresh_s, seconds=seconds, symbol_rate=symbol_rate,  # type: ignore[arg-type]
            against=against, episode=episode, seed=seed, look=look, film=film, device=device,  # type: ignore[arg-type]
            out=out, progress=display.stage,
        )  # fmt: skip
    _show(result, table, json)


@app.command()
def doctor(json: Json = False) -> None:
    """Say what this installation can do; status 1 if the main job would not run."""
    from agentsc.experiment.doctor import doctor as call

    report = call()
    if json:
        _emit(report)
    else:
        for row in report["checks"]:
            mark = "ok     " if row["ok"] else "MISSING" if row["needed"] else "absent "
            typer.echo(f"{mark}  {row['name']:<11}  {row['detail']}")
    if not report["ok"]:
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Console script: run a command; turn errors meant for people into one sentence and an exit status."""
    from envs.errors import ConfigError, RunError

    try:
        app(arguments)
    except (ConfigError, RunError) as error:
        typer.echo(f"agentsc: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        typer.echo(f"agentsc: {error.strerror}: make room, or name a folder elsewhere with --out", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
