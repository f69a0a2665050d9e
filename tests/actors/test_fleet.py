"""A fleet gives the same result however it is spread: in this process, on one Ray host, on two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from agentsc.actors.fleet import inbox_of, join_packets, split
from agentsc.experiment.config import resolve
from agentsc.experiment.log import RunLog
from agentsc.experiment.run import prepare
from agentsc.experiment.runner import run_lanes
from agentsc.links.medium import Deliveries, Packets
from envs.errors import ConfigError

RUN: dict[str, Any] = {
    "scenario": {"name": "weave", "agents": 5}, "episodes": 2, "ticks": 24, "seed": 3,
    "link": "gilbert-elliott:p=0.1,r=0.4+delay:ms=40,jitter_ms=60", "device": "cpu",
}  # fmt: skip


def log_of(**options: Any) -> RunLog:
    job = prepare(resolve(None, {**RUN, **options}))
    return run_lanes(job.config, job.world)


@pytest.fixture(scope="session")
def ray_once() -> Iterator[None]:
    """Ray starts once for the whole session."""
    # The module sets Ray's environment, so it comes first.
    import ray

    import agentsc.actors.ray_fleet  # noqa: F401

    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    yield
    ray.shutdown()


# One host is another path than two only as far as actors go: one protocol shows that.
@pytest.mark.parametrize(
    ("protocol", "hosts"),
    [("negotiated", 1), ("intent", 2), ("negotiated", 2), ("full-trajectory", 2), ("prioritised", 2), ("rmader", 2)],
)
def test_every_backend_gives_the_same_digest_and_counters(ray_once: None, protocol: str, hosts: int) -> None:
    local = log_of(protocol={"name": protocol})
    assert local.positions.std() > 0.0 and local.packets is not None and local.packets.sum() > 20
    log = log_of(protocol={"name": protocol}, backend="ray", hosts=hosts)
    assert log.digest() == local.digest()
    names = (
        "packets", "bits", "decisions", "lost", "proposals", "commits", "commit_rounds", "grants_given", "brakes",
    )  # fmt: skip
    for name in names:
        np.testing.assert_array_equal(getattr(log, name), getattr(local, name), err_msg=name)
    # Courses need no network on a map without a motion pattern.
    assert log.network_s is not None and (log.network_s > 0.0 or protocol == "intent")


@pytest.mark.parametrize("protocol", ["intent", "negotiated", "orca"])
def test_goals_failures_and_joins_reach_agents_on_every_host(ray_once: None, protocol: str) -> None:
    early = {"agents": 5, "first_s": 1.0, "window_s": 4.0}
    for scenario in ({"name": "surprise", **early}, {"name": "lifelong-warehouse", "agents": 5, "service_ticks": 1}):
        options = {"protocol": {"name": protocol}, "scenario": scenario, "ticks": 48}
        local = log_of(**options)
        log = log_of(**options, backend="ray", hosts=2)
        assert log.digest() == local.digest(), scenario["name"]
        assert not np.array_equal(local.goals, log_of(**options | {"ticks": 2}).goals)


def test_every_host_draws_the_same_proposals_for_courses(ray_once: None) -> None:
    options = {"protocol": {"name": "intent"}, "scenario": {"name": "conveyor", "agents": 4}, "ticks": 90}
    local = log_of(**options)
    assert local.success.all() and local.adherence is not None and (local.adherence == 1.0).all()
    for hosts in (1, 2):
        log = log_of(**options, backend="ray", hosts=hosts)
        assert log.digest() == local.digest(), f"{hosts} hosts"
        assert log.network_s is not None and log.network_s > 0.0


@pytest.mark.parametrize("protocol", [{"name": "intent", "silence_s": 1.0}, {"name": "negotiated"}])
def test_deaths_and_restarts_reach_processes_on_every_host(ray_once: None, protocol: dict[str, Any]) -> None:
    quiet = {"obstacles": 0, "doors": 0, "failures": 0, "joins": 0, "role_changes": 0}
    scenario = {"name": "surprise", "agents": 5, "first_s": 1.0, "window_s": 1.0, "down_s": 2.0, **quiet}
    options = {"protocol": protocol, "scenario": scenario | {"restarts": 2}, "ticks": 64, "link": "erasure:p=0.2"}
    local = log_of(**options)
    assert log_of(**options, backend="ray", hosts=2).digest() == local.digest()
    assert log_of(**options | {"scenario": scenario}).digest() != local.digest(), "it makes a difference"


@pytest.mark.parametrize("protocol", [{"name": "orca"}, {"name": "market"}, {"name": "intent", "silence_s": None}])
def test_restarts_are_refused_where_there_is_no_rule_for_them(protocol: dict[str, Any]) -> None:
    scenario = {"name": "surprise", "agents": 6, "restarts": 1}
    with pytest.raises(ConfigError, match=f"{protocol['name']}, which has no rule for restarts"):
        log_of(protocol=protocol, scenario=scenario)


def test_every_host_makes_the_same_plans_for_everybody(ray_once: None) -> None:
    local = log_of(protocol={"name": "central-search"}, ticks=48)
    assert local.success.all()
    for hosts in (1, 2):
        log = log_of(protocol={"name": "central-search"}, ticks=48, backend="ray", hosts=hosts)
        assert log.digest() == local.digest(), f"{hosts} hosts"


@pytest.mark.parametrize(("agents", "hosts"), [(1, 1), (5, 2), (7, 3), (2, 4)])
def test_agents_are_split_evenly_and_contiguously(agents: int, hosts: int) -> None:
    parts = split(agents, hosts)
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(agents))
    sizes = [len(part) for part in parts]
    assert len(parts) == min(agents, hosts) and max(sizes) - min(sizes) <= 1


def test_an_inbox_is_shared_out_with_its_payload() -> None:
    receiver = np.array([0, 1, 2, 3, 1], np.int32)
    packet = np.array([0, 0, 1, 2, 2], np.int32)
    payload = np.arange(6, dtype=np.uint8).reshape(3, 2)
    inbox = Deliveries(
        np.zeros(5, np.int32), np.full(5, 9, np.int32), receiver, np.arange(5, dtype=np.int32),
        np.arange(5.0), packet,
        payload, np.array([10, 11, 12], np.int32), np.zeros(3, np.int32), np.zeros(3, bool),
    )  # fmt: skip
    whole = {
        (int(r), bytes(d), int(b)) for r, d, b in zip(inbox.receiver, inbox.data, inbox.bits, strict=True)
    }
    parts = [inbox_of(inbox, ids) for ids in (np.array([0, 1]), np.array([2, 3]), np.array([4]))]
    shared = [
        {(int(r), bytes(d), int(b)) for r, d, b in zip(p.receiver, p.data, p.bits, strict=True)}
        for p in parts
    ]
    assert set.union(*shared) == whole and [len(p) for p in parts] == [3, 2, 0]
    assert [len(p.payload) for p in parts] == [2, 2, 0], "only what a host needs"
    assert {f.name for f in fields(Deliveries)} >= {"arrival_s", "sent_clock"}


def test_packets_are_joined_in_the_order_of_one_block() -> None:
    def packets(lane: list[int], sender: list[int], width: int) -> Packets:
        mark = np.array(sender, np.uint8)[:, None].repeat(width, 1).reshape(len(sender), width)
        return Packets(
            np.array(lane, np.int32), np.array(sender, np.int32), mark, np.array(sender, np.int32) + 50
        )

    joined = join_packets([packets([0, 1], [0, 1], 3), packets([], [], 0), packets([0, 1], [2, 3], 5)])
    assert joined.lane.tolist() == [0, 0, 1, 1] and joined.sender.tolist() == [0, 2, 1, 3]
    assert joined.bits.tolist() == [50, 52, 51, 53] and joined.data.shape == (4, 5)
    np.testing.assert_array_equal(joined.data[:, 0], joined.sender)
    assert joined.data[0, 3:].tolist() == [0, 0]
    assert len(join_packets([packets([], [], 0), packets([], [], 0)]).lane) == 0
