"""The lower rank gives way, the higher one never notices, and total loss makes silence of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agentsc
from agentsc.experiment.log import RunLog


def run(out: Path, protocol: str, *settings: str, **options: Any) -> RunLog:
    keys = ["record.episodes=[]", *settings]
    folder = out / str(len(list(out.iterdir())))
    common: dict[str, Any] = {"scenario": "circle", "agents": 2, "seed": 3}
    return agentsc.run(**(common | options), protocol=protocol, set=keys, out=folder).log


def aside(path: np.ndarray) -> float:
    """Greatest distance of positions [tick, 2] from the line between their ends, metres."""
    along = path[-1] - path[0]
    off = path - path[0]
    return float(np.abs(along[0] * off[:, 1] - along[1] * off[:, 0]).max() / np.linalg.norm(along))


def test_the_lower_rank_gives_way_head_on_and_the_higher_one_drives_as_if_alone(tmp_path: Path) -> None:
    together = run(tmp_path, "prioritised", episodes=3)
    alone = run(tmp_path, "silent", episodes=3)
    assert together.success.all() and not alone.success.any()
    for lane in range(3):
        ticks = min(together.last_tick[lane], alone.last_tick[lane])
        np.testing.assert_array_equal(
            together.positions[lane, :ticks, 0], alone.positions[lane, :ticks, 0], err_msg="the higher rank"
        )
        higher, lower = (together.positions[lane, : together.last_tick[lane], n] for n in (0, 1))
        assert aside(lower) > together.separation / 2 > aside(higher)


@pytest.mark.parametrize("scenario", ["weave", "highways"])
def test_with_every_packet_lost_it_is_silent_but_for_the_bits(tmp_path: Path, scenario: str) -> None:
    options: dict[str, Any] = {"scenario": scenario, "agents": 5, "episodes": 1}
    deaf = run(tmp_path, "prioritised", link="erasure:p=1.0", **options)
    assert deaf.bits is not None and deaf.bits.all()
    assert deaf.digest() == run(tmp_path, "silent", **options).digest()


def test_an_unchanged_plan_is_repeated_after_a_heartbeat_and_a_new_one_is_sent_at_once(tmp_path: Path) -> None:
    packets = {}
    for ticks in (1, 4, 1000):
        heartbeat = f"protocol.heartbeat_s={ticks * 5 / 64}"
        log = run(tmp_path, "prioritised", heartbeat, agents=4, ticks=40, episodes=1)
        assert log.packets is not None
        packets[ticks] = log.packets[0]
    assert (packets[1] == 40).all(), "every tick"
    assert (packets[4] >= 10).all() and (packets[4] < 40).all()
    # Never repeated: the first plan, and every change, of which a trip has a few.
    assert (packets[1000] >= 2).all() and (packets[1000] <= packets[4]).all()
