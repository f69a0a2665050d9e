"""Quality and cost of the shipped trajectory priors: every size, solver, number of steps and precision.

    python experiments/trajectory_prior.py            measure, then write experiments/results/trajectory-prior
    python experiments/trajectory_prior.py --redraw   write summary and figure again from the measured rows

One thread. Maps are held out: training, calibration and pruning have not seen them. Every row of the
table is measured on the same problems, with the same noise, in the same run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib
import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure

from envs import keyed
from policies.diffusion import SOLVERS
from policies.diffusion.caching import ReusedEstimate, ReusedFeatures
from policies.diffusion.distances import energy_distance
from policies.diffusion.pruning import best_times, step_errors
from policies.diffusion.solvers import Denoise
from policies.trajectory.demonstrations import Problem
from policies.trajectory.evaluate import (
    HELD_OUT_SEED,
    TUNING_SEED,
    Drawn,
    Way,
    draw,
    interval,
    picks,
    problems,
    quality,
)
from policies.trajectory.prior import Denoiser, SplitDenoiser, TrajectoryPrior

ROOT = Path(__file__).parents[1]
OUT = ROOT / "experiments" / "results" / "trajectory-prior"
WEIGHTS = ROOT / "policies" / "weights"

STEPS = (1, 2, 3, 5, 10, 20, 50)
BASELINE = ("region", "ddim", 50)
PRUNED_FROM = 20


@dataclass(frozen=True)
class Variant:
    """One row of the table: a prior and a way to draw from it."""

    prior: str
    solver: str
    steps: int
    precision: str = "float32"
    method: str = "plain"
    times: list[float] | None = None
    wrap: Callable[[Denoiser], Denoise] | None = None

    def way(self, prior: TrajectoryPrior) -> Way:
        """How to draw."""
        times = self.times or prior.times(self.steps)
        solver = SOLVERS.create(self.solver)
        return Way(times, solver) if self.wrap is None else Way(times, solver, self.wrap)


@dataclass
class Scene:
    """Held-out problems, and what demonstrations say about them in units of their own spread."""

    problems: list[Problem]
    unit: torch.Tensor = field(init=False)
    demonstrated: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        residual = [torch.as_tensor(each.context.encode(each.control)) for each in self.problems]
        self.unit = torch.cat(residual).std(0)
        self.demonstrated = [each / self.unit for each in residual]

    def distance(self, drawn: list[torch.Tensor]) -> float:
        """Energy distance of plans on every other map to demonstrations on the maps between, both ways."""
        halves = [torch.cat(drawn[k::2]) for k in (0, 1)]
        others = [torch.cat(self.demonstrated[k::2]) for k in (1, 0)]
        return float(np.mean([energy_distance(x, y) for x, y in zip(halves, others, strict=True)]))

    def scores(self, drawn: Drawn, number: int) -> np.ndarray:
        """Energy score of each problem's samples against its one demonstration: E‖X − y‖ − ½ E‖X − X'‖.

        Reference: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation",
        2007, eq. 22.
        """
        x = torch.as_tensor(drawn.residual) / self.unit
        samples = x.shape[1]
        near = (x - self.demonstrated[number][:, None]).norm(dim=-1).mean(1)
        within = torch.cdist(x, x).sum((1, 2)) / (samples * (samples - 1))
        return (near - 0.5 * within).double().numpy()


def measure(prior: TrajectoryPrior, variant: Variant, scene: Scene, samples: int) -> dict[str, Any]:
    """One row, with the collision-free rate of every map kept for paired comparisons."""
    way = variant.way(prior)
    draw(prior, scene.problems[0], samples, way)  # weights are packed and memory is warm before time counts
    drawn = [draw(prior, problem, samples, way) for problem in scene.problems]
    found = [quality(problem, each) for problem, each in zip(scene.problems, drawn, strict=True)]
    found = [
        {**each, "energy_score": scene.scores(d, k)}
        for k, (each, d) in enumerate(zip(found, drawn, strict=True))
    ]
    plans = sum(each.control.shape[0] * each.control.shape[1] for each in drawn)
    row: dict[str, Any] = {
        "prior": variant.prior, "solver": variant.solver, "steps": variant.steps,
        "precision": variant.precision, "method": variant.method, "times": [round(t, 6) for t in way.times],
        "calls": float(np.mean([each.calls for each in drawn])),
        "core_ms": 1e3 * sum(each.cpu_s for each in drawn) / plans,
        "problems": sum(len(each.control) for each in drawn), "samples": samples,
        "energy_distance": scene.distance([torch.as_tensor(d.residual[:, 0]) / scene.unit for d in drawn]),
        "free_by_map": [float(each["collision_free"].mean()) for each in found],
    }  # fmt: skip
    for name in found[0]:
        values = interval(np.concatenate([each[name] for each in found]))
        row |= {name: values["mean"], f"{name}_low": values["ci95"][0], f"{name}_high": values["ci95"][1]}
    return row


def variants(
    priors: Mapping[str, TrajectoryPrior], pruned: Callable[[int], list[float]]
) -> Iterator[Variant]:
    """Every row to measure."""
    for name in priors:
        if name == "edge":
            yield from (Variant(name, "ddim", steps) for steps in STEPS[:4])
            yield from (Variant(name, "consistency", steps) for steps in STEPS[1:4])
            yield from (Variant(name, "ddim", k, p) for k in (1, 2) for p in ("bfloat16", "int8"))
            continue
        for solver in ("ddim", "dpm-solver++", "heun", "ancestral"):
            yield from (Variant(name, solver, steps) for steps in STEPS)
        for precision in ("bfloat16", "int8"):
            yield from (Variant(name, "ddim", steps, precision) for steps in (2, 5, 50))
        for weight in (1.0, 1.5, 2.0):
            guide = lambda denoiser, weight=weight: denoiser.guided(weight)  # noqa: E731
            yield from (Variant(name, "ddim", k, method=f"guided {weight:g}", wrap=guide) for k in (5, 10))
    if "region" not in priors:
        return
    for every in (2, 3):
        deep = lambda denoiser, every=every: ReusedFeatures(SplitDenoiser(denoiser), every)  # noqa: E731
        whole = lambda denoiser, every=every: ReusedEstimate(denoiser, every)  # noqa: E731
        for solver in ("ddim", "dpm-solver++"):
            yield Variant("region", solver, 10, method=f"features kept {every}", wrap=deep)
            yield Variant("region", solver, 10, method=f"estimate kept {every}", wrap=whole)
    for steps in (2, 3, 5):
        yield Variant("region", "ddim", steps, method="pruned", times=pruned(steps))
        even = [1.0 - k / steps for k in range(steps + 1)]
        yield Variant("region", "ddim", steps, method="even grid", times=even)


def pruner(prior: TrajectoryPrior, tuning: list[Problem]) -> Callable[[int], list[float]]:
    """The best times of a fine grid on the tuning maps, by number of steps."""
    features = torch.as_tensor(np.concatenate([problem.context.features for problem in tuning]))
    noise = keyed.normal(keyed.hash_words(TUNING_SEED, np.arange(len(features))), (1, prior.spec.state_dim))
    fine = prior.times(PRUNED_FROM)
    with torch.inference_mode():
        errors = step_errors(prior.process, Denoiser.bind(prior, features), torch.as_tensor(noise), fine)
    return lambda steps: best_times(fine, errors, steps)


def run(out: Path, maps: int, per_map: int, samples: int) -> None:
    """Measure everything and write ``rows.parquet``."""
    torch.set_num_threads(1)
    files = {name: WEIGHTS / f"{name}.safetensors" for name in ("edge", "region", "cloud")}
    priors = {name: TrajectoryPrior.load(file) for name, file in files.items() if file.is_file()}
    scene = Scene(problems(HELD_OUT_SEED, maps, per_map))
    tuning = problems(TUNING_SEED, 2, per_map)
    calibration = [problem.context.features for problem in tuning]
    forms: dict[tuple[str, str], TrajectoryPrior] = {}
    sizes: dict[tuple[str, str], int] = {}
    for name, prior in priors.items():
        forms[name, "float32"], sizes[name, "float32"] = prior, files[name].stat().st_size
        forms[name, "bfloat16"], sizes[name, "bfloat16"] = prior.bfloat16(), files[name].stat().st_size
        rounded = prior.int8(calibration, steps=2 if name == "edge" else 5)
        with TemporaryDirectory() as folder:
            rounded.save(Path(folder) / "int8.safetensors")
            forms[name, "int8"] = TrajectoryPrior.load(Path(folder) / "int8.safetensors")
            sizes[name, "int8"] = (Path(folder) / "int8.safetensors").stat().st_size
    pruned = pruner(priors["region"], tuning) if "region" in priors else lambda steps: []
    rows = []
    for variant in variants(priors, pruned):
        form = variant.prior, variant.precision
        rows.append({**measure(forms[form], variant, scene, samples), "file_bytes": sizes[form]})
        print(
            f"{variant.prior} {variant.solver} {variant.steps} {variant.precision} {variant.method}",
            flush=True,
        )
    floor = energy_distance(*(torch.cat(scene.demonstrated[k::2]) for k in (0, 1)))
    out.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([{**row, "floor": floor, "batch": per_map * samples} for row in rows]).write_parquet(
        out / "rows.parquet"
    )


def gain(row: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """Collision-free rate over another row's, with a paired 95 % bootstrap interval over maps."""
    mine, theirs = (np.asarray(each["free_by_map"]) for each in (row, base))
    drawn = picks(len(mine))
    low, high = np.percentile(mine[drawn].mean(1) / theirs[drawn].mean(1), [2.5, 97.5])
    return f"{mine.mean() / theirs.mean():.3f} [{low:.3f}, {high:.3f}]"


def line(row: Mapping[str, Any]) -> str:
    """A row in Markdown."""

    def spread(name: str, digits: int) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return f"{row[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    cells = [
        *(str(row[name]) for name in ("prior", "solver", "steps", "precision", "method")),
        f"{row['calls']:.3g}", f"{row['core_ms']:.3f}",
        *(spread(name, digits) for name, digits in SPREADS.items()),
        f"{row['energy_distance']:.4f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


SPREADS = {"collision_free": 3, "length_ratio": 3, "min_ade": 4, "energy_score": 3}
"""Measure → decimals shown."""
TITLES = (
    "prior", "solver", "steps", "precision", "method", "calls", "core-ms/plan", "collision-free",
    "length / expert", "minADE / reach", "energy score", "energy distance",
)  # fmt: skip


def find(rows: list[dict[str, Any]], prior: str, solver: str, steps: int, **wanted: str) -> dict[str, Any]:
    """The row of that variant."""
    plain = {"precision": "float32", "method": "plain"}
    key = {"prior": prior, "solver": solver, "steps": steps, **plain, **wanted}
    return next(row for row in rows if all(row[name] == value for name, value in key.items()))


def verdict(rows: list[dict[str, Any]]) -> str:
    """The distilled prior in one and two calls against many steps of its teacher, as a table."""
    base = find(rows, *BASELINE)
    lines = [
        "| prior, solver, steps, precision | calls | collision-free / baseline's | time | energy score |",
        "|---|---|---|---|---|",
    ]
    chosen = [find(rows, "edge", "ddim", k, precision=p) for k in (1, 2) for p in ("float32", "int8")]
    chosen += [find(rows, "region", "ddim", k) for k in (1, 2, 5, 50)]
    if any(row["prior"] == "cloud" for row in rows):
        chosen += [find(rows, "cloud", "ddim", k) for k in (5, 50)]
    for row in chosen:
        label = f"{row['prior']}, {row['solver']}, {row['steps']}, {row['precision']}"
        share = f"1/{base['core_ms'] / row['core_ms']:.1f}"
        lines.append(
            f"| {label} | {row['calls']:.3g} | {gain(row, base)} | {share} | {row['energy_score']:.3f} |"
        )
    return "\n".join(lines)


def sizes(rows: list[dict[str, Any]]) -> str:
    """Precision: file, time and quality, as a table."""
    lines = [
        "| prior | steps | precision | file, kB | core-ms/plan | collision-free | energy score |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, steps in (("edge", 2), ("region", 5), ("cloud", 5)):
        for precision in ("float32", "bfloat16", "int8"):
            if not any(row["prior"] == name for row in rows):
                continue
            row = find(rows, name, "ddim", steps, precision=precision)
            lines.append(
                f"| {name} | {steps} | {precision} | {row['file_bytes'] / 1000:.0f} | {row['core_ms']:.3f} "
                f"| {row['collision_free']:.3f} | {row['energy_score']:.3f} |"
            )
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> str:
    """The Markdown page."""
    first = rows[0]
    head = "| " + " | ".join(TITLES) + " |\n|" + "---|" * len(TITLES)
    return f"""# The trajectory priors: quality and cost

Written by `python experiments/trajectory_prior.py` from `rows.parquet`. {first["problems"]} planning
problems on {len(first["free_by_map"])} held-out maps (all families), {first["samples"]} samples each, no
guidance by peers, one thread, batches of at most {first["batch"]} plans. Intervals are 95 % bootstrap
intervals over problems.

![Quality against cost](quality-cost.png)

- *collision-free*: share of single samples that keep clear of the static map in continuous time.
- *length / expert*, *minADE / reach*: against the one held-out demonstration of each problem.
- *energy score*: E‖X − y‖ − ½ E‖X − X'‖ of a problem's samples X against its demonstration y, in residuals
  from the nominal plan, each coordinate in units of the demonstrations' standard deviation. A strictly proper
  score: on average least for the true conditional distribution, so it charges blurred and narrow answers
  alike. Lower is better.
- *energy distance*: between one sample for every problem on half of the maps and the demonstrations on the
  other half, averaged over both halves, in the same units. It sees the pooled distribution only. Two sets of
  demonstrations on those halves are {first["floor"]:.4f} apart: the floor.
- *core-ms/plan*: processor time of embedding, noise, network and solver, measured in this run.
- *calls*: network calls per plan; a call that recomputes part of the blocks counts as that share, a guided
  step as two.

## The distilled prior against {BASELINE[2]} steps of `{BASELINE[0]}`

The ratio of collision-free rates has a bootstrap interval over maps, paired.

{verdict(rows)}

## Precision

Files hold half precision or int8; `float32` and `bfloat16` read the same file.

{sizes(rows)}

## Every row

{head}
{chr(10).join(line(row) for row in rows)}
"""


COLOURS = {"edge": "#D55E00", "region": "#0072B2", "cloud": "#009E73"}
SHAPES = {"ddim": "o", "dpm-solver++": "s", "heun": "^", "ancestral": "D"}
PANELS = (
    ("collision_free", "collision-free share of samples"),
    ("energy_score", "energy score (lower is better)"),
)


def figure(rows: list[dict[str, Any]]) -> Figure:
    """Quality against processor time: curves along the steps, single marks for what makes them faster."""
    drawn = Figure(figsize=(12.0, 4.6), layout="constrained")
    for axis, (name, title) in zip(drawn.subplots(1, 2), PANELS, strict=True):
        plain = [row for row in rows if row["method"] == "plain" and row["precision"] == "float32"]
        for prior in ("region", "cloud"):
            for solver, shape in SHAPES.items():
                curve = [row for row in plain if (row["prior"], row["solver"]) == (prior, solver)]
                x, y = [row["core_ms"] for row in curve], [row[name] for row in curve]
                dashes = "-" if solver == "ddim" else ":"
                look: dict[str, Any] = {"color": COLOURS[prior], "lw": 1.0, "ms": 4, "alpha": 0.85}
                if curve:
                    axis.plot(x, y, marker=shape, ls=dashes, label=f"{prior}, {solver}", **look)
        distilled = [r for r in plain if r["prior"] == "edge" and r["solver"] == "ddim" and r["steps"] <= 2]
        rounded = [r for r in rows if r["precision"] == "int8"]
        kept = [r for r in rows if r["method"].startswith("features") and r["solver"] == "ddim"]
        marks = {
            "edge, ddim 1 and 2": ("*", COLOURS["edge"], 110, distilled),
            "edge, int8": ("*", "#F0B080", 70, [r for r in rounded if r["prior"] == "edge"]),
            "region, int8": ("P", "#CC79A7", 40, [r for r in rounded if r["prior"] == "region"]),
            "region, features kept": ("v", "#666666", 30, kept),
            "region, pruned times": ("X", "#E69F00", 40, [r for r in rows if r["method"] == "pruned"]),
        }
        for label, (shape, colour, size, points) in marks.items():
            x, y = [row["core_ms"] for row in points], [row[name] for row in points]
            axis.scatter(x, y, s=size, marker=shape, color=colour, zorder=5, label=label, linewidths=0)
        near: dict[str, Any] = {"textcoords": "offset points", "xytext": (7, -3), "fontsize": 8}
        for row in distilled:
            label = "1 call" if row["steps"] == 1 else f"{row['steps']} calls"
            axis.annotate(label, (row["core_ms"], row[name]), color=COLOURS["edge"], **near)
        axis.set(xscale="log", xlabel="processor time per plan, ms (one thread)", ylabel=title)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = drawn.axes[1].get_legend_handles_labels()
    drawn.legend(handles, labels, fontsize=8, frameon=False, loc="outside right upper")
    return drawn


def main() -> None:
    """Measure, or only draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--redraw", action="store_true", help="keep the rows that are there")
    parser.add_argument("--maps", type=int, default=8, help="held-out maps per family")
    parser.add_argument("--per-map", type=int, default=32, help="problems per map")
    parser.add_argument("--samples", type=int, default=4, help="plans per problem")
    given = parser.parse_args()
    if not given.redraw:
        run(given.out, given.maps, given.per_map, given.samples)
    rows = pl.read_parquet(given.out / "rows.parquet").to_dicts()
    (given.out / "summary.md").write_text(summary(rows), encoding="utf-8")
    matplotlib.use("Agg")
    figure(rows).savefig(given.out / "quality-cost.png", dpi=130)


if __name__ == "__main__":
    main()
