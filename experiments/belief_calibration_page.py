"""The page and the figure of `belief_calibration`, from its rows."""

from __future__ import annotations

import csv
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
from belief_calibration import NOMINAL, interval
from belief_calibration import __doc__ as about
from numpy.typing import NDArray

Rows = list[dict[str, str]]
KINDS = {"prior": "#0072B2", "calibrated": "#D55E00"}


def by_episode(rows: Rows, name: str, weight: str = "count") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of a column and of the weights over the levels of each (scenario, episode)."""
    keys = list(dict.fromkeys((row["scenario"], row["episode"]) for row in rows))
    sums = np.zeros((2, len(keys)))
    for row in rows:
        sums[:, keys.index((row["scenario"], row["episode"]))] += float(row[name]), float(row[weight])
    return sums[0], sums[1]


def cell(value: dict[str, Any], digits: int = 3) -> str:
    """A mean with its interval."""
    low, high = value["ci95"]
    return f"{value['mean']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def pick(rows: Rows, **wanted: str) -> Rows:
    """Rows with these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def coverage(rows: Rows, when: str = "half") -> NDArray[np.float64]:
    """Observed coverage at each nominal share."""
    return np.array([interval(*by_episode(rows, f"cover_{when}_{share:g}"))["mean"] for share in NOMINAL])


def ece(rows: Rows) -> dict[str, Any]:
    """Mean distance of coverage from nominal, with an interval from resampling episodes."""
    from agentsc.experiment.statistics import percentile_interval, resamples

    tops = np.stack([by_episode(rows, f"cover_half_{share:g}")[0] for share in NOMINAL])
    count = by_episode(rows, "cover_half_0.9")[1]
    drawn = resamples(len(count))
    shares = tops[:, drawn].sum(-1) / count[drawn].sum(-1)
    gaps = np.abs(shares - np.array(NOMINAL)[:, None]).mean(0)
    whole = float(np.abs(tops.sum(1) / count.sum() - np.array(NOMINAL)).mean())
    return {"mean": whole, "ci95": percentile_interval(gaps)}


def belief_table(rows: Rows) -> str:
    """Coverage and sharpness per scenario and kind of belief."""
    lines = [
        "| scenario | beliefs | number | covered, ¼ horizon | covered, ½ | covered, whole | ECE | minADE "
        "| energy score |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups = list(dict.fromkeys((row["group"], row["scenario"]) for row in rows))
    for group, scenario in [*groups, ("training", ""), ("held out", "")]:
        for kind in KINDS:
            mine = pick(rows, beliefs=kind, group=group, **({"scenario": scenario} if scenario else {}))
            covered = [cell(interval(*by_episode(mine, f"cover_{when}_0.9"))) for when in ("quarter", "half", "whole")]
            name = f"{scenario} ({group})" if scenario else f"**all {group}**"
            sharp = [cell(ece(mine)), *(cell(interval(*by_episode(mine, column)), 4) for column in ("ade", "energy"))]
            count = f"{by_episode(mine, 'ade')[1].sum():,.0f}"
            lines.append("| " + " | ".join([name, kind, count, *covered, *sharp]) + " |")
    return "\n".join(lines)


def level_table(rows: Rows, tokens: Rows) -> str:
    """Held-out scenarios by the confidence in the token: what was said, what came of it, and coverage of beliefs."""
    lines = [
        "| confidence | stands for | tokens | kept [95 %] | beliefs | covered, ½ horizon [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    for level in range(16):
        said = pick(tokens, group="held out", level=str(level))
        formed = pick(rows, beliefs="calibrated", group="held out", level=str(level))
        if not said and not formed:
            continue
        count, kept, covered = 0, "", ""
        if said:
            top, bottom = by_episode(said, "kept", "tokens")
            count, kept = int(bottom.sum()), _ratio(top, bottom)
        number = int(by_episode(formed, "ade")[1].sum()) if formed else 0
        if formed:
            covered = _ratio(*by_episode(formed, "cover_half_0.9"))
        lines.append(f"| {level} | {level / 15:.2f} | {count:,} | {kept} | {number:,} | {covered} |")
    return "\n".join(lines)


def _ratio(top: NDArray, bottom: NDArray) -> str:
    return cell(interval(top, bottom), 2) if len(top) > 1 else f"{top.sum() / bottom.sum():.2f}"


def figure(rows: Rows, tokens: Rows, path: Path) -> None:
    """Reliability of regions on training and held-out scenarios, and of certainties."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for axis, group in zip(axes[:2], ("training", "held out"), strict=True):
        axis.plot([0, 1], [0, 1], color="#999999", lw=1, ls=":")
        for kind, colour in KINDS.items():
            mine = pick(rows, beliefs=kind, group=group)
            for scenario in dict.fromkeys(row["scenario"] for row in mine):
                axis.plot(NOMINAL, coverage(pick(mine, scenario=scenario)), color=colour, lw=0.7, alpha=0.6)
            axis.plot(NOMINAL, coverage(mine), color=colour, marker="o", ms=4, label=kind)
        axis.set(title=f"{group} scenarios", xlabel="nominal share", ylabel="covered, half the horizon")
        axis.legend(fontsize=8, frameon=False)
    axes[2].plot([0, 1], [0, 1], color="#999999", lw=1, ls=":")
    for group, colour in (("training", "#009E73"), ("held out", "#D55E00")):
        points = []
        for level in range(16):
            said = pick(tokens, group=group, level=str(level))
            if said:
                top, bottom = by_episode(said, "kept", "tokens")
                points.append((level / 15, top.sum() / bottom.sum(), bottom.sum()))
        x, y, n = np.array(points).reshape(-1, 3).T
        axes[2].scatter(x, y, s=6 + 60 * n / n.max(initial=1.0), color=colour, label=group, alpha=0.8, linewidths=0)
    axes[2].set(title="certainty in the token", xlabel="stated", ylabel="plans kept for half a horizon")
    axes[2].legend(fontsize=8, frameon=False)
    for axis in axes:
        axis.set(xlim=(0, 1), ylim=(0, 1))
        axis.grid(alpha=0.25)
    drawn.savefig(path, dpi=130)
    plt.close(drawn)


def publish(out: Path) -> None:
    """Write summary and figure from the rows."""
    rows, tokens = (list(csv.DictReader((out / f"{name}.csv").open(newline=""))) for name in ("rows", "tokens"))
    figure(rows, tokens, out / "belief-calibration.png")
    commands, text = (about or "").split("\n\n", 2)[1:]
    page = f"""# Are beliefs about peers calibrated?

```
{dedent(commands).strip()}
```

{text.strip()}

![Reliability of regions and of certainties](belief-calibration.png)

## Coverage of the 90 % region, calibration error, sharpness

{belief_table(rows)}

## By the confidence in the token, held-out scenarios, calibrated beliefs

{level_table(rows, tokens)}
"""
    (out / "summary.md").write_text(page, encoding="utf-8")
