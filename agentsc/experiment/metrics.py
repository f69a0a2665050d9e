"""Every metric of a run, with a 95 % interval over lanes, from one row per lane.

`lane_rows` turns a run's arrays into rows; `metrics` turns rows into metrics. A run folder, a
benchmark and a comparison hold the same rows, so a metric means the same everywhere.

Shares of lanes carry a Wilson score interval; everything else a percentile bootstrap over lanes,
which keeps the correlation of agents inside a lane (`agentsc.experiment.statistics`). With a
single lane the bootstrap knows nothing of the spread and the interval is ``[null, null]``.

A metric is ``{"mean", "ci95": [lo, hi], "n"}`` where ``n`` counts the lanes behind it. One that
cannot be measured has ``mean: null``, ``n: 0`` and a ``reason``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agentsc.experiment.log import RunLog
from agentsc.experiment.statistics import ratio_interval, wilson

Metric = dict[str, Any]
Row = Mapping[str, Any]
Doubles = NDArray[np.float64]

DESCRIPTIONS: dict[str, str] = {
    "success_rate": "everyone arrived in time, nothing touched",
    "agent_success_rate": "agents at their goal when the lane ended",
    "collision_free_rate": "no contact with agents or obstacles",
    "collisions_per_agent_hour": "onsets of contact with another agent",
    "obstacle_contacts_per_agent_hour": "onsets of contact with an obstacle",
    "min_separation_m": "closest centres, in continuous time",
    "makespan_s": "until the last arrival, finished lanes",
    "flowtime_s": "sum of arrival times, finished lanes",
    "speed_score": "longest trip alone at full speed, over the makespan; 0 for a failed lane",
    "path_length_ratio": "travelled over shortest, finished lanes",
    "flowtime_ratio": "flowtime over all trips alone at full speed",
    "smoothness_m": "mean change of a tick's displacement",
    "adherence": "share of motion that follows the map's pattern",
    "bits_per_agent_s": "offered to the radio, headers included",
    "packets_per_agent_s": "offered to the radio",
    "backhaul_bits_per_agent_s": "over wires between hubs",
    "silent_fraction": "agent-rounds without a packet",
    "packet_error_rate": "packets and copies × receivers lost",
    "age_of_information_s": "of the newest packet held of a peer",
    "rounds_per_commit": "from proposal to commit",
    "reaction_s": "until an agent that has a way to go first moves",
    "grant_ratio": "grants given over grants asked",
    "brake_activations": "per lane; should never fire",
    "intent_min_ade_m": "best sample of a belief, on average",
    "intent_min_fde_m": "best sample of a belief, at its end",
    "intent_coverage90": "truths in a belief's 90 % region",
    "tasks_per_agent_hour": "goals served, where they follow each other",
    "coverage_value": "value collected over the best of one site each",
    "formation_error_m": "from places in the best-fit shape, outside the gap",
    "formation_end_error_m": "the same when the lane ended",
}
"""Name → what it is in a few words; the definitions are in ``docs/results.md``."""

LOWER_IS_BETTER = frozenset(
    (
        *("collisions_per_agent_hour", "obstacle_contacts_per_agent_hour", "makespan_s", "flowtime_s"),
        *("path_length_ratio", "flowtime_ratio", "smoothness_m", "bits_per_agent_s", "packets_per_agent_s"),
        *("packet_error_rate", "age_of_information_s", "rounds_per_commit", "reaction_s", "brake_activations"),
        "backhaul_bits_per_agent_s",
        *("intent_min_ade_m", "intent_min_fde_m", "formation_error_m", "formation_end_error_m"),
    )
)
"""Metrics of which less is better."""

COUNTERS = (
    *("packets", "bits", "silent_rounds", "speaking_rounds", "decisions", "lost", "age_sum", "age_count"),
    *("proposals", "commits", "commit_rounds", "grants_asked", "grants_given", "brakes"),
    *("belief_ade_sum", "belief_fde_sum", "belief_cover_sum", "belief_count"),
)
"""Per-lane counters of `RunLog`, as columns of ``episodes.parquet``."""

BESIDE_OFFERED = ("duplicated", "relayed", "injected")
"""Columns of what was on its way without being offered by an agent."""
KEPT = (*BESIDE_OFFERED, "delivered", "undetected", "refused", "in_flight")
"""Columns that `radio` sums over lanes as they are."""


def unmeasured(reason: str) -> Metric:
    """A metric that this run cannot give."""
    return {"mean": None, "ci95": None, "n": 0, "reason": reason}


def share(outcomes: NDArray[np.bool_]) -> Metric:
    """Share of lanes [L] with a Wilson interval."""
    low, high = wilson(int(outcomes.sum()), len(outcomes))
    return {"mean": float(outcomes.mean()), "ci95": [low, high], "n": len(outcomes)}


def ratio(numerator: ArrayLike, denominator: ArrayLike, reason: str) -> Metric:
    """Ratio of sums over lanes, bootstrapped over the lanes whose denominator is not zero.

    Args:
        numerator, denominator: [L], finite.
        reason: why the metric is null when every denominator is zero.
    """
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    used = bottom > 0
    top, bottom = top[used], bottom[used]
    n = len(top)
    if n == 0:
        return unmeasured(reason)
    return {"mean": float(top.sum() / bottom.sum()), "ci95": ratio_interval(top, bottom), "n": n}


def mean(values: ArrayLike, reason: str) -> Metric:
    """Mean over lanes [L], bootstrapped; values that are not finite do not count."""
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    return ratio(array, np.ones(len(array)), reason)


class _Columns:
    """Rows as columns: nan or None where a row has no value."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def numbers(self, name: str, otherwise: Doubles | float = np.nan) -> Doubles:
        """float64 [L]; ``otherwise``, NaN unless given, where there is none."""
        values = (row.get(name) for row in self._rows)
        found = np.array([np.nan if value is None else value for value in values], np.float64)
        return np.where(np.isnan(found), otherwise, found)

    def flags(self, name: str) -> NDArray[np.bool_]:
        """bool [L]."""
        return np.array([bool(row.get(name)) for row in self._rows], bool)

    def missing(self, name: str) -> bool:
        """Whether some row that was run keeps no such count."""
        return any(row.get(name) is None for row in self._rows)


def metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """All metrics of `DESCRIPTIONS`, in its order.

    Args:
        rows: from `lane_rows`, of one cell: lanes that differ in their episode only. A row whose
            ``status`` is ``failed`` (it could not be run) counts as a failure, and for nothing else.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("metrics need at least one row")
    everyone = _Columns(rows)
    ran = [row for row in rows if row.get("status", "done") == "done"]
    if not ran:
        nothing = {name: unmeasured("no lane could be run") for name in DESCRIPTIONS}
        return nothing | {"success_rate": share(everyone.flags("success"))}
    lanes = _Columns(ran)
    agents = lanes.numbers("agents")
    agent_s = lanes.numbers("duration_s") * agents
    counted_agents = lanes.numbers("agents_counted", agents)  # rows without failures have no such column
    no_time, unfinished = "no time was simulated", "no lane finished"
    found: dict[str, Metric] = {
        "success_rate": share(everyone.flags("success")),
        "agent_success_rate": mean(lanes.numbers("agents_at_goal") / counted_agents, "no lanes"),
        "collision_free_rate": share(lanes.flags("collision_free")),
        "collisions_per_agent_hour": ratio(lanes.numbers("collisions"), agent_s / 3600, no_time),
        "obstacle_contacts_per_agent_hour": ratio(lanes.numbers("obstacle_contacts"), agent_s / 3600, no_time),
        "min_separation_m": mean(
            lanes.numbers("min_separation_m"), "there is a single agent, so there are no pairs"
        ),
        "makespan_s": mean(lanes.numbers("makespan_s"), unfinished),
        "flowtime_s": mean(lanes.numbers("flowtime_s"), unfinished),
        "speed_score": mean(lanes.numbers("speed_score"), "no lane has a way to go"),
        "path_length_ratio": mean(lanes.numbers("path_length_ratio"), unfinished),
        "flowtime_ratio": mean(lanes.numbers("flowtime_ratio"), unfinished),
        "smoothness_m": mean(lanes.numbers("smoothness_m"), no_time),
        "adherence": mean(lanes.numbers("adherence"), "the map has no motion pattern"),
    }
    separation = lanes.numbers("min_separation_m")
    if found["min_separation_m"]["n"]:
        found["min_separation_m"]["min"] = float(np.nanmin(separation))

    def counted(name: str, top: str, bottom: str | None, why: str, more: Doubles | float = 0.0) -> None:
        """``top`` over ``bottom`` (or agent-seconds) plus ``more``, null where a counter was not kept."""
        for counter in (top, bottom):
            if counter is not None and lanes.missing(counter):
                found[name] = unmeasured(f"the protocol keeps no count of {counter.replace('_', ' ')}")
                return
        whole = agent_s if bottom is None else lanes.numbers(bottom)
        found[name] = ratio(lanes.numbers(top), whole + more, why)

    counted("bits_per_agent_s", "bits", None, no_time)
    counted("packets_per_agent_s", "packets", None, no_time)
    if lanes.missing("silent_rounds") or lanes.missing("speaking_rounds"):
        found["silent_fraction"] = unmeasured("the protocol keeps no count of silent rounds")
    else:
        silent = lanes.numbers("silent_rounds")
        found["silent_fraction"] = ratio(silent, silent + lanes.numbers("speaking_rounds"), "no round was run")
    # Rows without such links, and those of earlier versions, have none.
    others = sum((np.nan_to_num(lanes.numbers(name)) for name in BESIDE_OFFERED), 0.0 * agents)
    counted("packet_error_rate", "lost", "decisions", "no packet had a receiver", more=others)
    counted("age_of_information_s", "age_sum", "age_count", "no agent ever heard of a peer")
    counted("rounds_per_commit", "commit_rounds", "commits", "no plan was committed")
    still = "no agent has a way to go, or the rows are of earlier versions"
    found["reaction_s"] = mean(lanes.numbers("reaction_s"), still)
    wired = lanes.numbers("backhaul_bits")
    hubs_s = np.where(np.isnan(wired), 0.0, agent_s)
    found["backhaul_bits_per_agent_s"] = ratio(np.nan_to_num(wired), hubs_s, "the architecture has no hubs")
    counted("grant_ratio", "grants_given", "grants_asked", "no grant was asked for")
    if lanes.missing("brakes"):
        found["brake_activations"] = unmeasured("the protocol has no safety monitor")
    else:
        found["brake_activations"] = mean(lanes.numbers("brakes"), "no lanes")
    counted("intent_min_ade_m", "belief_ade_sum", "belief_count", "no belief was formed")
    counted("intent_min_fde_m", "belief_fde_sum", "belief_count", "no belief was formed")
    counted("intent_coverage90", "belief_cover_sum", "belief_count", "no belief was formed")
    served = lanes.numbers("tasks_done")
    hours = np.where(np.isnan(served), 0.0, agent_s / 3600)
    found["tasks_per_agent_hour"] = ratio(np.nan_to_num(served), hours, "the scenario's goals do not follow each other")
    best = np.nan_to_num(lanes.numbers("coverage_best"))
    collected = np.nan_to_num(lanes.numbers("coverage_collected"))
    found["coverage_value"] = ratio(collected, best, "the scenario has no sites to cover")
    for name in ("formation_error_m", "formation_end_error_m"):
        found[name] = mean(lanes.numbers(name), "the scenario has no formation to keep")
    return {name: found[name] for name in DESCRIPTIONS}


def speed_scores(rows: Sequence[Row]) -> list[float]:
    """Speed scores to be ranked by: 0 for what failed or could not be run; rows without a score are left out.

    Those are of lanes whose trips have no length, because goals changed on the way.
    """
    scores = (0.0 if row.get("status") == "failed" else row.get("speed_score") for row in rows)
    return [float(score) for score in scores if score is not None]


def timing(log: RunLog) -> dict[str, float | None]:
    """Wall-clock facts: not part of the digest, never equal twice."""
    low, high = np.percentile(log.round_ms, [50, 95]) if len(log.round_ms) else (None, None)
    return {
        "wall_s": float(log.wall_s),
        "sim_s": float(log.duration_s.sum()),
        "network_s": None if log.network_s is None else float(log.network_s),
        "round_ms_p50": None if low is None else float(low),
        "round_ms_p95": None if high is None else float(high),
    }


def radio(log: RunLog) -> dict[str, Any] | None:
    """What became of all lanes' packets, packet × receiver.

    Returns:
        Counts with ``offered + duplicated + relayed + injected = delivered + lost + in_flight``; relayed, injected
        and undetected are there if a link may add to them. ``lost`` by reason, and ``lost_by_link`` by reason for
        each link of the specification; ``graph_…``, means over lanes, where a link parts agents. None if the run
        kept no such books.
    """
    if log.decisions is None or "delivered" not in log.radio:
        return None
    sums = {name: count.sum().item() for name, count in log.radio.items()}
    return {
        "offered": int(log.decisions.sum()),
        **{name: sums[name] for name in KEPT if name in sums},
        "lost": {name.removeprefix("lost_"): n for name, n in sums.items() if name.startswith("lost_")},
        "lost_by_link": log.link_losses,
        **{name: float(np.nanmean(values)) for name, values in log.graph.items() if np.isfinite(values).any()},
    }


def lane_rows(log: RunLog) -> list[dict[str, Any]]:
    """One row per lane: outcome, quality, counters and digest, as written to ``episodes.parquet``."""
    finished = log.finish_tick >= 0
    quality: dict[str, Doubles] = {
        "makespan_s": np.where(finished, log.duration_s, np.nan),
        "flowtime_s": _flowtime(log),
        "path_length_ratio": _path_length_ratio(log),
        "min_separation_m": np.asarray(log.min_pair, np.float64),
        "min_separation_at_ticks_m": log.closest_at_ticks,
        "smoothness_m": log.smoothness,
        "reaction_s": log.reaction_s,
        "adherence": np.full(log.lanes, np.nan) if log.adherence is None else log.adherence,
        **_against_trips(log),
    }
    rows = []
    for lane in range(log.lanes):
        row: dict[str, Any] = {
            "episode": int(log.episodes[lane]),
            "success": bool(log.success[lane]),
            "collision_free": bool(log.collision_free[lane]),
            "agents_at_goal": int((log.at_goal & log.counted)[lane].sum()),
            "agents": log.agents,
            "duration_s": float(log.duration_s[lane]),
            "collisions": int(log.collisions[lane].sum()),
            "obstacle_contacts": int(log.obstacle_hits[lane].sum()),
            "path_m": float(log.path_length[lane].sum()),
            "separation_m": float(log.separation),
        }
        for name, values in quality.items():
            row[name] = float(values[lane]) if np.isfinite(values[lane]) else None
        for counter in COUNTERS:
            kept = getattr(log, counter)
            row[counter] = None if kept is None else kept[lane].sum().item()
        row |= {name: kept[lane].item() for name, kept in log.radio.items()}
        row |= {name: kept[lane].item() if np.isfinite(kept[lane]) else None for name, kept in log.outcome.items()}
        row |= {name: kept[lane].item() if np.isfinite(kept[lane]) else None for name, kept in log.graph.items()}
        row["digest"] = log.lane_digest(lane).hex()
        rows.append(row)
    return rows


def _flowtime(log: RunLog) -> Doubles:
    """float64 [L]: summed arrival times, s; nan for a lane that did not finish."""
    arrival = log.arrival_tick
    whole = (log.finish_tick >= 0) & ((arrival >= 0) | ~log.counted).all(axis=1)
    return np.where(whole, (arrival * log.counted).sum(axis=1) * float(log.dt), np.nan)


def _path_length_ratio(log: RunLog) -> Doubles:
    """float64 [L]; agents that start on their goal have no ratio, lanes that did not finish no quality."""
    counts = (log.shortest > log.goal_tolerance) & np.isfinite(log.shortest) & (log.finish_tick >= 0)[:, None]
    counts &= log.counted
    ratios = np.divide(log.path_length, log.shortest, out=np.zeros_like(log.path_length), where=counts)
    number = counts.sum(axis=1)
    return np.asarray(np.divide(ratios.sum(axis=1), number, out=np.full(log.lanes, np.nan), where=number > 0))


def _against_trips(log: RunLog) -> dict[str, Doubles]:
    """Times against the fleet's trips: each agent alone on its shortest way (less the goal tolerance) at full speed.

    ``longest_trip_s``, ``trips_s`` (their sum), ``flowtime_ratio`` (finished lanes) and ``speed_score``: the
    longest trip over the makespan, 0 for a lane that did not succeed. In the open nobody can beat a trip; around
    obstacles the shortest way follows the planning grid, up to 8 % too long, and a score may exceed 1 by that.
    """
    none = np.full(log.lanes, np.nan)
    if log.v_max is None:
        return dict.fromkeys(("longest_trip_s", "trips_s", "flowtime_ratio", "speed_score"), none)
    trips = np.maximum(log.shortest - log.goal_tolerance, 0.0) / log.v_max
    trips = np.where(np.isfinite(trips), trips, np.nan)
    trips = np.where(log.counted, trips, 0.0)
    longest, total = trips.max(axis=1), trips.sum(axis=1)
    score = np.where(log.success, longest / np.maximum(log.duration_s, 1e-9), 0.0)
    return {
        "longest_trip_s": longest,
        "trips_s": total,
        "flowtime_ratio": np.divide(_flowtime(log), total, out=none.copy(), where=total > 0),
        "speed_score": np.where(longest > 0, score, np.nan),
    }
