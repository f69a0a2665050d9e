"""Architectures as a user meets them: every protocol runs on each, on both backends, and says why where it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agentsc
from agentsc.hosting.words import Entry, Leg, kinds, orders, read_orders, read_reports, read_rests, reports, rests
from agentsc.protocol import PROTOCOLS
from agentsc.protocol.architectures import ARCHITECTURES
from agentsc.view.recording import Recording
from envs.errors import ConfigError

HOSTED = ["centralised", "hybrid:regions=2"]


def run(protocol: str, architecture: str, **options: Any) -> Any:
    settings: dict[str, Any] = {"scenario": {"name": "weave", "agents": 4}, "episodes": 2, "ticks": 70, "seed": 3}
    return agentsc.run(protocol={"name": protocol, "architecture": architecture}, **settings | options)


@pytest.fixture(scope="module")
def ray_once() -> Iterator[None]:
    """Ray starts once for all runs here."""
    # The module sets Ray's environment, so it comes first.
    import agentsc.actors.ray_fleet  # noqa: F401, I001
    import ray

    started = not ray.is_initialized()
    if started:
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        )  # fmt: skip
    yield
    if started:
        ray.shutdown()


def test_there_are_three() -> None:
    assert set(ARCHITECTURES) == {"distributed", "centralised", "hybrid"}


@pytest.mark.parametrize("architecture", HOSTED)
@pytest.mark.parametrize("protocol", ["intent", "negotiated", "orca"])
def test_protocols_arrive_wherever_their_machines_run(protocol: str, architecture: str) -> None:
    # Who keeps to a hub's clock is late if word is, and then as safe as orca is.
    link = "perfect" if protocol == "orca" else "erasure:p=0.2"
    result = run(protocol, architecture, link=link, episodes=1 if protocol == "negotiated" else 2)
    metrics, radio = result.metrics, result.log.radio
    assert metrics["success_rate"]["mean"] == 1.0
    assert metrics["collision_free_rate"]["mean"] == 1.0
    assert (radio["uplink_bits"] > 0).all() and (radio["downlink_bits"] > 0).all()
    assert (radio["uplink_bits"] + radio["downlink_bits"] == result.log.bits.sum(1)).all()
    assert (radio["backhaul_bits"] > 0).all() == ("hybrid" in architecture)
    assert metrics["grant_ratio"]["mean"] is None, "hubs ask for no grants"
    assert 0 < metrics["reaction_s"]["mean"] < 2.0


@pytest.mark.parametrize("protocol", ["market", "full-trajectory", "rmader", "silent"])
def test_any_other_protocol_runs_at_a_hub_too(protocol: str) -> None:
    result = run(protocol, "centralised", episodes=1, ticks=40)
    moved = np.linalg.norm(result.log.positions[:, -1] - result.log.starts, axis=-1)
    assert (moved > 0.1).any(1).all()


@pytest.mark.parametrize("protocol", ["intent", "orca"])
def test_lanes_do_not_know_of_each_other(protocol: str) -> None:
    options: dict[str, Any] = {"link": "erasure:p=0.3", "ticks": 50}
    architecture = "hybrid:regions=2,hub_failure_s=0.5,patience_s=0.5"
    together = run(protocol, architecture, **options)
    alone = run(protocol, architecture, episodes=1, set=["first_episode=1"], **options)
    assert together.log.lane_digest(1) == alone.log.lane_digest(0)


@pytest.mark.parametrize(
    ("protocol", "architecture"),
    [
        ("intent", "centralised"),
        ("negotiated", "hybrid:regions=2,hub_failure_s=0.6,patience_s=0.5"),
        ("market", "centralised"),
        ("orca", "hybrid"),
    ],
)
def test_ray_gives_the_same_digest(ray_once: None, protocol: str, architecture: str) -> None:
    options: dict[str, Any] = {"link": "erasure:p=0.2", "episodes": 1, "ticks": 40}
    local = run(protocol, architecture, **options)
    spread = run(protocol, architecture, backend="ray", hosts=2, **options)
    assert local.digest == spread.digest


def test_a_dead_hub_stops_everybody_and_a_dead_aggregator_nobody() -> None:
    options: dict[str, Any] = {"scenario": {"name": "weave", "agents": 4}, "ticks": 200, "episodes": 1}
    centralised = run("intent", "centralised:hub_failure_s=0.5,ahead_ticks=8", **options)
    hybrid = run("intent", "hybrid:regions=2,hub_failure_s=0.5,ahead_ticks=8,region_s=0.2,patience_s=1", **options)
    assert centralised.metrics["success_rate"]["mean"] == 0.0
    last = centralised.log.positions[:, -60:]
    assert (np.ptp(last, axis=1) < 1e-5).all(), "they rest"
    assert hybrid.metrics["success_rate"]["mean"] == 1.0
    assert (hybrid.log.radio["fell_back"] == 4).all()
    for result in (centralised, hybrid):
        assert result.metrics["collision_free_rate"]["mean"] == 1.0


def test_a_film_shows_hubs_and_what_they_say(tmp_path: Path) -> None:
    film = tmp_path / "still.png"
    result = run("intent", "hybrid:regions=2", episodes=1, ticks=12, record=film, out=tmp_path / "run")
    track = Recording.load(next((tmp_path / "run").glob("recording-*.npz")))
    assert film.stat().st_size > 10_000
    np.testing.assert_allclose(track.scene.hubs, [[-0.5, 0.0], [0.5, 0.0]])
    senders = np.concatenate([tick.packets["sender"] for tick in track._ticks])
    assert set(senders.tolist()) == set(range(6)), "four agents and two hubs"
    assert result.log.positions.shape[2] == 4


def test_goals_that_follow_each_other_reach_a_hub() -> None:
    warehouse = {"name": "lifelong-warehouse", "agents": 3}
    result = run("intent", "centralised", scenario=warehouse, episodes=1, ticks=160)
    assert result.metrics["collision_free_rate"]["mean"] == 1.0, "no shelf is driven through, either"
    assert result.metrics["tasks_per_agent_hour"]["mean"] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": {"name": "intent", "architecture": "hub"}}, "choose one of centralised, distributed, hybrid"),
        ({"protocol": {"name": "intent", "architecture": "hybrid:regions=0"}}, "regions must be greater"),
        ({"protocol": {"name": "central-search", "architecture": "hybrid"}}, "centralised"),
        ({"protocol": {"name": "intent", "architecture": "hybrid:cloud_prior=nimbus"}}, "'nimbus' is not known"),
        ({"protocol": {"name": "intent", "architecture": "centralised"},
          "scenario": {"name": "weave", "agents": 4, "a_max": 2.0}}, "go step by step"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_starts(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        agentsc.run(**{"scenario": {"name": "weave", "agents": 4}, "ticks": 2} | change)


def test_every_protocol_says_where_its_machines_run() -> None:
    for name in PROTOCOLS:
        assert "architecture" in PROTOCOLS.get(name).model_fields


# -- words -----------------------------------------------------------------------------------------


def test_words_come_out_as_they_went_in() -> None:
    rng = np.random.default_rng(1)
    lane, sender = np.array([0, 0, 1]), np.array([3, 250, 7])
    wish, steps, done = np.array([15, 0, 4]), np.array([0, 65535, 300]), np.array([1, 2, 65535])
    goal = np.array([[-1, -1], [0, 65535], [77, 1234]])
    packets = reports(lane, sender, wish, steps, done, goal, 513)
    assert packets.bits.tolist() == [77, 109, 109] and (kinds(packets.data) == 8).all()
    words, good = read_reports(packets.data, packets.bits)
    assert good.all()
    for told, heard in zip((sender, wish, steps, done, goal), words, strict=True):
        np.testing.assert_array_equal(told, heard)

    whole, place = np.array([True, False, True]), rng.integers(0, 65536, (3, 2))
    packets = rests(lane, sender, done, whole, place, 5)
    assert (packets.bits == 89).all()
    heard, good = read_rests(packets.data, packets.bits)
    assert good.all() and (heard.complete == whole).all()
    np.testing.assert_array_equal(heard.place, place)

    legs = (Leg(63, 1, 2), Leg(1, 65535, 0))
    entries = [Entry(250, 9, 65000, 65040, legs, 65010, 999), Entry(1, 0, 12, 12)]
    packets = orders(np.array([0]), np.array([8]), np.array([0]), [entries], 99)
    assert packets.bits[0] == 46 + sum(entry.bits for entry in entries)
    assert read_orders(packets.data[0], int(packets.bits[0])) == entries


def test_damaged_words_are_refused() -> None:
    zero = np.array([0])
    packets = reports(zero, zero, zero, zero + 9, zero + 8, np.array([[1, 2]]), 7)
    for bit in range(int(packets.bits[0])):
        data = packets.data.copy()
        data[0, bit // 8] ^= 128 >> bit % 8
        assert not read_reports(data, packets.bits)[1].any()
    assert not read_reports(packets.data, packets.bits - 1)[1].any()
    nonsense = orders(zero, zero, zero, [[Entry(1, 0, 0, 9, (Leg(3, 1, 1),))]], 0)
    assert read_orders(nonsense.data[0], int(nonsense.bits[0])) is None, "legs that do not reach the limit"
