"""Every posterior method against exact posteriors: how far its samples are, next to the sampling floor.

    python experiments/posterior_methods.py            # about 15 minutes on one core; keeps finished rows

Two priors whose posterior under a linear Gaussian measurement (SNR 10 dB) is known: a correlated Gaussian
(d = 16, eigenvalues falling by 1.5 each, 8 numbers measured) and a mixture of 25 Gaussians (d = 10, 4
numbers measured). Every repetition draws another truth, operator and measurement and 1000 samples per
method. Distances: root mean over 128 directions of squared 2-Wasserstein distances, relative to the
posterior's standard deviation per direction, and the energy distance. The floor is the same distance
between two exact sample sets of that size.

Writes experiments/results/posterior-methods/{rows.csv, summary.md, posterior-methods.png}. Steps, scales
and grids were fixed on draws that are not evaluated here.
"""

from __future__ import annotations

import csv
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from agentsc.experiment.statistics import percentile_interval, resamples
from envs import keyed
from policies.diffusion import GUIDANCE, PROCESSES, SOLVERS
from policies.diffusion.distances import energy_distance, sliced_wasserstein
from policies.diffusion.exact import GaussianMixturePrior, GaussianPrior
from policies.diffusion.guidance import Term
from policies.diffusion.operators import Linear, Measurement
from policies.diffusion.sampling import Sampler
from policies.diffusion.schedule import grid

OUT = Path(__file__).parent / "results" / "posterior-methods"
DOUBLE = torch.float64
SAMPLES, REPETITIONS, SNR_DB = 1000, 8, 10.0
PROCESS = PROCESSES.create("vp-cosine")


@dataclass(frozen=True)
class Method:
    """A guidance term with the solver and grid that it runs on."""

    label: str
    guidance: str
    solver: str
    steps: int
    options: dict[str, Any] = field(default_factory=dict)


METHODS = [
    Method("DPS, published step", "dps", "ancestral", 1000),
    Method("DPS, scale 0.3", "dps", "ancestral", 200, {"scale": 0.3}),
    Method("DPS, annealed likelihood", "dps", "ancestral", 200, {"step": "annealed"}),
    Method("DPS, annealed, no backprop", "dps", "ancestral", 200, {"step": "annealed", "backprop": False}),
    Method("PiGDM, unit variance (published)", "pigdm", "ddim", 100, {"variance": "unit"}),
    Method("PiGDM, data variance", "pigdm", "ancestral", 200),
    Method("PiGDM, no backprop", "pigdm", "ancestral", 200, {"backprop": False}),
    Method("TMPD, diagonal (published)", "moment", "ancestral", 200, {"solve": "diagonal"}),
    Method("moment matching, CG, Heun", "moment", "heun", 40),
    Method("moment matching, CG, DPM-Solver++", "moment", "dpm-solver++", 50),
    Method("moment matching, CG, ancestral", "moment", "ancestral", 200),
    Method(
        "DAPS, isotropic (published)",
        "daps",
        "consistency",
        100,
        {"covariance": "isotropic", "flow_steps": 5},
    ),
    Method("DAPS, denoiser's covariance", "daps", "consistency", 60),
    Method("twisted particles (10 x 100)", "twisted", "ancestral", 200),
    Method("DDRM", "ddrm", "ddim", 100),
    Method("RED-diff", "red-diff", "ddim", 300, {"rate": 0.02}),
    Method("ILVR", "ilvr", "ancestral", 200),
]
TITLE = "# Posterior methods against exact posteriors"
FLOOR = "two exact sets (floor)"
COLUMNS = ["prior", "method", "seed", "sliced_w2", "energy", "network_calls", "cpu_s"]


def numbers(name: str, seed: int, *shape: int) -> torch.Tensor:
    """Standard normal numbers of a name and seed."""
    key = keyed.hash_words(keyed.stream_id(name), np.array([seed]))
    return torch.as_tensor(keyed.normal(key, shape), dtype=DOUBLE)[0]


def keys(name: str, seed: int, count: int = SAMPLES) -> np.ndarray:
    """Keys of sample sets."""
    return keyed.hash_words(keyed.stream_id(name), seed, np.arange(count))


def gaussian(seed: int) -> tuple[GaussianMixturePrior, int]:
    """d = 16, mean variance 0.22² as of renders in [−1, 1]; and how many numbers are measured."""
    dim = 16
    rotation = torch.linalg.qr(numbers("rotation", seed, dim, dim))[0]
    values = 1.5 ** -torch.arange(dim, dtype=DOUBLE)
    values = values * (0.22**2 * dim / values.sum())
    return GaussianPrior(0.1 * numbers("mean", seed, dim), rotation @ torch.diag(values) @ rotation.T), 8


def mixture(seed: int) -> tuple[GaussianMixturePrior, int]:
    """25 modes in d = 10."""
    dim, count = 10, 25
    covariances = (0.15**2 * torch.eye(dim, dtype=DOUBLE)).expand(count, dim, dim).clone()
    return GaussianMixturePrior(
        torch.ones(count, dtype=DOUBLE), numbers("modes", seed, count, dim), covariances
    ), 4


PRIORS = {"gaussian": gaussian, "mixture": mixture}


def repetition(prior_name: str, seed: int, done: set[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Rows of one truth, operator and measurement, for methods that are not done yet."""
    prior, measured = PRIORS[prior_name](seed)
    operator = Linear(numbers("operator", seed, measured, prior.dim) / math.sqrt(prior.dim))
    power = (operator.matrix @ prior.covariance() @ operator.matrix.T).diagonal().mean()
    noise = float(power.sqrt()) * 10.0 ** (-SNR_DB / 20.0)
    truth = prior.sample(keys("truth", seed, 1))
    y = operator(truth) + noise * numbers("noise", seed, 1, measured)
    posterior = prior.posterior(y[0], operator, noise)
    spread = float((torch.trace(posterior.covariance()) / prior.dim).sqrt())
    exact = [posterior.sample(keys(f"exact {k}", seed)) for k in range(3)]

    def row(method: str, samples: torch.Tensor, calls: int, seconds: float) -> dict[str, Any]:
        far = [(sliced_wasserstein(samples, each) / spread, energy_distance(samples, each)) for each in exact]
        near, energy = np.mean(far, axis=0)
        return {
            "prior": prior_name, "method": method, "seed": seed, "sliced_w2": round(float(near), 5),
            "energy": round(float(energy), 6), "network_calls": calls, "cpu_s": round(seconds, 3),
        }  # fmt: skip

    rows = []
    if (prior_name, FLOOR, seed) not in done:
        rows.append(row(FLOOR, posterior.sample(keys("another exact", seed)), 0, 0.0))
    measurement = Measurement(y.expand(SAMPLES, -1), operator, noise)
    variance = float(prior.covariance().diagonal().mean())
    for method in METHODS:
        if (prior_name, method.label, seed) in done:
            continue
        calls = 0
        clean = prior.denoiser(PROCESS)

        def denoise(x: torch.Tensor, t: float, clean: Any = clean) -> torch.Tensor:
            nonlocal calls
            calls += 1
            return clean(x, t)

        sampler = Sampler(
            PROCESS, denoise, SOLVERS.create(method.solver), grid(PROCESS, method.steps, "log-snr"),
            data_variance=variance,
        )  # fmt: skip
        term = Term(GUIDANCE.create(method.guidance, **method.options), measurement)
        begun = time.process_time()
        samples = sampler.draw(keys("samples", seed), prior.shape, [term], dtype=DOUBLE)
        rows.append(row(method.label, samples, calls, time.process_time() - begun))
    return rows


def finished(path: Path) -> list[dict[str, Any]]:
    """Rows of earlier sittings."""
    if not path.is_file():
        return []
    kinds = {"sliced_w2": float, "energy": float, "cpu_s": float, "seed": int, "network_calls": int}
    with path.open(newline="") as file:
        return [{k: kinds.get(k, str)(v) for k, v in line.items()} for line in csv.DictReader(file)]


def compute() -> list[dict[str, Any]]:
    """All rows; those of earlier sittings are read back, new ones are written as they come."""
    path = OUT / "rows.csv"
    OUT.mkdir(parents=True, exist_ok=True)
    rows = finished(path)
    done = {(r["prior"], r["method"], r["seed"]) for r in rows}
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not rows:
            writer.writeheader()
        for prior in PRIORS:
            for seed in range(1, REPETITIONS + 1):
                for each in repetition(prior, seed, done):
                    writer.writerow(each)
                    rows.append(each)
                file.flush()
                print(f"{prior} {seed}/{REPETITIONS}", flush=True)
    return rows


def interval(values: list[float]) -> dict[str, Any]:
    """Mean and 95 % bootstrap interval."""
    array = np.asarray(values)
    low, high = percentile_interval(array[resamples(len(array))].mean(1))
    return {"mean": float(array.mean()), "ci95": [low, high]}


def summarise(rows: list[dict[str, Any]]) -> tuple[str, dict[tuple[str, str], Any]]:
    """The table, and (prior, method) → interval of the distance in floors."""
    floors = {(r["prior"], r["seed"]): r["sliced_w2"] for r in rows if r["method"] == FLOOR}
    lines, ratios = [TITLE, "", __doc__.split("\n\n")[2].strip(), ""], {}
    for prior in PRIORS:
        lines += [
            f"## {prior}", "",
            "| method | solver | calls | sliced W2 | x floor [95 %] | energy distance | CPU ms per sample |",
            "|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for label in [FLOOR, *(m.label for m in METHODS)]:
            mine = [r for r in rows if r["prior"] == prior and r["method"] == label]
            ratio = interval([r["sliced_w2"] / floors[prior, r["seed"]] for r in mine])
            ratios[prior, label] = ratio
            solver = next((m.solver for m in METHODS if m.label == label), "")
            mean = lambda key: float(np.mean([r[key] for r in mine]))  # noqa: B023, E731
            lines.append(
                f"| {label} | {solver} | {mean('network_calls'):.0f} | {mean('sliced_w2'):.3f} "
                f"| {ratio['mean']:.2f} [{ratio['ci95'][0]:.2f}, {ratio['ci95'][1]:.2f}] "
                f"| {mean('energy'):.4f} | {mean('cpu_s') / SAMPLES * 1e3:.2f} |"
            )
        lines.append("")
    lines.append(f"n = {REPETITIONS} repetitions of {SAMPLES} samples; bootstrap intervals over repetitions.")
    lines.append("Regenerate: `python experiments/posterior_methods.py`.")
    return "\n".join(lines) + "\n", ratios


def draw(ratios: dict[tuple[str, str], Any], path: Path) -> None:
    """Distances in floors, one panel a prior."""
    figure, axes = plt.subplots(1, len(PRIORS), figsize=(11, 5), sharey=True, layout="constrained")
    labels = [FLOOR, *(m.label for m in METHODS)][::-1]
    for axis, prior in zip(axes, PRIORS, strict=True):
        for height, label in enumerate(labels):
            ratio = ratios[prior, label]
            exact = "covariance" in label or "CG" in label or "twisted" in label
            colour = "black" if label == FLOOR else "tab:blue" if exact else "tab:orange"
            axis.plot(ratio["ci95"], [height, height], color=colour, linewidth=2)
            axis.plot(ratio["mean"], height, "o", color=colour)
        axis.axvline(1.0, color="black", linewidth=0.8)
        axis.axvline(1.2, color="grey", linewidth=0.8, linestyle="--")
        axis.set_xscale("log")
        axis.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
        axis.set_title(f"{prior} prior")
        axis.set_xlabel("distance to the exact posterior, in sampling floors")
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(labels)), labels)
    figure.suptitle(
        "Posterior samplers against exact posteriors (blue: with the denoiser's covariance; dashed: 1.2)"
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Compute what is missing, then the table and the figure."""
    torch.set_num_threads(1)
    text, ratios = summarise(compute())
    (OUT / "summary.md").write_text(text)
    draw(ratios, OUT / "posterior-methods.png")
    print(text)


if __name__ == "__main__":
    main()
