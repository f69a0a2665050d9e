"""Independent tasks on several processors: as Ray tasks, or one after the other in this process.

A task that raises, or whose worker process dies, yields its error; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agentsc.actors.session import load, open_session

AHEAD = 2
"""Tasks that wait beside each running one, so that no worker idles between two."""


def run_here(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Yield (number of the task, result or exception), in order."""
    for number, task in enumerate(tasks):
        try:
            yield number, function(task)
        except Exception as error:  # any: it belongs to that task alone
            yield number, error


def run_on_ray(
    function: Callable[[Any], Any], tasks: Sequence[Any], *, workers: int, address: str | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield (number of the task, result or exception), as they end; started in the order given.

    Args:
        function: importable by workers. tasks: its arguments, one each.
        workers: tasks at a time. address: of a cluster to join; None starts Ray on this machine.

    Raises:
        ConnectionError: there is no such cluster.
    """
    ray = load(own=address is None)
    started = open_session(cpus=workers, address=address)
    try:
        # One retry for a worker that the system ended; an exception of the task itself is its result.
        remote = ray.remote(num_cpus=1, max_retries=1, scheduling_strategy="SPREAD")(function)
        running: dict[Any, int] = {}
        waiting = iter(enumerate(tasks))
        while True:
            while len(running) < workers * AHEAD and (upcoming := next(waiting, None)) is not None:
                number, task = upcoming
                running[remote.remote(task)] = number
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                number = running.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    result = error.cause if isinstance(error.cause, Exception) else error
                except ray.exceptions.RayError as error:
                    cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                    result = RuntimeError(f"its worker process ended twice ({cause[:120]})")
                yield number, result
    finally:
        if started:
            ray.shutdown()
