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
from agentsc.protocol import PROTOCOLS

ROOT = Path(__file__).parents[2]
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
