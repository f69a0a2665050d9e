"""Whatever bytes arrive, nothing breaks: what is wrong is refused, counted, and moves nobody."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import agentsc
from agentsc.intent.codec import Message, encode
from agentsc.intent.fields import STATE, STATUS, TRAJECTORY
from agentsc.intent.plan import PlanSpec
from agentsc.links.flight import Deliveries
from agentsc.protocol import PROTOCOLS
from agentsc.protocol.inbox import opened

ROOT = Path(__file__).parents[2]
SPEC = PlanSpec((-1.0, -1.0, 1.0, 1.0), 1.0, 0.1)
ROUGH = (
    "spoofer:what=noise+spoofer:what=plans+spoofer:what=grants+replayer:age=3+babbler:bits=300"
    "+bit-errors:p=0.004+duplicate:p=0.3,ms=300+delay:ms=0,jitter_ms=150"
)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("packet_fuzz", ROOT / "experiments" / "packet_fuzz.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_decoder_misses_no_more_than_its_checksums_do() -> None:
    rows = list(script().decoder(40_000))
    assert len(rows) > 10
    for row in rows:
        assert row.accepted <= row.most, row
    # And the fuzzer does hit: a bare token with an even number of wrong bits slips through now and then.
    assert any(row.accepted for row in rows if "bare token" in row.kind)


def test_published_counts_are_explained_by_the_miss_rate() -> None:
    folder = ROOT / "experiments" / "results" / "packet-fuzz"
    lines = [line.rsplit(",", 4) for line in (folder / "decoder.csv").read_text().splitlines()[1:]]
    assert len(lines) > 10 and all(int(n) >= 1_000_000 and int(hit) <= int(most) for _, n, hit, _, most in lines)
    names, values = ((folder / "fleet.csv").read_text().splitlines())[:2]
    flown = dict(zip(names.split(","), map(int, values.split(",")), strict=True))
    assert flown["lost_crc"] >= 1_000_000
    assert flown["collision_free"] == flown["episodes"] or flown["undetected"] > 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_every_protocol_survives_a_hostile_radio(protocol: str, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"scenario": "weave", "agents": 5, "episodes": 3, "seed": 7, "ticks": 40}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        result = agentsc.run(protocol=protocol, link=ROUGH, out=tmp_path / "run", set=["record.episodes=[]"], **keys)
    assert np.isfinite(result.log.positions).all()
    books = result.data["radio"]
    if PROTOCOLS.create(protocol).radio is None and books["offered"]:
        assert books["lost"]["crc"] > 50 and books["refused"] > 50 and books["injected"] > 0
        whole = books["offered"] + books["duplicated"] + books["injected"]
        assert whole == books["delivered"] + sum(books["lost"].values()) + books["in_flight"]


def test_wrong_bits_do_not_break_commit_safety(tmp_path: Path) -> None:
    link = "bit-errors:p=0.004+duplicate:p=0.3,ms=300+delay:ms=0,jitter_ms=150+replayer:age=30"
    keys: dict[str, Any] = {"scenario": "weave", "agents": 8, "episodes": 6, "seed": 3, "ticks": 120}
    result = agentsc.run(link=link, set=["record.episodes=[]"], out=tmp_path / "run", **keys)
    books = result.data["radio"]
    assert books["lost"]["crc"] > 5000
    assert all(lane["collision_free"] for lane in result.data["lanes"])


def deliveries(data: np.ndarray, bits: np.ndarray, receiver: int) -> Deliveries:
    count = np.arange(len(data), dtype=np.int32)
    return Deliveries(
        0 * count, 0 * count, 0 * count + receiver, 0 * count, np.zeros(len(data)), count, data, bits, 0 * count,
        np.zeros(len(data), bool),
    )  # fmt: skip


def test_authors_outside_the_fleet_and_oneself_are_not_believed() -> None:
    message = Message.blank(6, SPEC)
    message.sections[:], message.id[:] = STATUS, np.arange(6)
    _, good = opened(deliveries(*encode(message, SPEC), receiver=2), SPEC, agents=4)
    assert good.tolist() == [True, True, False, True, False, False]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30, 3.5])
def test_way_points_that_are_none_are_refused(wrong: float) -> None:
    message = Message.blank(3, SPEC, waypoints=4)
    message.kind[:], message.id[:], message.waypoint_count[:] = TRAJECTORY, 1, 4
    message.waypoints[0, 3, 1] = wrong
    message.waypoint_count[1] = 3
    message.waypoints[1, 3, 1] = wrong  # not part of the packet
    _, good = opened(deliveries(*encode(message, SPEC), receiver=0), SPEC, agents=4)
    assert good.tolist() == [False, True, True]
    message = Message.blank(1, SPEC)
    message.kind[:], message.id[:] = STATE, 1
    assert opened(deliveries(*encode(message, SPEC), receiver=0), SPEC, agents=4)[1].all()
