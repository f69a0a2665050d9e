"""The benchmark of the core: what it prints is what was measured, and both places answer the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import agentsc
from agentsc.catalog import listing
from agentsc.experiment import core_load
from agentsc.experiment.core_bench import CoreBench, agreement, limit, summary, text
from envs.errors import ConfigError

SMALL = CoreBench(agents=8, samples=9, seeds=2, hosts=2)


@pytest.fixture(scope="module")
def rounds() -> list[list[list[Any]]]:
    return core_load.record(SMALL)


def flat(agents: list[list[Any]]) -> list[Any]:
    return [request for own in agents for request in own]


def test_it_measures_in_this_process_and_behind_ray(tmp_path: Path) -> None:
    asked = ["agents=8", "samples=9", "hosts=2"]
    result = agentsc.bench("core", out=tmp_path / "core", seeds=2, device="cpu", set=asked)
    assert result.folder == tmp_path / "core" and result.rows is not None and result.text is not None
    rows = pl.read_parquet(tmp_path / "core" / "rows.parquet")
    assert rows["place"].to_list() == ["in-process"] * 2 + ["ray"] * 2
    assert (rows["network_s"] > 0.0).all() and (rows["network_s"] < rows["busy_s"]).all()
    assert (rows["busy_s"] < rows["wall_s"]).all() and (rows["queue_ms_p50"] <= rows["queue_ms_p95"]).all()
    local, ray = rows.filter(place="in-process"), rows.filter(place="ray")
    for name in ("samples", "requests", "rows"):
        assert local[name].to_list() == ray[name].to_list(), "both are asked the same"
    assert local["batches"].to_list() == [3, 3], "own plans, imagined peers and maps are a batch each"
    assert local["network_calls"].to_list() == [2 * SMALL.steps + core_load.MAP_STEPS] * 2
    data = json.loads((tmp_path / "core" / "bench.json").read_text())
    assert data["identical"] is True and data["agreement"] is None and data["config"]["agents"] == 8
    assert data == result.data
    shown = data["places"]["ray"]["network_share"]
    assert shown["mean"] == pytest.approx(float(ray["network_s"].sum() / ray["wall_s"].sum()))
    assert shown["ci95"][0] <= shown["mean"] <= shown["ci95"][1] and shown["goal"] == 0.7
    assert (tmp_path / "core" / "summary.md").read_text().strip() == result.text.strip()
    assert "share inside network forward passes" in result.text and "the same bits" in result.text


def test_the_load_is_what_it_says(rounds: list[list[list[Any]]]) -> None:
    assert len(rounds) == core_load.ROUNDS
    for agents in rounds:
        assert len(agents) == SMALL.agents
        asked = flat(agents)
        plans = [r for r in asked if getattr(r, "peers", None) is not None]
        maps = [r for r in asked if r.model == "maps"]
        assert sum(len(r.keys) for r in plans) == SMALL.agents, "every agent plans in every round"
        assert all(r.fresh + r.warm.shape[1] == SMALL.samples for r in plans)
        assert len(maps) == 1 and len(maps[0].keys) == core_load.MAP_SAMPLES
    assert any(r.model == "edge-prior" and r.peers is None for agents in rounds for r in flat(agents))
    keys = [r.keys for agents in rounds for r in flat(agents) if r.model == "maps"]
    assert len(np.unique(np.concatenate(keys))) == len(rounds) * core_load.MAP_SAMPLES


def test_flops_are_those_of_the_layers(rounds: list[list[list[Any]]]) -> None:
    maps = [r for r in flat(rounds[0]) if r.model == "maps"]
    core = core_load.build_core(SMALL)
    found = limit(SMALL, core, maps)
    core_rows = max(sum(len(r.keys) for r in maps), core.models["maps"].smallest)  # small batches are filled up
    products = 7 * 24 + 24 * 24 + 24 * 6
    assert found["flop"] == core_load.MAP_STEPS * core_rows * 2 * 9 * 16 * 16 * products
    assert (
        found["share"] == pytest.approx(found["achieved_flop_s"] / found["peak_flop_s"])
        and found["share"] > 0.0
    )


def test_agreement_is_exact_with_itself_and_near_in_bfloat16(rounds: list[list[list[Any]]]) -> None:
    exact = core_load.build_core(SMALL)
    same = agreement(exact, core_load.build_core(SMALL), flat(rounds[0]))
    assert set(same) == {"edge-prior", "maps"} and all(gap["max"] == 0.0 for gap in same.values())
    rounded = core_load.build_core(SMALL.model_copy(update={"precision": "bfloat16"}))
    for gap in agreement(exact, rounded, flat(rounds[0])).values():
        assert 0.0 < gap["median"] < 0.05 * gap["scale"] and gap["median"] <= gap["max"]


def test_the_text_says_when_samples_differ_and_shows_the_agreement() -> None:
    row = {
        "wall_s": 1.0, "network_s": 0.5, "busy_s": 0.6, "samples": 10, "rows": 8, "batches": 2,
        "queue_ms_p50": 1.0, "queue_ms_p95": 2.0, "network_calls": 5, "maps_network_s": 0.5,
    }  # fmt: skip
    rows = [row | {"place": place} for place in ("in-process", "in-process", "ray", "ray")]
    found = {
        "limit": {"peak_flop_s": 2e9, "flop": 5e8, "achieved_flop_s": 1e9, "share": 0.5},
        "identical": False, "agreement": {"maps": {"max": 0.25, "median": 0.125, "scale": 1.0}},
    }  # fmt: skip
    told = text(summary(SMALL, rows, found))
    assert "NOT the same" in told and "median difference 0.12, max 0.25" in told
    assert "| 0.5 (0.5 … 0.5, goal ≥ 0.85) | 0.5 (0.5 … 0.5, goal ≥ 0.7) |" in told
    assert "50 % of what a large matrix product reaches here (2.0)" in told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"resume": True}, "resume must be left out with 'core', got True"),
        ({"workers": 2}, "workers must be left out with 'core', got 2"),
        ({"dry_run": True}, "dry_run must be left out with 'core'"),
        ({"seeds": 1}, "core.seeds must be greater than or equal to 2, got 1"),
        ({"set": ["agents=1"]}, "core.agents must be greater than or equal to 2, got 1"),
        ({"set": ["agnts=8"]}, "did you mean 'agents'"),
        ({"set": ["agents"]}, "--set must be key=value, got 'agents'"),
        ({"set": ["steps=0"]}, "core.steps must be greater than or equal to 1, got 0"),
        ({"set": ["solver=dimm"]}, "solver 'dimm' is not known: did you mean 'ddim'"),
        ({"device": "auto"}, "core.device must be 'cpu' or 'cuda', got 'auto'"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    options: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=sentence):
        agentsc.bench("core", **options)
    assert list(tmp_path.iterdir()) == []


def test_it_is_listed_beside_the_suites() -> None:
    found = {row["name"]: row for row in listing("suites")}
    assert {"core", "smoke", "loss-delay"} <= set(found)
    assert found["core"]["description"].startswith("The diffusion core under a mixed load")
    assert found["core"]["parameters"]["agents"]["default"] == 64
