"""Write the tables of README.md and of pages in docs from the committed rows: no number there is typed in by hand.

    python experiments/published_tables.py            rewrite the pages
    python experiments/published_tables.py --check    exit 1 if a page does not say what the rows say

A table stands between ``<!-- results:NAME -->`` and ``<!-- end -->``. Figures of other people's work that stand
beside ours are constants of this file, with their sources.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from agentsc.experiment.metrics import metrics
from agentsc.experiment.statistics import interquartile_mean, stratified
from agentsc.experiment.views import brief, judged

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PAGES = (
    "README.md", "docs/architectures.md", "docs/baselines.md", "docs/findings.md", "docs/priors.md", "docs/scenes.md",
    "docs/threats.md",
)  # fmt: skip
STEP_S = 5 / 64
MESSAGING = ("intent", "negotiated", "full-trajectory", "mader", "rmader", "prioritised", "orca")
LONG_CHECK = "rmader:delay_check_s=0.3125"
LOSSES, DELAYS = (0.0, 0.2, 0.5, 0.8), (0, 156, 312)

# Success; mean length, m. MMD: Shaoul et al., ICLR 2025 (xECBS). Akule: its own benchmark report. Both plan centrally.
PUBLISHED_WEAVE = {
    "MMD-xECBS (central)": {10: ("512/512", "1.811"), 20: ("256/256", "1.842"), 28: ("512/512", "1.889")},
    "Akule (central)": {10: ("512/512", "1.811"), 20: ("256/256", "1.910"), 28: ("512/512", "1.949")},
}


class Rows(list[dict[str, Any]]):
    """Rows of a suite. figures: their metrics, worked out once, as intervals take their time."""

    @cached_property
    def figures(self) -> dict[str, Any]:
        return metrics(self)


@cache
def _frame(suite: str) -> pl.DataFrame:
    return pl.read_parquet(RESULTS / suite / "rows.parquet")


def rows_of(suite: str, **wanted: Any) -> Rows:
    """Rows of a suite whose columns have these values."""
    frame = _frame(suite)
    for column, value in wanted.items():
        frame = frame.filter(pl.col(column) == value)
    return Rows(frame.to_dicts())


def mean(rows: Rows, name: str, factor: float = 1.0) -> str:
    """A metric's mean, or a dash."""
    found = rows.figures[name]["mean"] if rows else None
    return "–" if found is None else brief(found * factor)


def success(rows: Rows) -> str:
    """The rate with its interval."""
    found = rows.figures["success_rate"]
    low, high = found["ci95"]
    return f"{brief(found['mean'])} [{brief(low)}, {brief(high)}]"


def table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    head = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return "\n".join([*head, *("| " + " | ".join(line) + " |" for line in lines)])


SHOWN = (("success_rate", 1.0), ("collision_free_rate", 1.0), ("makespan_s", 1 / STEP_S), ("bits_per_agent_s", 1.0))


def _along(scenario: str, axis: str, values: Sequence[float], protocols: Sequence[str], **fixed: float) -> str:
    """Metrics of protocols along an axis of loss-delay, values of one metric in one field."""
    lines = []
    for protocol in protocols:
        same = {"scenario": scenario, "protocol": protocol, **fixed}
        cells = [rows_of("loss-delay", **same, **{axis: value}) for value in values]
        fields = [" / ".join(mean(cell, name, factor) for cell in cells) for name, factor in SHOWN]
        lines.append([f"`{protocol}`", *fields])
    return table(["protocol", "success", "collision-free", "makespan, steps", "bit/s per agent"], lines)


def weave_loss() -> str:
    """Weave with ten agents against packet loss."""
    return _along("weave", "loss", LOSSES, (*MESSAGING, "silent"), delay_ms=0)


def weave_delay() -> str:
    """Weave with ten agents against delay."""
    return _along("weave", "delay_ms", DELAYS, (*MESSAGING, LONG_CHECK), loss=0)


def highways_loss() -> str:
    """Highways with ten agents against packet loss."""
    return _along("highways", "loss", LOSSES, (*MESSAGING, "silent"), delay_ms=0)


def highways_delay() -> str:
    """Highways with ten agents against delay."""
    return _along("highways", "delay_ms", DELAYS, (*MESSAGING, LONG_CHECK), loss=0)


LARGE = (*(("weave", n) for n in (10, 20, 28)), *(("circle", n) for n in (10, 20, 30)))
LIMITS = ("intent", "orca", "mader", LONG_CHECK)


def _limits(axis: str, values: Sequence[float], **fixed: float) -> str:
    """Every fleet of the suite limits along one axis, values of one metric in one field."""
    lines = []
    for scenario, agents in LARGE:
        for protocol in LIMITS:
            same = {"scenario": scenario, "agents": agents, "protocol": protocol, **fixed}
            cells = [rows_of("limits", **same, **{axis: value}) for value in values]
            fields = [" / ".join(mean(cell, name, factor) for cell in cells) for name, factor in SHOWN]
            lines.append([scenario, str(agents), f"`{protocol}`", *fields])
    titles = ["scene", "agents", "protocol", "success", "collision-free", "makespan, steps"]
    return table([*titles, "bit/s per agent"], lines)


def limits_loss() -> str:
    """Up to thirty agents against packet loss."""
    return _limits("loss", LOSSES, delay_ms=0)


def limits_delay() -> str:
    """Up to thirty agents against delay."""
    return _limits("delay_ms", (0, 78, 156, 312), loss=0)


def circle() -> str:
    """RMADER's circle: ten agents, speed limits, delays and losses; travel time is a mean over agents and episodes."""
    stagger_s = 0.25 * 45 / 10  # how long after the first agent the ten set off, on average
    lines = []
    for v_max in (10, 5):
        for protocol in ("negotiated", "mader:check_rounds=0", "rmader:delay_check_s=0.3", "orca"):
            same = {"v_max": v_max, "protocol": protocol}
            along = [{"delay_ms": delay, "loss": 0.0} for delay in (0, 50, 100, 200, 300)]
            cells = [rows_of("rmader-circle", **same, **at) for at in along]
            cells += [rows_of("rmader-circle", **same, delay_ms=0, loss=loss) for loss in (0.2, 0.5)]
            line = [str(v_max), f"`{protocol}`"]
            for part in (cells[:5], cells[5:]):
                for rate in ("collision_free_rate", "success_rate"):
                    line.append(" / ".join(mean(cell, rate) for cell in part))
                won = [[row["flowtime_s"] / row["agents"] for row in cell if row["success"]] for cell in part]
                line.append(" / ".join(f"{np.mean(ways) - stagger_s:.2f}" if ways else "–" for ways in won))
            lines.append(line)
    late, lost = "at 0 / 50 / 100 / 200 / 300 ms", "at a loss of 0.2 / 0.5"
    titles = ["speed limit, m/s", "protocol", f"collision-free {late}", "success", "travel time, s"]
    return table([*titles, f"collision-free {lost}", "success", "travel time, s"], lines)


def architectures() -> str:
    """Where machines run: success, makespan, reaction and bits over fleets and losses."""
    lines = []
    for suite in ("architectures", "architectures-large"):
        for agents in sorted({row["agents"] for row in rows_of(suite)}):
            for where in dict.fromkeys(row["architecture"] for row in rows_of(suite, agents=agents, protocol="intent")):
                same = {"agents": agents, "architecture": where, "protocol": "intent"}
                cells = [rows_of(suite, **same, loss=loss) for loss in (0.0, 0.2, 0.5)]
                names = (
                    "success_rate", "collision_free_rate", "makespan_s", "reaction_s", "bits_per_agent_s",
                    "backhaul_bits_per_agent_s",
                )  # fmt: skip
                fields = [" / ".join(mean(cell, name) for cell in cells) for name in names]
                lines.append([str(agents), f"`{where}`", *fields])
    titles = ["agents", "architecture", "success", "collision-free", "makespan, s", "reaction, s"]
    return table([*titles, "bit/s per agent", "of wire"], lines)


def pattern() -> str:
    """Scenes with a motion pattern, every size that the literature reports."""
    lines = []
    for scenario in ("highways", "conveyor", "drop-region"):
        for agents in (3, 6, 9, 12, 15, 20):
            for protocol in ("intent", "negotiated", "orca", "central-search"):
                rows = rows_of("mmd-scenes", scenario=scenario, agents=agents, protocol=protocol)
                won = [row for row in rows if row["success"]]
                strict = sum(judged(row, 5.0, at_ticks=True)["success"] for row in rows)
                length = brief(float(np.mean([row["path_m"] / row["agents"] for row in won]))) if won else "–"
                lines.append([
                    scenario, str(agents), f"`{protocol}`", f"{strict}/{len(rows)}", f"{len(won)}/{len(rows)}",
                    mean(rows, "makespan_s", 1 / STEP_S), length, mean(rows, "adherence"),
                    mean(rows, "bits_per_agent_s"),
                ])  # fmt: skip
    titles = ["scene", "agents", "protocol", "64 steps", "256 steps", "makespan, steps", "length, m", "adherence"]
    return table([*titles, "bit/s per agent"], lines)


def contacts() -> str:
    """Over the whole grid of loss-delay: episodes with a contact, and success."""
    lines = []
    for protocol in (*MESSAGING, LONG_CHECK):
        rows = rows_of("loss-delay", protocol=protocol)
        touched = sum(not row["collision_free"] for row in rows)
        lines.append([f"`{protocol}`", f"{touched} of {len(rows)}", success(rows), mean(rows, "bits_per_agent_s")])
    return table(["protocol", "episodes with a contact", "success [95 %]", "bit/s per agent"], lines)


def mmd_weave() -> str:
    """Weave by the published rule, beside published figures."""
    lines = []
    agents = (10, 20, 28)
    for protocol in ("intent", "negotiated", "full-trajectory", "rmader", "orca", "central-search"):
        fields = []
        for count in agents:
            rows = rows_of("mmd-scenes", scenario="weave", agents=count, protocol=protocol)
            strict = [judged(row, 5.0, at_ticks=True) for row in rows]
            won = [row for row in rows if row["success"]]
            length = brief(float(np.mean([row["path_m"] / row["agents"] for row in won]))) if won else "–"
            fields += [
                f"{sum(row['success'] for row in strict)}/{len(rows)}", f"{len(won)}/{len(rows)}",
                mean(rows, "makespan_s", 1 / STEP_S), length,
            ]  # fmt: skip
        lines.append([f"`{protocol}`", *fields])
    for name, published in PUBLISHED_WEAVE.items():
        lines.append([name, *(x for count in agents for x in (published[count][0], "–", "–", published[count][1]))])
    titles = [f"{what}, N={count}" for count in agents for what in ("64 steps", "256 steps", "makespan", "length, m")]
    return table(["planner", *titles], lines)


def mmd_scenes() -> str:
    """Success within 256 steps on every scene."""
    protocols = (*MESSAGING, "silent", "central-search")
    keys = _frame("mmd-scenes").select("scenario", "agents").unique(maintain_order=True).rows()
    lines = []
    for scenario, agents in sorted(keys, key=lambda key: [k[0] for k in keys].index(key[0])):
        cells = [rows_of("mmd-scenes", scenario=scenario, agents=agents, protocol=name) for name in protocols]
        lines.append([scenario, str(agents), *(mean(cell, "success_rate") for cell in cells)])
    return table(["scene", "agents", *(f"`{name}`" for name in protocols)], lines)


def bits() -> str:
    """What success costs, every setting over all scenes, fleets and losses."""
    keys = _frame("bits-vs-success").select("protocol", "variant").unique(maintain_order=True).rows()
    lines = []
    for protocol, variant in keys:
        rows = rows_of("bits-vs-success", protocol=protocol, variant=variant)
        cells: dict[str, list[float]] = {}
        for row in rows:
            cells.setdefault(row["cell"], []).append(float(row.get("speed_score") or 0.0))
        score, (low, high) = stratified(list(cells.values()), interquartile_mean)
        span = "" if low is None or high is None else f" [{brief(low)}, {brief(high)}]"
        lines.append([
            f"`{protocol}`", variant, mean(rows, "success_rate"), mean(rows, "collision_free_rate"),
            mean(rows, "bits_per_agent_s"), brief(score) + span, str(len(rows)),
        ])  # fmt: skip
    return table(["protocol", "setting", "success", "collision-free", "bit/s per agent", "IQM speed score", "n"], lines)


def price() -> str:
    """Bits and CPU time of others as multiples of intent's, cell by cell over all suites: least and greatest."""
    suites = ("loss-delay", "mmd-scenes", "bits-vs-success")
    frame = pl.concat([_frame(suite) for suite in suites], how="diagonal_relaxed")
    # A cell without its protocol; plans made at other settings of the dials are left out.
    same = ["scenario", "agents", "loss", "delay_ms", "link"]
    frame = frame.filter(pl.col("variant").is_null() | (pl.col("variant") == "as it is"))
    cells = frame.group_by([*same, "protocol", "variant"], maintain_order=True).agg(
        bits=pl.col("bits").sum() / (pl.col("duration_s") * pl.col("agents")).sum(), cpu=pl.col("time_cpu_s").sum()
    )
    keys = [*same, "variant"]
    ours = cells.filter(pl.col("protocol") == "intent").drop("protocol")
    lines = []
    for protocol in (*MESSAGING[1:], LONG_CHECK):
        theirs = cells.filter(pl.col("protocol") == protocol).join(ours, on=keys, suffix="_ours", nulls_equal=True)
        ratios = [theirs[name] / theirs[f"{name}_ours"] for name in ("bits", "cpu")]
        spans = [f"{brief(float(r.min()))} to {brief(float(r.max()))}" for r in ratios]  # type: ignore[arg-type]
        lines.append([f"`{protocol}`", *spans, str(len(theirs))])
    return table(["protocol", "bits over intent's", "CPU time over intent's", "cells"], lines)


def priors() -> str:
    """Each shipped prior as it is meant to be used, beside fifty steps of the region prior."""
    chosen = [("edge", 1), ("edge", 2), ("region", 2), ("region", 5), ("region", 50), ("cloud", 5), ("cloud", 50)]
    lines = []
    for prior, steps in chosen:
        same = {"solver": "ddim", "precision": "float32", "method": "plain"}
        for row in rows_of("trajectory-prior", prior=prior, steps=steps, **same):
            free = f"{row['collision_free']:.3f} [{row['collision_free_low']:.3f}, {row['collision_free_high']:.3f}]"
            lines.append([
                f"`{prior}`", f"{row['calls']:g}", f"{row['core_ms']:.3f}", free, f"{row['length_ratio']:.3f}",
                f"{row['min_ade']:.4f}", f"{row['energy_score']:.3f}",
            ])  # fmt: skip
    titles = ["prior", "network calls", "core-ms per plan", "collision-free [95 %]", "length / expert"]
    return table([*titles, "minADE / reach", "energy score"], lines)


def channel() -> str:
    """A shared channel that gets slower, over all losses and delays."""
    lines = []
    for protocol in ("intent", "negotiated", "full-trajectory"):
        for kbps in (250, 60, 20):
            rows = rows_of("links", protocol=protocol, channel_kbps=kbps, trouble="none")
            touched = sum(not row["collision_free"] for row in rows)
            lines.append([
                f"`{protocol}`", f"{kbps}", f"{touched} of {len(rows)}", success(rows), mean(rows, "packet_error_rate"),
                mean(rows, "age_of_information_s"), mean(rows, "bits_per_agent_s"),
            ])  # fmt: skip
    titles = ["protocol", "channel, kbit/s", "episodes with a contact", "success [95 %]", "packets lost"]
    return table([*titles, "age of information, s", "bit/s per agent"], lines)


def trouble() -> str:
    """Radios that misbehave in other ways."""
    lines = []
    for name in dict.fromkeys(row["trouble"] for row in rows_of("links", protocol="negotiated", delay_ms=0, loss=0.0)):
        line = [name]
        for protocol in ("intent", "negotiated", "full-trajectory"):
            rows = rows_of("links", protocol=protocol, trouble=name, channel_kbps=250, loss=0.0, delay_ms=0)
            line += [mean(rows, "collision_free_rate"), mean(rows, "success_rate"), mean(rows, "makespan_s")]
        lines.append(line)
    every = [f"{what}, `{protocol}`" for protocol in ("intent", "negotiated", "full-trajectory")
             for what in ("collision-free", "success", "makespan, s")]  # fmt: skip
    return table(["what the radio does", *every], lines)


def threats() -> str:
    """Every attack, without and with tags, at two losses."""
    lines = []
    for protocol in ("intent", "negotiated"):
        for attack in dict.fromkeys(row["attack"] for row in rows_of("threats", protocol=protocol)):
            for tag in ("no tag", "32-bit tag"):
                same = {"protocol": protocol, "attack": attack, "tag": tag}
                cells = [rows_of("threats", **same, loss=loss) for loss in (0.0, 0.5)]
                names = ("collision_free_rate", "success_rate", "makespan_s")
                fields = [" / ".join(mean(rows, metric) for rows in cells) for metric in names]
                lines.append([f"`{protocol}`", attack, tag, *fields])
    return table(["protocol", "attack", "tags", "collision-free", "success", "makespan, s"], lines)


def worlds() -> str:
    """Scenarios with narrow places and tasks, by protocol."""
    lines = []
    rows = rows_of("worlds", surprise="none")
    for scenario, protocol in dict.fromkeys((row["scenario"], row["protocol"]) for row in rows):
        cell = rows_of("worlds", scenario=scenario, protocol=protocol, surprise="none")
        names = ("collision_free_rate", "makespan_s", "tasks_per_agent_hour", "coverage_value", "formation_error_m")
        lines.append([f"`{scenario}`", f"`{protocol}`", success(cell), *(mean(cell, name) for name in names)])
    titles = ["scenario", "protocol", "success", "collision-free", "makespan, s", "tasks per agent and hour"]
    return table([*titles, "value", "formation error, m"], lines)


def surprises() -> str:
    """One kind of surprise at a time."""
    lines = []
    for kind in dict.fromkeys(row["surprise"] for row in rows_of("worlds", scenario="surprise")):
        for protocol in ("intent", "negotiated", "orca"):
            cell = rows_of("worlds", scenario="surprise", surprise=kind, protocol=protocol)
            names = ("agent_success_rate", "collision_free_rate", "makespan_s")
            lines.append([kind, f"`{protocol}`", success(cell), *(mean(cell, name) for name in names)])
    return table(["surprise", "protocol", "success", "agents at goal", "collision-free", "makespan, s"], lines)


def late_boxes() -> str:
    """Around late boxes, told and not told."""
    lines = []
    for late in ("6 obstacles", "6 doors"):
        for sight in ("14 m", "4 m"):
            for protocol in ("intent", "negotiated"):
                for told in ("told", "not told"):
                    cell = rows_of("late-boxes", late=late, sight=sight, protocol=protocol, told=told)
                    shown = ("agent_success_rate", "collision_free_rate", "makespan_s", "bits_per_agent_s")
                    numbers = [success(cell), *(mean(cell, name) for name in shown)]
                    lines.append([late, sight, f"`{protocol}`", told, *numbers])
    titles = ["late", "seen within", "protocol", "boxes are", "success", "agents at goal", "collision-free"]
    return table([*titles, "makespan, s", "bit/s per agent"], lines)


TABLES: dict[str, Callable[[], str]] = {
    "channel": channel,
    "trouble": trouble,
    "threats": threats,
    "weave-loss": weave_loss,
    "weave-delay": weave_delay,
    "highways-loss": highways_loss,
    "highways-delay": highways_delay,
    "limits-loss": limits_loss,
    "limits-delay": limits_delay,
    "circle": circle,
    "architectures": architectures,
    "pattern": pattern,
    "contacts": contacts,
    "mmd-weave": mmd_weave,
    "mmd-scenes": mmd_scenes,
    "bits": bits,
    "price": price,
    "priors": priors,
    "worlds": worlds,
    "surprises": surprises,
    "late-boxes": late_boxes,
}


def rewritten(page: str) -> str:
    """A page with every table made anew."""

    def fill(match: re.Match[str]) -> str:
        return f"<!-- results:{match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- results:([a-z-]+) -->.*?<!-- end -->", fill, page, flags=re.DOTALL)


def main() -> int:
    """Rewrite, or check."""
    differ = False
    for name in PAGES:
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        new = rewritten(old)
        differ |= new != old
        if "--check" not in sys.argv:
            path.write_text(new, encoding="utf-8")
    return int(differ and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
