"""Metrics against closed forms, their invariants, and what they do with nothing to measure."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from fake_log import straight_log
from hypothesis import given
from hypothesis import strategies as st

from agentsc.experiment.log import RunLog
from agentsc.experiment.metrics import (
    COUNTERS,
    DESCRIPTIONS,
    Metric,
    lane_rows,
    mean,
    metrics,
    radio,
    ratio,
    speed_scores,
    timing,
)  # fmt: skip
from agentsc.experiment.statistics import wilson
from agentsc.experiment.table import radio_table


def measured(log: RunLog) -> dict[str, Metric]:
    return metrics(lane_rows(log))


def test_motion_of_two_walkers() -> None:
    found = measured(straight_log())
    assert found["success_rate"]["mean"] == 1.0 and found["success_rate"]["n"] == 2
    assert found["makespan_s"]["mean"] == pytest.approx(4.0)
    assert found["flowtime_s"]["mean"] == pytest.approx(2.0 + 4.0)
    assert found["path_length_ratio"]["mean"] == pytest.approx(1.0)
    assert found["min_separation_m"] == {"mean": 2.0, "ci95": [2.0, 2.0], "n": 2, "min": 2.0}


def test_rates_are_per_agent_and_simulated_time() -> None:
    log = straight_log(bits=np.int64([[80, 0], [0, 240]]), packets=np.int64([[1, 0], [0, 3]]))
    found = measured(log)
    # 2 lanes × 2 agents × 4 s.
    assert found["bits_per_agent_s"]["mean"] == pytest.approx(320 / 16)
    assert found["packets_per_agent_s"]["mean"] == pytest.approx(4 / 16)


def test_copies_are_part_of_what_can_be_lost() -> None:
    log = straight_log(decisions=np.int64([90, 10]), lost=np.int64([9, 10]))
    rows = lane_rows(log)
    assert metrics(rows)["packet_error_rate"]["mean"] == pytest.approx(0.19), "as before there were copies"
    log.radio = {"duplicated": np.int64([60, 30])}
    assert metrics(lane_rows(log))["packet_error_rate"]["mean"] == pytest.approx(0.1)
    without = [{k: v for k, v in row.items() if k != "lost"} for row in rows]
    assert "no count of lost" in metrics(without)["packet_error_rate"]["reason"]


def test_the_radio_of_a_run_balances_and_is_shown_when_there_is_something_to_show() -> None:
    assert radio(straight_log()) is None
    log = straight_log(decisions=np.int64([90, 10]), lost=np.int64([9, 1]))
    log.radio = {
        "delivered": np.int64([85, 9]), "duplicated": np.int64([5, 0]), "in_flight": np.int64([1, 0]),
        "lost_erasure": np.int64([9, 1]),
    }  # fmt: skip
    log.link_losses = [{}, {"erasure": 10}]
    books = radio(log)
    assert books is not None
    assert books["offered"] + books["duplicated"] == books["delivered"] + 10 + books["in_flight"]
    assert books["lost"] == {"erasure": 10} and books["lost_by_link"] == [{}, {"erasure": 10}]
    json.dumps(books, allow_nan=False)
    shown = radio_table({"radio": books})
    assert shown is not None and shown.row_count == 5
    quiet = books | {"duplicated": 0, "lost": {"erasure": 0}}
    assert radio_table({"radio": quiet}) is None and radio_table({}) is None
    assert radio_table({"radio": quiet | {"refused": 0}}) is None
    refusing = radio_table({"radio": quiet | {"refused": 3}})
    assert refusing is not None and "refused by agents" in list(refusing.columns[0].cells)


def test_contacts_per_agent_hour() -> None:
    log = straight_log(collisions=np.int64([[1, 1], [0, 0]]), min_pair=np.float32([0.9, 2.0]))
    found = measured(log)
    assert found["collisions_per_agent_hour"]["mean"] == pytest.approx(2 / (16 / 3600))
    assert found["collision_free_rate"]["mean"] == 0.5 and found["success_rate"]["mean"] == 0.5


def test_contact_with_an_obstacle_is_no_success() -> None:
    found = measured(straight_log(obstacle_hits=np.int64([[0, 1], [0, 0]])))
    assert found["success_rate"]["mean"] == 0.5 and found["collision_free_rate"]["mean"] == 0.5


def test_touching_at_the_sum_of_radii_is_no_collision() -> None:
    assert measured(straight_log(min_pair=np.float32([1.0, 1.0])))["collision_free_rate"]["mean"] == 1.0


def test_a_lane_that_never_finished_counts_as_a_failure_without_quality() -> None:
    log = straight_log(
        finish_tick=np.int64([8, -1]),
        at_goal=np.array([[True, True], [True, False]]),
        bits=np.int64([[8, 8], [8, 8]]),
    )
    found = measured(log)
    assert found["success_rate"]["mean"] == 0.5
    assert found["agent_success_rate"]["mean"] == 0.75
    assert found["makespan_s"]["n"] == 1 and found["path_length_ratio"]["n"] == 1
    # Bits count up to the time limit, so both lanes weigh 4 s.
    assert found["bits_per_agent_s"]["mean"] == pytest.approx(2.0)


def test_what_follows_the_finish_does_not_count() -> None:
    log = straight_log(ticks=12)
    log.positions[:, 9:] += 50.0
    early = straight_log()
    assert measured(log)["path_length_ratio"] == measured(early)["path_length_ratio"]
    assert measured(log)["flowtime_s"] == measured(early)["flowtime_s"]
    assert log.digest() == early.digest()


def test_leaving_the_goal_resets_the_arrival() -> None:
    log = straight_log()
    log.positions[:, 6, 0, 0] = 3.0
    assert log.arrival_tick.tolist() == [[7, 8], [7, 8]]


def test_what_failed_scores_zero_and_what_has_no_score_is_left_out() -> None:
    rows = [{"speed_score": 0.5}, {"speed_score": None}, {"status": "failed"}, {"status": "done", "speed_score": 0.0}]
    assert speed_scores(rows) == [0.5, 0.0, 0.0]


def test_ratios_are_of_sums_over_lanes() -> None:
    log = straight_log(
        decisions=np.int64([90, 10]), lost=np.int64([9, 10]), silent_rounds=np.int64([3, 0]),
        speaking_rounds=np.int64([1, 4]), age_sum=np.float64([6, 2]), age_count=np.int64([3, 1]),
        commits=np.int64([2, 2]), commit_rounds=np.int64([4, 8]), grants_asked=np.int64([4, 0]),
        grants_given=np.int64([3, 0]), brakes=np.int64([0, 2]), belief_ade_sum=np.ones(2),
        belief_fde_sum=2 * np.ones(2), belief_cover_sum=9 * np.ones(2), belief_count=np.int64([10, 10]),
    )  # fmt: skip
    found = {name: metric["mean"] for name, metric in measured(log).items()}
    assert found["packet_error_rate"] == pytest.approx(0.19)
    assert found["silent_fraction"] == pytest.approx(3 / 8)
    assert found["age_of_information_s"] == pytest.approx(2.0)
    assert found["rounds_per_commit"] == pytest.approx(3.0)
    assert found["grant_ratio"] == pytest.approx(0.75)
    assert found["brake_activations"] == pytest.approx(1.0)
    assert found["intent_min_ade_m"] == pytest.approx(0.1)
    assert found["intent_min_fde_m"] == pytest.approx(0.2)
    assert found["intent_coverage90"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "packet_error_rate",
            "age_of_information_s",
            "rounds_per_commit",
            "grant_ratio",
            "brake_activations",
        ),
        *("intent_min_ade_m", "intent_min_fde_m", "intent_coverage90", "silent_fraction"),
    ],
)
def test_nothing_to_measure_is_null_with_a_reason(name: str) -> None:
    metric = measured(straight_log())[name]
    assert metric["mean"] is None and metric["ci95"] is None and metric["n"] == 0
    assert len(metric["reason"]) > 8


def test_a_single_agent_has_no_separation() -> None:
    log = straight_log(min_pair=np.full(2, np.inf, np.float32))
    assert measured(log)["min_separation_m"]["reason"] == "there is a single agent, so there are no pairs"
    assert measured(log)["collision_free_rate"]["mean"] == 1.0


def test_everything_is_strict_json_and_every_metric_is_described() -> None:
    log = straight_log(min_pair=np.full(2, np.inf, np.float32), finish_tick=np.int64([-1, -1]))
    text = json.dumps(
        {"metrics": measured(log), "timing": timing(log), "rows": lane_rows(log)}, allow_nan=False
    )
    assert list(json.loads(text)["metrics"]) == list(DESCRIPTIONS)


def test_rows_hold_every_counter() -> None:
    row = lane_rows(straight_log(bits=np.int64([[80, 20], [0, 0]]), age_sum=np.float64([0.5, 0])))[0]
    assert set(COUNTERS) <= set(row)
    assert row["bits"] == 100 and row["age_sum"] == 0.5 and row["grants_asked"] is None
    assert row["makespan_s"] == 4.0 and row["agents_at_goal"] == 2


def test_wilson_at_the_textbook_point() -> None:
    # 0 of 10: the upper end is z²/(n + z²).
    low, high = wilson(0, 10)
    z2 = 1.959963984540054**2
    assert low == 0.0 and high == pytest.approx(z2 / (10 + z2))


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_in_the_unit_interval(case: tuple[int, int]) -> None:
    successes, n = case
    low, high = wilson(successes, n)
    assert 0.0 <= low <= successes / n + 1e-12 and successes / n - 1e-12 <= high <= 1.0
    assert math.isclose(low + wilson(n - successes, n)[1], 1.0, abs_tol=1e-12)


def test_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = mean(values, "")["ci95"]
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half * 2)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half * 2)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        low, high = mean(rng.exponential(1.0, 30), "")["ci95"]
        inside += low <= 1.0 <= high
    assert 0.86 <= inside / 200 <= 0.98  # percentile intervals of skewed data run a little short


def test_one_lane_has_no_interval() -> None:
    assert mean([3.0], "") == {"mean": 3.0, "ci95": [None, None], "n": 1}


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 1000)), min_size=1, max_size=20))
def test_ratio_is_inside_its_interval_range_and_repeatable(pairs: list[tuple[float, int]]) -> None:
    top, bottom = np.array(pairs).T
    found = ratio(top, bottom, "nothing")
    assert found == ratio(top, bottom, "nothing")
    if not (bottom > 0).any():
        assert found["reason"] == "nothing"
    else:
        each = top[bottom > 0] / bottom[bottom > 0]
        slack = 1e-9 * (1 + each.max())
        assert each.min() - slack <= found["mean"] <= each.max() + slack


def test_digest_depends_on_positions_and_episodes_but_not_on_order() -> None:
    log = straight_log()
    swapped = straight_log(episodes=np.int64([1, 0]))
    swapped.positions[:] = swapped.positions[::-1].copy()
    assert log.digest() == swapped.digest()
    moved = straight_log()
    moved.positions[0, 3, 0, 0] += 2e-4
    assert moved.digest() != log.digest()
    assert moved.lane_digest(1) == log.lane_digest(1)
    rounded = straight_log()
    rounded.positions[0, 3, 0, 0] += 2e-5
    assert rounded.digest() == log.digest()
    renamed = straight_log(episodes=np.int64([0, 5]))
    assert renamed.digest() != log.digest()


def test_a_lane_alone_has_the_digest_it_has_beside_others() -> None:
    both, alone = straight_log(lanes=3), straight_log(lanes=1, ticks=10)
    assert both.lane_digest(0) == alone.lane_digest(0)


def test_negative_zero_is_zero() -> None:
    log, minus = straight_log(), straight_log()
    minus.positions[minus.positions == 0] = -0.0
    assert log.digest() == minus.digest()
