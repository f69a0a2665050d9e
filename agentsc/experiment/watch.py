"""Films, stills and replays of runs that are on disk, and live views of new ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentsc.experiment.store import RunFolder

if TYPE_CHECKING:
    from agentsc.experiment.run import RunResult
    from agentsc.view.recording import Recording


def load_recording(run: Path | str, episode: int | None = None) -> Recording:
    """The recording of one lane of a run; its first one unless an episode is named.

    Raises:
        ConfigError: not a run folder, that lane was not recorded, or the file is damaged.
    """
    from agentsc.view.recording import open_recording

    folder = RunFolder.open(run)
    return open_recording(folder.path if episode is None else folder.recording(episode))


def record(run: Path | str, out: Path | str, *, episode: int | None = None, **options: Any) -> Path:
    """Make a film (.mp4, .gif), a still (.png) or a Rerun file (.rrd) of a run, without a display.

    Args:
        run: a run folder. out: the file to make; its ending chooses the kind.
        episode: a recorded lane; the first one unless given.
        options: as `agentsc.view.film.record`: ``moment_s``, ``selected``, ``fps``, ``speed``, …

    Returns:
        The film.

    Raises:
        ConfigError: no such recording, or a file that cannot be made there.
    """
    from agentsc.view.film import check_output
    from agentsc.view.film import record as make

    check_output(out)
    return make(load_recording(run, episode), out, **options)


def watch(
    target: Path | str | None = None, *, episode: int | None = None, **options: Any
) -> RunResult | None:
    """Replay a run folder in a window, or run an experiment live and then replay it.

    Args:
        target: a run folder, or a configuration as for `run`, or None.
        episode: the recorded lane to replay; the first one unless given.
        options: of `run`, when something is to be run.

    Returns:
        What was run, None for a replay.

    Raises:
        ConfigError: as `run`; no recording; no display.
    """
    from agentsc.view.live import replay

    if target is not None and Path(target).is_dir():
        replay(load_recording(target, episode))
        return None
    from agentsc.experiment.run import run

    result = run(target, view=True, **options)
    replay(load_recording(result.folder, episode))
    return result
