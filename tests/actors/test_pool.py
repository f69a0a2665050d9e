"""Tasks on Ray: results as they end, errors that stay with their task, workers that die."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from agentsc.actors.pool import run_here, run_on_ray


def worker() -> Callable[[int], int]:
    """A function that travels by value: workers cannot import this file."""

    def work(task: int) -> int:
        if task == 2:
            raise ValueError("no two")
        if task == 3:
            os._exit(1)
        return task * task

    return work


def check(found: dict[int, Any], dead: bool) -> None:
    assert [found[k] for k in (0, 1, 4)] == [0, 1, 16]
    assert isinstance(found[2], ValueError) and "no two" in str(found[2])
    if dead:
        assert isinstance(found[3], RuntimeError) and "worker process" in str(found[3])


def test_errors_stay_with_their_task_on_ray() -> None:
    check(dict(run_on_ray(worker(), range(5), workers=2)), dead=True)


def test_errors_stay_with_their_task_here() -> None:
    found = dict(run_here(worker(), [0, 1, 2]))
    assert found[1] == 1 and isinstance(found[2], ValueError)


def test_no_cluster_is_a_connection_error() -> None:
    with pytest.raises(ConnectionError):
        dict(run_on_ray(worker(), [0], workers=1, address="127.0.0.1:1"))
