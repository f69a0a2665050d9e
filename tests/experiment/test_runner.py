"""The loop itself: lanes do not see each other, books balance, and a run ends when all are home."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentsc.experiment.config import resolve
from agentsc.experiment.log import Progress, RunLog
from agentsc.experiment.metrics import lane_rows, metrics
from agentsc.experiment.run import prepare
from agentsc.experiment.runner import MAX_ROUNDS, nearest, run_lanes
from agentsc.links.medium import Medium
from envs.errors import ConfigError
from envs.geometry import segment_closest

BASE: dict[str, Any] = {
    "scenario": {"name": "weave", "agents": 4}, "episodes": 3, "seed": 5, "device": "cpu",
    "link": "erasure:p=0.3+delay:ms=40,jitter_ms=80",
}  # fmt: skip


def log_of(progress: Any = None, **options: Any) -> RunLog:
    job = prepare(resolve(None, {**BASE, **options}))
    return run_lanes(job.config, job.world, progress=progress)


@pytest.fixture(scope="module")
def log() -> RunLog:
    return log_of()


def test_a_run_ends_when_everyone_rests_at_home(log: RunLog) -> None:
    assert (log.finish_tick > 0).all() and log.at_goal.all() and log.success.all()
    assert log.positions.shape[1] == log.finish_tick.max() + 1
    for lane, last in enumerate(log.finish_tick):
        away = np.linalg.norm(log.positions[lane, last] - log.goals[lane], axis=-1)
        assert away.max() <= log.goal_tolerance
        speed = np.linalg.norm(log.positions[lane, last] - log.positions[lane, last - 1], axis=-1) / log.dt
        assert speed.max() < 0.05 * 0.64
    assert (log.shortest > 0).all() and (
        log.path_length >= 0.95 * log.shortest - 2 * log.goal_tolerance
    ).all()


def test_the_closest_pair_is_that_of_the_recorded_motion(log: RunLog) -> None:
    first, second = np.triu_indices(log.agents, 1)
    for lane, last in enumerate(log.finish_tick):
        path = log.positions[lane, : last + 1].astype(np.float64)
        gap = segment_closest(path[:-1, first], path[1:, first], path[:-1, second], path[1:, second])
        assert log.min_pair[lane] == pytest.approx(gap.min(), abs=1e-5)
    assert (log.min_pair >= log.separation).all() and log.collisions.sum() == log.obstacle_hits.sum() == 0


@pytest.mark.parametrize("scenario", ["weave", "random", "highways", "warehouse"])
def test_a_lane_does_not_notice_the_others(scenario: str) -> None:
    options = {"scenario": {"name": scenario, "agents": 4}, "ticks": 60}
    together = log_of(**options)
    for lane in (0, 2):
        alone = log_of(**options, episodes=1, first_episode=lane)
        assert alone.episodes.tolist() == [lane] and alone.lane_digest(0) == together.lane_digest(lane)
        for name in (
            "packets",
            "bits",
            "decisions",
            "lost",
            "commits",
            "proposals",
            "grants_given",
            "speaking_rounds",
            "brakes",
        ):
            np.testing.assert_array_equal(
                getattr(alone, name)[0], getattr(together, name)[lane], err_msg=name
            )
        assert alone.age_sum[0] == pytest.approx(together.age_sum[lane])


def test_without_a_link_that_parts_agents_no_graph_is_measured(log: RunLog) -> None:
    assert log.graph == {} and not any(name.startswith("graph_") for name in lane_rows(log)[0])


def test_the_books_of_a_lane_are_closed_when_it_ends() -> None:
    """Whatever was in flight then stays in flight, and nobody relays it, however long other lanes go on."""
    link = "graph:kind=line+relay:hops=9+delay:ms=250"
    together = log_of(link=link, episodes=2, protocol="negotiated")
    first = int(together.finish_tick.argmin())
    assert 0 < together.finish_tick[first] < together.finish_tick.max()
    alone = log_of(link=link, episodes=1, first_episode=first, protocol="negotiated")
    for name in ("packets", "bits", "decisions", "lost"):
        np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[first], err_msg=name)
    for kept in ("radio", "graph"):
        one, other = getattr(alone, kept), getattr(together, kept)
        assert {name: values[0] for name, values in one.items()} == {
            name: pytest.approx(values[first]) for name, values in other.items()
        }
    radio = together.radio
    assert radio["in_flight"][first] > 0
    for row in lane_rows(together):
        assert row["graph_connected"] == 1.0 and row["graph_diameter"] == 3.0 and row["graph_mean_degree"] == 1.5
        assert row["graph_algebraic_connectivity"] == pytest.approx(2 - 2 * np.cos(np.pi / 4))
    whole = together.decisions + radio["duplicated"] + radio["relayed"]
    np.testing.assert_array_equal(whole, radio["delivered"] + together.lost + radio["in_flight"])


def test_runs_repeat_and_seeds_matter(log: RunLog) -> None:
    assert log_of().digest() == log.digest()
    assert log_of(seed=6, ticks=40).digest() != log_of(ticks=40).digest()


def test_the_books_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything offered to the medium is counted once, in rounds that were spoken in."""
    kept: list[Medium] = []
    offered: list[tuple[int, int]] = []

    class Watched(Medium):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            kept.append(self)

        def transmit(self, packets: Any, clock: int, position: Any = None) -> None:
            offered.append((len(packets.lane), int(packets.bits.sum())))
            super().transmit(packets, clock, position)

    monkeypatch.setattr("agentsc.experiment.runner.Medium", Watched)
    log = log_of(protocol="negotiated")
    (medium,) = kept
    assert (
        log.packets is not None
        and log.bits is not None
        and log.decisions is not None
        and log.lost is not None
    )
    np.testing.assert_array_equal(log.packets, medium.packets)
    np.testing.assert_array_equal(log.bits, medium.bits)
    assert (log.packets.sum(), log.bits.sum()) == tuple(np.sum(offered, axis=0))
    np.testing.assert_array_equal(log.decisions, log.packets.sum(1) * (log.agents - 1))
    np.testing.assert_array_equal(log.lost, medium.lost)
    assert 0.2 < log.lost.sum() / log.decisions.sum() < 0.4, "three in ten"
    radio = log.radio
    np.testing.assert_array_equal(log.lost, radio["lost_erasure"])
    np.testing.assert_array_equal(log.decisions, radio["delivered"] + radio["lost_erasure"] + radio["in_flight"])
    assert log.link_losses == [{"erasure": log.lost.sum()}, {}] and not radio["duplicated"].any()
    assert radio["refused"].tolist() == [0] * log.lanes
    np.testing.assert_array_equal(radio["header_bits"], 20 * log.packets.sum(1))
    assert (radio["crc_bits"] >= 8 * log.packets.sum(1)).all()
    assert (radio["crc_bits"] <= 16 * log.packets.sum(1)).all()
    rows = lane_rows(log)
    assert [row["lost_erasure"] for row in rows] == log.lost.tolist()
    assert log.silent_rounds is not None and log.speaking_rounds is not None
    np.testing.assert_array_equal(log.speaking_rounds, log.packets.sum(1))
    np.testing.assert_array_equal(log.silent_rounds + log.speaking_rounds, log.last_tick * 2 * log.agents)
    assert (
        (log.bits >= 60 * log.packets).all()
        and (log.proposals >= log.commits).all()
        and (log.commits > 0).all()
    )
    # From proposal to commit takes two rounds at least, except where nobody has to be asked.
    assert (log.commit_rounds >= 0).all() and (log.grants_given <= log.decisions).all()
    assert (log.age_sum > 0).all() and log.belief_count is not None and (log.belief_count >= 0).all()


def test_metrics_of_a_run_are_finite_and_plausible(log: RunLog) -> None:
    found = metrics(lane_rows(log))
    assert found["success_rate"]["mean"] == 1.0
    for name, metric in found.items():
        assert metric["mean"] is None and metric["reason"] or np.isfinite(metric["mean"]), name
    assert log.round_ms.size == log.positions.shape[1] - 1 and (log.round_ms > 0).all()


def test_progress_counts_up_to_the_end() -> None:
    seen: list[Progress] = []
    log = log_of(seen.append, episodes=2)
    assert [p.tick for p in seen] == list(range(1, log.positions.shape[1]))
    assert seen[-1].home == seen[-1].lanes == 2 and seen[-1].bits == log.bits.sum()
    assert seen[-1].sim_s == pytest.approx(log.duration_s.sum())
    assert all(a.bits <= b.bits and a.home <= b.home for a, b in zip(seen[:-1], seen[1:], strict=True))


def test_an_episode_must_fit_a_packets_clock() -> None:
    job = prepare(resolve(None, {**BASE, "ticks": 60}))
    rounds = MAX_ROUNDS // 60 + 1
    config = job.config.model_copy(update={"rounds_per_tick": rounds})
    with pytest.raises(ConfigError, match=f"ticks must be below 59 with {rounds} rounds per tick, got 60"):
        run_lanes(config, job.world)


def test_nearest_in_closed_form() -> None:
    spots = np.float32([[[0, 0], [3, 4], [3, 5]]])
    np.testing.assert_allclose(nearest(spots), [[5.0, 1.0, 1.0]])
    assert np.isinf(nearest(spots[:, :1])).all()
