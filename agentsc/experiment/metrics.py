"""Every metric of a run, with a 95 % interval over lanes.

Shares of lanes carry a Wilson score interval (Wilson, JASA 1927); everything else a percentile
bootstrap over lanes (Efron and Tibshirani, 1993), which keeps the correlation of agents inside a
lane. The bootstrap's draws are keyed, so equal runs print equal intervals. With a single lane
the bootstrap knows nothing of the spread and the interval is ``[null, null]``.

A metric is ``{"mean", "ci95": [lo, hi], "n"}`` where ``n`` counts the lanes behind it. One that
cannot be measured has ``mean: null``, ``n: 0`` and a ``reason``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agentsc.experiment.log import RunLog
from envs.keyed import stream_id, uniform

Z95 = 1.959963984540054
RESAMPLES = 2000
Metric = dict[str, Any]

DESCRIPTIONS: dict[str, str] = {
    "success_rate": "everyone arrived in time, nothing touched",
    "agent_success_rate": "agents at their goal when the lane ended",
    "collision_free_rate": "no contact with agents or obstacles",
    "collisions_per_agent_hour": "onsets of contact with another agent",
    "obstacle_contacts_per_agent_hour": "onsets of contact with an obstacle",
    "min_separation_m": "closest centres, in continuous time",
    "makespan_s": "until the last arrival, finished lanes",
    "flowtime_s": "sum of arrival times, finished lanes",
    "path_length_ratio": "travelled over shortest, finished lanes",
    "bits_per_agent_s": "offered to the radio, headers included",
    "packets_per_agent_s": "offered to the radio",
    "silent_fraction": "agent-rounds without a packet",
    "packet_error_rate": "packet × receiver pairs lost",
    "age_of_information_s": "of the newest packet held of a peer",
    "rounds_per_commit": "from proposal to commit",
    "grant_ratio": "grants given over grants asked",
    "brake_activations": "per lane; should never fire",
    "intent_min_ade_m": "best sample of a belief, on average",
    "intent_min_fde_m": "best sample of a belief, at its end",
    "intent_coverage90": "truths in a belief's 90 % region",
}
"""Name → what it is in a few words; the definitions are in ``docs/results.md``."""


COUNTERS = (
    *("packets", "bits", "silent_rounds", "speaking_rounds", "decisions", "lost", "age_sum", "age_count"),
    *("proposals", "commits", "commit_rounds", "grants_asked", "grants_given", "brakes"),
    *("belief_ade_sum", "belief_fde_sum", "belief_cover_sum", "belief_count"),
)
"""Per-lane counters of `RunLog`, as columns of ``episodes.parquet``."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share; ``n`` must be at least 1."""
    share = successes / n
    centre = share + Z95**2 / (2 * n)
    spread = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


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
    return {"mean": float(top.sum() / bottom.sum()), "ci95": _bootstrap(top, bottom), "n": n}


def mean(values: ArrayLike, reason: str) -> Metric:
    """Mean over lanes [L], bootstrapped; values that are not finite do not count."""
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    return ratio(array, np.ones(len(array)), reason)


def _bootstrap(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> list[float | None]:
    n = len(top)
    if n < 2:
        return [None, None]
    draws = uniform(stream_id("bootstrap"), np.arange(RESAMPLES)[:, None], np.arange(n)[None, :])
    lanes = (draws * n).astype(np.int64)
    low, high = np.percentile(top[lanes].sum(axis=1) / bottom[lanes].sum(axis=1), [2.5, 97.5])
    return [float(low), float(high)]


def metrics(log: RunLog) -> dict[str, Metric]:
    """All metrics of `DESCRIPTIONS`, in its order."""
    agents = log.agents
    agent_s = log.duration_s * agents
    finished = log.finish_tick >= 0
    no_time = "no time was simulated"
    found: dict[str, Metric] = {
        "success_rate": share(log.success),
        "agent_success_rate": mean(log.at_goal.mean(axis=1), "no lanes"),
        "collision_free_rate": share(log.collision_free),
        "collisions_per_agent_hour": ratio(log.collisions.sum(axis=1), agent_s / 3600, no_time),
        "obstacle_contacts_per_agent_hour": ratio(log.obstacle_hits.sum(axis=1), agent_s / 3600, no_time),
        "min_separation_m": mean(log.min_pair, "there is a single agent, so there are no pairs"),
        "makespan_s": mean(np.where(finished, log.duration_s, np.nan), "no lane finished"),
        "flowtime_s": mean(_flowtime(log), "no lane finished"),
        "path_length_ratio": _path_length_ratio(log),
    }
    if found["min_separation_m"]["n"]:
        found["min_separation_m"]["min"] = float(log.min_pair.min())

    def counted(name: str, top: str, bottom: str | None, why: str) -> None:
        """``top`` over ``bottom`` (or over agent-seconds), null where a counter was not kept."""
        over, under = getattr(log, top), agent_s if bottom is None else getattr(log, bottom)
        if over is None or under is None:
            missing = top if over is None else bottom
            found[name] = unmeasured(f"the protocol keeps no count of {str(missing).replace('_', ' ')}")
        else:
            found[name] = ratio(over.reshape(log.lanes, -1).sum(axis=1), under, why)

    counted("bits_per_agent_s", "bits", None, no_time)
    counted("packets_per_agent_s", "packets", None, no_time)
    if log.silent_rounds is None or log.speaking_rounds is None:
        found["silent_fraction"] = unmeasured("the protocol keeps no count of silent rounds")
    else:
        rounds = log.silent_rounds + log.speaking_rounds
        found["silent_fraction"] = ratio(log.silent_rounds, rounds, "no round was run")
    counted("packet_error_rate", "lost", "decisions", "no packet had a receiver")
    counted("age_of_information_s", "age_sum", "age_count", "no agent ever heard of a peer")
    counted("rounds_per_commit", "commit_rounds", "commits", "no plan was committed")
    counted("grant_ratio", "grants_given", "grants_asked", "no grant was asked for")
    if log.brakes is None:
        found["brake_activations"] = unmeasured("the protocol has no safety monitor")
    else:
        found["brake_activations"] = mean(log.brakes, "no lanes")
    counted("intent_min_ade_m", "belief_ade_sum", "belief_count", "no belief was formed")
    counted("intent_min_fde_m", "belief_fde_sum", "belief_count", "no belief was formed")
    counted("intent_coverage90", "belief_cover_sum", "belief_count", "no belief was formed")
    return {name: found[name] for name in DESCRIPTIONS}


def _flowtime(log: RunLog) -> NDArray[np.float64]:
    """float64 [L]: summed arrival times, s; nan for a lane that did not finish."""
    arrival = log.arrival_tick
    whole = (log.finish_tick >= 0) & (arrival >= 0).all(axis=1)
    return np.where(whole, arrival.sum(axis=1) * float(log.dt), np.nan)


def _path_length_ratio(log: RunLog) -> Metric:
    """Agents that start on their goal have no ratio; lanes that did not finish have no quality."""
    counts = (log.shortest > log.goal_tolerance) & np.isfinite(log.shortest) & (log.finish_tick >= 0)[:, None]
    ratios = np.divide(log.path_length, log.shortest, out=np.zeros_like(log.path_length), where=counts)
    number = counts.sum(axis=1)
    per_lane = np.divide(ratios.sum(axis=1), number, out=np.full(log.lanes, np.nan), where=number > 0)
    return mean(per_lane, "no lane finished")


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


def lane_rows(log: RunLog) -> list[dict[str, Any]]:
    """One row per lane: outcome, counters and digest, as written to ``episodes.parquet``."""
    flowtime = _flowtime(log)
    rows = []
    for lane in range(log.lanes):
        finished = log.finish_tick[lane] >= 0
        row: dict[str, Any] = {
            "episode": int(log.episodes[lane]),
            "success": bool(log.success[lane]),
            "collision_free": bool(log.collision_free[lane]),
            "agents_at_goal": int(log.at_goal[lane].sum()),
            "agents": log.agents,
            "duration_s": float(log.duration_s[lane]),
            "makespan_s": float(log.duration_s[lane]) if finished else None,
            "flowtime_s": float(flowtime[lane]) if np.isfinite(flowtime[lane]) else None,
            "min_separation_m": float(log.min_pair[lane]) if np.isfinite(log.min_pair[lane]) else None,
            "collisions": int(log.collisions[lane].sum()),
            "obstacle_contacts": int(log.obstacle_hits[lane].sum()),
            "path_m": float(log.path_length[lane].sum()),
            "digest": log.lane_digest(lane).hex(),
        }
        for counter in COUNTERS:
            values = getattr(log, counter)
            row[counter] = None if values is None else values[lane].sum().item()
        rows.append(row)
    return rows
