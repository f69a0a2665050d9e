"""Error of every solver against its number of steps, next to exact distributions: rows, table, figure.

    python experiments/solver_orders.py [--out experiments/results/solver-orders]

Three measurements; only the last draws samples:

- **map**: the largest error of a deterministic solver against the exact probability-flow map of a Gaussian
  mixture of one dimension, over 41 starting points.
- **weak**: on a Gaussian prior every step of every solver is affine in the state and in the noise. The solver is
  run on the basis states and on a unit impulse of every number that it draws; that gives mean and covariance of
  its samples exactly, and so their 2-Wasserstein distance to the exact marginal.
- **samples**: sliced Wasserstein and energy distance to a mixture of 25 modes in 10 dimensions, next to the
  distance between two exact sets of that size.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from envs import keyed
from policies.diffusion import PROCESSES, SOLVERS
from policies.diffusion.distances import energy_distance, gaussian_wasserstein, sliced_wasserstein
from policies.diffusion.exact import GaussianMixturePrior, GaussianPrior
from policies.diffusion.process import Process
from policies.diffusion.sampling import Sampler
from policies.diffusion.schedule import Spacing, grid
from policies.diffusion.solvers import Denoise, Solver

HERE = Path(__file__).parent
START, END = 0.98, 0.02
"""Interior interval of the orders; the rows that end at 0 show what the last step costs."""
FLOOR = 1e-10
"""Errors below are rounding and take no part in a slope."""
STEPS = {"map": (8, 16, 32, 64, 128, 256, 512), "weak": (8, 16, 32, 64, 128, 256, 512, 1024, 2048)}
ASYMPTOTIC = {"map": 32, "weak": 256}
"""Slopes are fitted from this many steps on."""
LONG = (64, 256, 1024, 4096, 16384, 65536)
"""Steps of the corrector at a fixed step size, whose asymptotic range comes late."""
SAMPLES, SETS = 1000, 8
"""Rows of a sample set, and sets that a distance is averaged over."""
LAST_RATIO = 0.015
"""Of the log-SNR grid that samples are drawn on: a tenth of the narrowest mode."""
EXACT = "two exact sets"
Row = dict[str, Any]


def processes() -> dict[str, Process]:
    """The four processes; ``ve`` with a noise range whose ends leave something to integrate."""
    return {
        "vp-cosine": PROCESSES.create("vp-cosine"),
        "vp-linear": PROCESSES.create("vp-linear"),
        "flow": PROCESSES.create("flow"),
        "ve": PROCESSES.create("ve", sigma_max=10.0),
    }


@dataclass(frozen=True)
class Case:
    """A solver as it is measured.

    Attributes:
        label: in tables. solver, options: of the registry. order: what it claims. spacing: of its grid.
        order_at_zero: claimed where the grid ends at time 0 and the last step is a clean estimate.
        draws: tensors of noise that a step takes.
        falling: an option that is to fall with 1/√steps, with its value at 64 steps.
    """

    label: str
    solver: str
    order: float
    options: dict[str, Any] = field(default_factory=dict)
    spacing: Spacing = "angle"
    order_at_zero: float = 1.0
    draws: int = 0
    falling: dict[str, float] = field(default_factory=dict)

    def create(self, steps: int) -> Solver:
        """The solver for a grid of ``steps``."""
        falling = {name: value * math.sqrt(64 / steps) for name, value in self.falling.items()}
        solver: Solver = SOLVERS.create(self.solver, **self.options, **falling)
        return solver


DETERMINISTIC = (
    Case("ddim", "ddim", 1.0),
    Case("dpm-solver++", "dpm-solver++", 2.0, spacing="log-snr", order_at_zero=2.0),
    Case("heun", "heun", 2.0, order_at_zero=2.0),
    Case("rk4", "rk4", 4.0, order_at_zero=2.0),
)
CORRECTOR = "predictor-corrector"
STOCHASTIC = (
    Case("ancestral", "ancestral", 1.0, draws=1),
    Case("ddim, η = 1", "ddim", 1.0, {"eta": 1.0}, draws=1),
    Case("euler-maruyama", "euler-maruyama", 1.0, draws=1),
    Case(f"{CORRECTOR}, r ∝ 1/√steps", CORRECTOR, 1.0, draws=2, falling={"langevin_snr": 0.16}),
)
FIXED = Case(f"{CORRECTOR}, r = 0.16", CORRECTOR, 2.0 / 3.0, {"langevin_snr": 0.16}, draws=2)
"""At fixed r the order is 2/3 for a grid that ends at 0; for one that ends before, the bias stays."""


def mixture() -> GaussianMixturePrior:
    """Three overlapping modes on a line."""
    weights = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
    means = torch.tensor([[-1.2], [0.3], [1.5]], dtype=torch.float64)
    return GaussianMixturePrior(
        weights, means, torch.tensor([0.16, 0.09, 0.25], dtype=torch.float64)[:, None, None]
    )


def gaussian() -> GaussianPrior:
    """A correlated Gaussian off the origin."""
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    return GaussianPrior(torch.tensor([0.8, -0.4], dtype=torch.float64), covariance)


def map_error(process: Process, case: Case, steps: int, start: float = START, end: float = END) -> float:
    """Largest error of the solver's map from ``start`` to ``end`` over the bulk of the marginal."""
    prior = mixture()
    spread = math.sqrt(process.alpha(start) ** 2 * float(prior.covariance()) + process.sigma(start) ** 2)
    x = (
        process.alpha(start) * prior.mean()
        + spread * torch.linspace(-2.5, 2.5, 41, dtype=torch.float64)[:, None]
    )
    times = grid(process, steps, case.spacing, start=start, end=end, last_ratio=0.5 / steps)
    got = case.create(steps).solve(process, prior.denoiser(process), x, times)
    return float((got - prior.flow(x, process, start, end)).abs().max())


def affine_moments(
    process: Process,
    denoise: Denoise,
    solver: Solver,
    times: list[float],
    mean: torch.Tensor,
    covariance: torch.Tensor,
    draws: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [d] and covariance [d, d] of a solver's samples whose steps are affine, without drawing any.

    Args:
        denoise: affine in the state. mean [d], covariance [d, d]: of the state at ``times[0]``.
        draws: tensors of noise that a step takes.
    """
    dim, steps = len(mean), len(times) - 1
    eye = torch.eye(dim, dtype=mean.dtype)
    states = torch.zeros(1 + dim + steps * draws * dim, dim, dtype=mean.dtype)
    states[0], states[1 : 1 + dim] = mean, mean + eye

    def impulse(step: int, draw: int = 0) -> torch.Tensor:
        noise = torch.zeros_like(states)
        first = 1 + dim + (step * draws + draw) * dim
        noise[first : first + dim] = eye
        return noise

    states[1 + dim :] = mean
    ends = solver.solve(process, denoise, states, times, impulse)
    response = ends[1:] - ends[0]
    scale, unit = response[:dim], response[dim:]
    return ends[0], scale.T @ covariance @ scale + unit.T @ unit


def weak_error(process: Process, case: Case, steps: int, start: float = START, end: float = END) -> float:
    """2-Wasserstein distance of the solver's samples to the exact marginal, from the exact one at ``start``."""
    prior = gaussian()

    def marginal(t: float) -> tuple[torch.Tensor, torch.Tensor]:
        alpha, eye = process.alpha(t), torch.eye(2, dtype=torch.float64)
        return alpha * prior.mean(), alpha**2 * prior.covariance() + process.sigma(t) ** 2 * eye

    times = grid(process, steps, case.spacing, start=start, end=end, last_ratio=0.5 / steps)
    denoise, solver, (mean, covariance) = prior.denoiser(process), case.create(steps), marginal(start)
    for t, s in zip(times[:-1], times[1:], strict=True):
        # These solvers remember nothing, so the moments go through the steps one by one.
        mean, covariance = affine_moments(process, denoise, solver, [t, s], mean, covariance, case.draws)
    return gaussian_wasserstein(mean, covariance, *marginal(end))


def modes() -> GaussianMixturePrior:
    """25 modes on a 5 × 5 lattice that is turned into 10 dimensions, of unequal weight and width; variance about 1."""
    place = torch.arange(-2.0, 3.0, dtype=torch.float64)
    lattice = torch.cartesian_prod(place, place).repeat(1, 5) / math.sqrt(2.0)
    width = 0.15 + 0.1 * torch.arange(25, dtype=torch.float64).remainder(3) / 2
    covariances = width[:, None, None] ** 2 * torch.eye(10, dtype=torch.float64)
    return GaussianMixturePrior(
        1.0 + torch.arange(25, dtype=torch.float64).remainder(4), lattice, covariances
    )


def keys(number: int) -> NDArray[np.uint64]:
    """Keys of the ``number``-th sample set."""
    return keyed.hash_words(number, keyed.stream_id("solver-orders"), np.arange(SAMPLES))


def sample_rows(steps: Sequence[int]) -> list[Row]:
    """Distances of every solver's samples to exact ones, and of exact ones to each other."""
    process, prior = PROCESSES.create("vp-cosine"), modes()
    denoise = prior.denoiser(process)
    exact = [prior.sample(keys(100 + number)) for number in range(2 * SETS)]

    def flow(x: torch.Tensor, t: float) -> torch.Tensor:
        """The consistency function, by 32 steps of Runge–Kutta."""
        return SOLVERS.create("rk4").solve(process, denoise, x, grid(process, 32, start=t))

    def compared(label: str, count: int, sets: list[torch.Tensor]) -> list[Row]:
        return [
            row(name, "vp-cosine", label, 0.0, count, distance(one, other), number)
            for name, distance in (("sliced", sliced_wasserstein), ("energy", energy_distance))
            for number, (one, other) in enumerate(zip(sets, exact[:SETS], strict=True))
        ]

    def drawn(denoise: Denoise, solver: Solver, times: list[float]) -> list[torch.Tensor]:
        sampler = Sampler(process, denoise, solver, times)
        return [sampler.draw(keys(number), (10,), dtype=torch.float64) for number in range(SETS)]

    rows = compared(EXACT, 0, exact[SETS:])
    for case in (*DETERMINISTIC, *STOCHASTIC[:-1], FIXED):
        for count in steps:
            times = grid(process, count, case.spacing, last_ratio=LAST_RATIO)
            rows += compared(case.label, count, drawn(denoise, case.create(count), times))
    few = drawn(flow, SOLVERS.create("consistency"), grid(process, 4))
    return rows + compared("consistency with the flow's end", 4, few)


def row(
    measure: str, process: str, solver: str, end: float, steps: int, error: float, number: int = 0
) -> Row:
    """A row of the table of results; ``number`` tells sample sets apart."""
    return {
        "measure": measure, "process": process, "solver": solver, "end": end, "steps": steps, "set": number,
        "error": error,
    }  # fmt: skip


def measure() -> pl.DataFrame:
    """All rows: minutes on one core."""
    rows: list[Row] = []
    for name, cases, error in (("map", DETERMINISTIC, map_error), ("weak", STOCHASTIC, weak_error)):
        for case, (label, process), end in product(cases, processes().items(), (END, 0.0)):
            rows += [
                row(name, label, case.label, end, n, error(process, case, n, end=end)) for n in STEPS[name]
            ]
    cosine = processes()["vp-cosine"]
    for end in (END, 0.0):
        rows += [
            row("long", "vp-cosine", FIXED.label, end, n, weak_error(cosine, FIXED, n, end=end)) for n in LONG
        ]
    return pl.DataFrame(rows + sample_rows((16, 64)))


def slope(steps: Sequence[int], errors: Sequence[float], fitted_from: int) -> float:
    """Order seen: minus the least-squares slope of log error against log steps, from ``fitted_from`` steps on."""
    kept = [(n, e) for n, e in zip(steps, errors, strict=True) if n >= fitted_from and e > FLOOR]
    logs = np.log(np.array(kept))
    return -float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def slopes(frame: pl.DataFrame, name: str, case: Case, process: str, end: float) -> float:
    """The order that rows show."""
    cell = frame.filter(measure=name, solver=case.label, process=process, end=end).sort("steps")
    return slope(cell["steps"].to_list(), cell["error"].to_list(), ASYMPTOTIC[name])


def summary(frame: pl.DataFrame) -> str:
    """The page made of the rows, in Markdown."""
    names = list(processes())
    lines = [
        "# Orders of the solvers",
        "",
        "Made by `python experiments/solver_orders.py` from `rows.csv`; its docstring says how errors are measured.",
        "",
        f"Orders seen: slope of the error against the number of steps, fitted from {ASYMPTOTIC['map']} steps on "
        f"(deterministic) and from {ASYMPTOTIC['weak']} (stochastic), between t = {START} and {END}, and from "
        f"{START} to 0, where the last step is a clean estimate. `ve` has σ_max = 10.",
        "",
        "| solver | measure | claimed | "
        + " | ".join(names)
        + " | claimed to 0 | "
        + " | ".join(names)
        + " |",
        "|" + "---|" * (4 + 2 * len(names)),
    ]
    for name, cases in (("map", DETERMINISTIC), ("weak", STOCHASTIC)):
        for case in cases:
            inner, whole = ([f"{slopes(frame, name, case, p, end):.2f}" for p in names] for end in (END, 0.0))
            claims = f"{case.order:g}", f"{case.order_at_zero:g}"
            lines.append(f"| {' | '.join([case.label, name, claims[0], *inner, claims[1], *whole])} |")
    lines += [
        "",
        "The corrector at a fixed step size r = 0.16, vp-cosine: its error changes sign near 1,000 steps; then it "
        "falls as steps^(−2/3) to time 0, and towards a bias that stays where the grid ends before.",
        "",
        f"| steps | to {END} | to 0 |",
        "|---|---|---|",
    ]
    for steps in LONG:
        cell = frame.filter(measure="long", steps=steps).sort("end", descending=True)["error"]
        lines.append(f"| {steps} | {cell[0]:.2e} | {cell[1]:.2e} |")
    lines += [
        "",
        f"Samples of a mixture of 25 modes in 10 dimensions (vp-cosine, {SAMPLES} rows): distance to exact samples, "
        f"mean ± standard error over {SETS} pairs of sets. The first row is the floor: what two exact sets of that "
        "size are apart. Energy distances are unbiased, so they scatter around 0 there.",
        "",
        "| solver | steps | sliced Wasserstein | energy distance × 1000 |",
        "|---|---|---|---|",
    ]
    cells = frame.filter(pl.col("measure").is_in(["sliced", "energy"])).group_by(
        ["solver", "steps", "measure"], maintain_order=True
    )
    figures = cells.agg(mean=pl.col("error").mean(), error=pl.col("error").std() / math.sqrt(SETS))
    for (solver, steps), cell in figures.group_by(["solver", "steps"], maintain_order=True):
        sliced, energy = cell.filter(measure="sliced").row(0), cell.filter(measure="energy").row(0)
        lines.append(
            f"| {solver} | {steps or '–'} | {sliced[3]:.4f} ± {sliced[4]:.4f} "
            f"| {1000 * energy[3]:.2f} ± {1000 * energy[4]:.2f} |"
        )
    return "\n".join(lines) + "\n"


def figure(frame: pl.DataFrame, path: Path) -> None:
    """Error against steps on vp-cosine, log-log, with the slopes seen."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    page, panels = plt.subplots(1, 3, figsize=(13.5, 4.4), constrained_layout=True)
    drawn = (
        ("map", DETERMINISTIC, END, f"deterministic, t = {START} → {END}: largest error of the map"),
        ("map", DETERMINISTIC, 0.0, f"deterministic, t = {START} → 0: largest error of the map"),
        ("weak", STOCHASTIC, END, f"stochastic, t = {START} → {END}: 2-Wasserstein distance"),
    )
    marks = dict(zip((case.label for case in (*DETERMINISTIC, *STOCHASTIC, FIXED)), "os^Dos^Dx", strict=True))
    for axes, (name, cases, end, title) in zip(panels, drawn, strict=True):
        for case in cases:
            cell = frame.filter(measure=name, solver=case.label, process="vp-cosine", end=end).sort("steps")
            label = f"{case.label}: {slopes(frame, name, case, 'vp-cosine', end):.2f}"
            # Ancestral steps are DDIM's at η = 1: an open mark shows both.
            style = {"ms": 9, "fillstyle": "none"} if case.solver == "ancestral" else {"ms": 4}
            axes.loglog(cell["steps"], cell["error"], marker=marks[case.label], lw=1.2, label=label, **style)
        if name == "weak":
            cell = frame.filter(measure="long", end=end).sort("steps")
            axes.loglog(
                cell["steps"], cell["error"], marker="x", ms=5, lw=1.0, color="0.4", label=FIXED.label
            )
        axes.set(title=title, xlabel="steps", ylabel="error")
        axes.title.set_fontsize(9)
        axes.grid(which="major", lw=0.4)
        axes.legend(fontsize=8, title="solver: slope seen", title_fontsize=8)
    page.savefig(path, dpi=110)
    plt.close(page)


def main() -> None:
    """Measure, then write rows, page and figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE / "results" / "solver-orders")
    parser.add_argument(
        "--page-only", action="store_true", help="make page and figure of the rows that are there"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "rows.csv"
    if not options.page_only:
        measure().write_csv(file)
    frame = pl.read_csv(file)
    (options.out / "summary.md").write_text(summary(frame))
    figure(frame, options.out / "orders.png")


if __name__ == "__main__":
    main()
