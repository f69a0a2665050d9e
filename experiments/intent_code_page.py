"""The page and the figure of `intent_code`, from its rows."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.experiment.statistics import mcnemar_p, ratio_interval, wilson

Rows = list[dict[str, str]]
LOSSES = ("0", "0.2", "0.5")
COLOURS = {"spline": "#0072B2", "spline 4 bit": "#56B4E9", "learned": "#D55E00"}


def read(path: Path) -> Rows:
    """Rows of a file; none where it is missing."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(rows: Rows, name: str) -> NDArray[np.float64]:
    """A column."""
    return np.array([float(row[name]) for row in rows])


def over_parts(rows: Rows, name: str) -> tuple[float, float, float]:
    """Mean over plans of a column, and its interval from resampling parts (maps or runs)."""
    plans = numbers(rows, "plans")
    top = plans * numbers(rows, name)
    low, high = ratio_interval(top, plans)
    return float(top.sum() / plans.sum()), float(low or 0.0), float(high or 0.0)


def rate_table(rows: Rows) -> tuple[str, dict[str, dict[str, list[tuple[float, ...]]]]]:
    """Markdown tables, and group → code → (bits, ADE, low, high, share) of every point."""
    lines: list[str] = []
    curves: dict[str, dict[str, list[tuple[float, ...]]]] = defaultdict(lambda: defaultdict(list))
    for group in dict.fromkeys(row["group"] for row in rows):
        mine = [row for row in rows if row["group"] == group]
        parts = len({row["part"] for row in mine})
        plans = int(numbers([r for r in mine if r["at"] == mine[0]["at"]], "plans").sum())
        lines += [
            f"### {group}: {plans:,} plans in {parts} parts", "",
            "| code | setting | bits | bits without a token | ADE [95 %] | share below half a radius | spelled |",
            "|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for code, at in dict.fromkeys((row["code"], row["at"]) for row in mine):
            point = [row for row in mine if (row["code"], row["at"]) == (code, at)]
            bits, alone, ade, share, spelled = (
                over_parts(point, name) for name in ("bits", "bits_alone", "ade", "share", "spelled")
            )
            curves[group][code].append((bits[0], *ade, share[0]))
            setting = at if code == "spline" else f"within {at} reaches"
            lines.append(
                f"| {code} | {setting} | {bits[0]:.1f} | {alone[0]:.1f} | {ade[0]:.4f} [{ade[1]:.4f}, {ade[2]:.4f}] "
                f"| {100 * share[0]:.1f} % [{100 * share[1]:.1f}, {100 * share[2]:.1f}] | {100 * spelled[0]:.1f} % |"
            )
        lines.append("")
    return "\n".join(lines), curves


def bits_at(curve: list[tuple[float, ...]], ade: float) -> float:
    """Bits at which a curve reaches an ADE, between its points on a logarithmic scale; NaN outside."""
    ordered = sorted((point[1], point[0]) for point in curve)
    errors, bits = np.log([e for e, _ in ordered]), np.array([b for _, b in ordered])
    return float(np.interp(np.log(ade), errors, bits, left=np.nan, right=np.nan))


def equal_distortion(curves: dict[str, dict[str, list[tuple[float, ...]]]]) -> str:
    """Bits of both codes at the distortions of the plain spline."""
    lines = ["| plans | ADE | spline, bits | learned, bits |", "|---|---|---|---|"]
    for group, codes in curves.items():
        for bits, ade, *_ in codes["spline"]:
            learned = bits_at(codes["learned"], ade)
            if np.isfinite(learned):
                lines.append(f"| {group} | {ade:.4f} | {bits:.0f} | {learned:.1f} |")
    return "\n".join(lines)


def run_table(rows: Rows) -> str:
    """Bits and success of each code, and ratios to the default, paired by episode."""
    lines = [
        "| scenario | loss | code | success [95 %] | collision-free | makespan, s | bits per agent-second [95 %] "
        "| against spline [95 %] | bits per packet |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    cells = dict.fromkeys((row["scenario"], row["agents"], row["loss"], row["code"]) for row in rows)
    for scenario, agents, loss, code in cells:
        mine, base = (
            [r for r in rows if (r["scenario"], r["loss"], r["code"]) == (scenario, loss, each)]
            for each in (code, "spline")
        )
        success, n = int(numbers(mine, "success").sum()), len(mine)
        low, high = wilson(success, n)
        bits, seconds = numbers(mine, "bits"), numbers(mine, "agent_s")
        rate = ratio_interval(bits, seconds)
        packet = bits.sum() / numbers(mine, "packets").sum()
        against = "" if code == "spline" else paired_ratio(mine, base)
        lines.append(
            f"| {scenario}, {agents} | {loss} | {code} | {success}/{n} [{low:.2f}, {high:.2f}] "
            f"| {int(numbers(mine, 'collision_free').sum())}/{n} | {numbers(mine, 'makespan_s').mean():.1f} "
            f"| {bits.sum() / seconds.sum():,.0f} [{rate[0]:,.0f}, {rate[1]:,.0f}] | {against} | {packet:.0f} |"
        )
    return "\n".join(lines)


def paired_ratio(mine: Rows, base: Rows) -> str:
    """Ratio of bits per agent-second, geometric mean over episodes, and its interval."""
    first, second = (numbers(rows, "bits") / numbers(rows, "agent_s") for rows in (mine, base))
    change = np.log(first[: len(second)] / second[: len(first)])
    low, high = ratio_interval(change, np.ones(len(change)))
    return f"{np.exp(change.mean()):.2f} [{np.exp(low or 0.0):.2f}, {np.exp(high or 0.0):.2f}]"


def verdict(rows: Rows) -> str:
    """All cells together."""
    lines = []
    for code in ("spline 4 bit", "learned"):
        mine = [row for row in rows if row["code"] == code]
        key = {(r["scenario"], r["loss"], r["episode"]): r for r in rows if r["code"] == "spline"}
        base = [key[r["scenario"], r["loss"], r["episode"]] for r in mine]
        if not mine:
            continue
        a, b = numbers(mine, "success") > 0, numbers(base, "success") > 0
        lines.append(
            f"- {code}: {paired_ratio(mine, base)} of the default's bits per agent-second over {len(mine)} paired "
            f"episodes; success {a.sum()} against {b.sum()} (exact McNemar p = {mcnemar_p(a, b):.2f})."
        )
    return "\n".join(lines)


def figure(curves: dict[str, dict[str, list[tuple[float, ...]]]], rows: Rows, path: Path) -> None:
    """Distortion and share against bits, and bits of runs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for group, style in (("open maps", "-"), ("grid maps", "--")):
        for code, points in curves.get(group, {}).items():
            ordered = np.array(sorted(points))
            look: dict[str, Any] = {"color": COLOURS[code], "ls": style, "marker": "o", "ms": 3, "lw": 1.2}
            axes[0].plot(ordered[:, 0], ordered[:, 1], label=f"{code}, {group}", **look)
            axes[0].fill_between(ordered[:, 0], ordered[:, 2], ordered[:, 3], color=COLOURS[code], alpha=0.2, lw=0)
            axes[1].plot(ordered[:, 0], 100 * ordered[:, 4], label=f"{code}, {group}", **look)
    axes[0].set(yscale="log", xlabel="bits of a shape", ylabel="mean distance (radius 0.05)")
    axes[1].set(xlabel="bits of a shape", ylabel="plans within half a radius, %")
    axes[0].legend(fontsize=8, frameon=False)
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    for k, scenario in enumerate(scenarios):
        for j, loss in enumerate(LOSSES):
            for code, colour in COLOURS.items():
                mine = [r for r in rows if (r["scenario"], r["loss"], r["code"]) == (scenario, loss, code)]
                if mine:
                    rate = numbers(mine, "bits").sum() / numbers(mine, "agent_s").sum()
                    low, high = ratio_interval(numbers(mine, "bits"), numbers(mine, "agent_s"))
                    at = 4 * k + j + 0.25 * (list(COLOURS).index(code) - 1)
                    error = [[rate - (low or rate)], [(high or rate) - rate]]
                    first = k + j == 0
                    axes[2].errorbar(at, rate, error, fmt="o", ms=4, color=colour, label=code if first else None)
    ticks = [4 * k + j for k in range(len(scenarios)) for j in range(len(LOSSES))]
    names = [f"{loss}\n{scenario}" if j == 1 else loss for scenario in scenarios for j, loss in enumerate(LOSSES)]
    axes[2].set_xticks(ticks, names, fontsize=8)
    axes[2].set(ylabel="bits per agent-second", xlabel="packets lost", ylim=(0, None))
    axes[2].legend(fontsize=8, frameon=False)
    for axis in axes:
        axis.grid(alpha=0.25)
    drawn.savefig(path, dpi=130)
    plt.close(drawn)


def publish(out: Path) -> None:
    """Write summary and figure from the rows that are there."""
    import intent_code

    rates, runs = read(out / "rates.csv"), read(out / "runs.csv")
    table, curves = rate_table(rates)
    figure(curves, runs, out / "intent-code.png")
    about = (intent_code.__doc__ or "").split("\n\n", 2)
    page = f"""# The learned plan code

```
{dedent(about[1]).strip()}
```

{about[2].strip()}

![Distortion against bits, and bits of runs](intent-code.png)

## Bits at equal distortion

{equal_distortion(curves)}

## Bits at equal success

{verdict(runs)}

A shape of 120 bits becomes one of 20 to 35, yet a packet shrinks by a tenth to a sixth only: most packets hold no plan
but verdicts, tokens and statuses, and those that do hold 142 bits besides. Bits per agent-second also fall where fleets
stand off in silence (`warehouse` at a loss of 0.5), whatever the code.

{run_table(runs)}

## Rate and distortion, all points

{table}"""
    (out / "summary.md").write_text(page, encoding="utf-8")
