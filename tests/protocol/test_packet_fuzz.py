"""Whatever bytes arrive, nothing breaks: what is wrong is refused, counted, and moves nobody."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import packet_fuzz as fuzz
import pytest

import agentsc
from agentsc.protocol import PROTOCOLS

ROOT = Path(__file__).parents[2]
ROUGH = (
    "spoofer:what=noise+spoofer:what=plans+spoofer:what=grants+replayer:age=3+babbler:bits=300"
    "+bit-errors:p=0.004+duplicate:p=0.3,ms=300+delay:ms=0,jitter_ms=150"
)


def test_the_experiment_runs_and_its_page_says_what_it_found() -> None:
    rows, flown = list(fuzz.decoder(500)), list(fuzz.flights(2_000, lanes=4, ticks=12))
    assert {row.damage for row in rows} >= {"1 wrong bits", "truncated"} and len(flown) == len(fuzz.DAMAGES)
    radio = dict.fromkeys(("offered", "duplicated", "injected", "delivered", "undetected", "refused", "lost_crc"), 7)
    page = fuzz.summary(rows, flown, radio | {"episodes": 3, "success": 3, "collision_free": 3})
    assert page.count("\n| ") == 2 + len(rows) + len(flown)


def published(name: str) -> list[dict[str, str]]:
    with (ROOT / "experiments" / "results" / "packet-fuzz" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_published_counts_are_explained_by_the_miss_rate() -> None:
    rows = published("decoder")
    assert len(rows) >= 50
    for row in rows:
        assert int(row["packets"]) >= 1_000_000 and float(row["p_value"]) > 1e-4, row
        assert float(row["miss_rate"]) > 0 or int(row["accepted"]) == 0, row


def test_in_published_flights_only_what_fooled_a_checksum_can_have_done_harm() -> None:
    rows = published("fleet")
    assert len(rows) >= 6
    for row in rows:
        packets, decoded, refused = (int(row[name]) for name in ("packets", "decoded", "refused"))
        assert packets >= 1_000_000 and packets - decoded <= refused <= packets, row
        assert int(row["collided_unexposed"]) == 0 and int(row["commits"]) > 100, row
    (radio,) = published("radio")
    assert int(radio["lost_crc"]) >= 1_000_000
    assert radio["collision_free"] == radio["episodes"] or int(radio["undetected"]) > 0


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
