"""Every loss, delay and queue model next to its closed form: rows, table, figure.

    python experiments/link_models.py [--out experiments/results/link-models]

All measurements go through the medium, as in a run. Their standard errors come from the spread over what is
independent (ordered pairs, senders or lanes), so nothing about the model is assumed twice. Queues get one packet per
round with a fixed probability, which is Geo/D/1; its limit for short rounds, M/D/1, is drawn beside it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from closed_forms import ROUND_S, Row, finish, pick, points, publish, ratio, row, spoken
from numpy.typing import NDArray
from scipy import stats

from agentsc.links import LINKS
from agentsc.links.age import AgeOfInformation
from agentsc.links.medium import Medium
from envs import keyed

HERE = Path(__file__).parent
AGENTS = 24
ERASURES = (0.02, 0.1, 0.2, 0.35, 0.5, 0.8)
BURSTY = {
    "gilbert-elliott": "gilbert-elliott:p=0.05,r=0.2",
    "markov": "markov:matrix=0.94/0.05/0.01:0.2/0.7/0.1:0.05/0.15/0.8,loss=0.01/0.4/0.95",
}
LAGS = (1, 2, 4, 8, 16)
DELAYS = {
    "delay:ms=20,jitter_ms=80": stats.uniform(0.02, 0.08).cdf,
    "exponential-delay:mean_ms=40,ms=10": stats.expon(0.01, 0.04).cdf,
    "pareto-delay:ms=20,shape=1.5,cap_ms=2000": lambda x: (1 - (0.02 / x) ** 1.5) / (1 - 0.01**1.5),
}
SLOTS = 8
"""Rounds that it takes to send a packet."""
LOADS, SHORT = (0.3, 0.5, 0.7, 0.85), (0.5, 0.8, 1.0, 1.5)
PLACES = 2
BIT_ERRORS = (0.0003, 0.001, 0.003, 0.01)
PERIODS = ((1, 0.9), (4, 0.9), (4, 0.5), (8, 0.7))


def fates(link: str, rounds: int, octets: int = 8) -> NDArray[np.bool_]:
    """bool [round, ordered pair]: what is lost when everybody speaks every round."""
    medium = Medium(link, 1, [0], AGENTS, ROUND_S)
    packets = spoken(np.ones((1, AGENTS), bool), octets)
    lost = np.empty((rounds, AGENTS * (AGENTS - 1)), bool)
    for clock in range(rounds):
        medium.deliver(clock)
        medium.transmit(packets, clock)
        lost[clock] = medium.transmissions(0).lost
    return lost


def erasures() -> Iterator[Row]:
    """Loss."""
    for p in ERASURES:
        lost = fates(f"erasure:p={p}", 400)
        yield row("erasure", "loss", p, lost.mean(0), p, lost.size)


def chain(name: str) -> tuple[NDArray, NDArray]:
    """Transition matrix and losses of a bursty model."""
    if name == "markov":
        link = LINKS.parse(BURSTY[name])
        return np.array(link.matrix), np.array(link.loss)
    return np.array([[0.95, 0.05], [0.2, 0.8]]), np.array([0.0, 1.0])


def bursts() -> Iterator[Row]:
    """Loss, autocorrelation and lengths of bursts."""
    for name, spec in BURSTY.items():
        matrix, loss = chain(name)
        values, vectors = np.linalg.eig(matrix.T)
        law = np.real(vectors[:, np.argmax(np.real(values))])
        law /= law.sum()
        mean = float(law @ loss)
        lost = fates(spec, 1000)
        yield row(name, "loss", 0, lost.mean(0), mean, lost.size)
        centred = lost - mean
        for lag in LAGS:
            each = (centred[lag:] * centred[:-lag]).mean(0) / (mean * (1 - mean))
            covariance = (law * loss) @ np.linalg.matrix_power(matrix, lag) @ loss - mean**2
            yield row(name, "autocorrelation", lag, each, covariance / (mean * (1 - mean)), lost.size)
        yield from burst_lengths(name, lost, matrix, loss, law)


def burst_lengths(name: str, lost: NDArray, matrix: NDArray, loss: NDArray, law: NDArray) -> Iterator[Row]:
    """Share of bursts of each length, among those that begin early enough to end in the record."""
    longest = 12
    begins = ~lost[: -longest - 1] & lost[1:-longest]
    running, found = begins.copy(), []
    for step in range(1, longest + 1):
        ends = running & ~lost[1 + step : len(lost) - longest + step]
        found.append(ends.sum(0))
        running &= ~ends
    total = begins.sum(0)
    arriving = (law * (1 - loss)) @ matrix  # in each state, the packet before having come through
    arriving /= (arriving * loss).sum()
    for step, count in enumerate(found, 1):
        share = (
            arriving * loss @ np.linalg.matrix_power(matrix @ np.diag(loss), step - 1) @ matrix @ (1 - loss)
        )
        yield ratio(name, "burst length", step, count, total, float(share))._replace(packets=lost.size)


def waits(link: str, rounds: int = 220) -> NDArray[np.float64]:
    """Seconds from sending to arrival of everything that arrives."""
    medium = Medium(link, 2, [0], AGENTS, ROUND_S)
    packets, found = spoken(np.ones((1, AGENTS), bool)), []
    for clock in range(rounds):
        medium.deliver(clock)
        medium.transmit(packets, clock)
        log = medium.transmissions(0)
        found.append((log.arrival_s - log.sent_s)[~log.lost])
    return np.concatenate(found)


def delays() -> Iterator[Row]:
    """Distribution functions at nine quantiles, and Kolmogorov and Smirnov's largest distance."""
    for spec, cdf in DELAYS.items():
        wait = np.sort(waits(spec))
        for at in np.quantile(wait, np.arange(1, 10) / 10).round(4):
            share, expected = float((wait <= at).mean()), float(cdf(at))
            error = math.sqrt(expected * (1 - expected) / len(wait))
            yield Row(spec, "distribution", float(at), share, error, expected, len(wait))
        test = stats.kstest(wait, cdf)
        # As many standard errors as make the same two-sided probability.
        size = float(stats.norm.isf(test.pvalue / 2))
        yield Row(
            spec, "Kolmogorov–Smirnov", 0, float(test.statistic), float(test.statistic) / size, 0.0, len(wait)
        )


def copies() -> Iterator[Row]:
    """Copies per packet, and their loss behind another link."""
    lanes = 200
    medium = Medium("duplicate:p=0.3,ms=50+erasure:p=0.2", 3, range(lanes), 6, ROUND_S)
    packets = spoken(np.ones((lanes, 6), bool))
    for clock in range(30):
        medium.transmit(packets, clock)
    books = medium.books
    yield ratio("duplicate", "copies per packet", 0.3, books.duplicated, books.offered, 0.3)
    yield ratio(
        "duplicate", "loss of packets and copies", 0.3, books.lost, books.offered + books.duplicated, 0.2
    )


def traces() -> Iterator[Row]:
    """Loss and delay over time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.csv"
        turns = np.arange(300)
        rows = np.stack([turns * 0.1, (turns % 7 == 0) * 0.9, 5.0 + turns % 50], axis=1)
        np.savetxt(path, rows, fmt="%g", delimiter=",", header="time_s,loss,delay_ms", comments="")
        medium = Medium(f"trace:path={path}", 4, [0], AGENTS, ROUND_S)
        packets, lost, wait = spoken(np.ones((1, AGENTS), bool)), [], []
        for clock in range(960):  # 30 s, the length of the recording
            medium.deliver(clock)
            medium.transmit(packets, clock)
            log = medium.transmissions(0)
            lost.append(log.lost)
            wait.append(log.arrival_s - log.sent_s)
    fate = np.array(lost)
    yield row("trace", "loss", 0, fate.mean(0), float(rows[:, 1].mean()), fate.size)
    kept = 1 - rows[:, 1]
    expected = float((kept * rows[:, 2]).sum() / kept.sum() * 1e-3)
    yield ratio("trace", "delay, s", 0, np.nansum(np.array(wait), axis=0), (~fate).sum(0), expected)


class Queued(NamedTuple):
    """Counts [L] of one queue's lanes. wait_s: in the queue, summed over the packets that were sent."""

    offered: NDArray
    lost: NDArray
    sent: NDArray
    wait_s: NDArray


def queued(load: float, places: int, drop: str, rounds: int = 3600) -> Queued:
    """A queue in its stationary state."""
    lanes, agents = 384, 2
    # An endless queue forgets its beginning with this time constant (Abate and Whitt 1988); a short one sooner.
    memory = SLOTS / (1 - math.sqrt(load)) ** 2 if places > PLACES else SLOTS * (places + 1)
    warm = int(5 * memory)
    rate = 64 / (SLOTS * ROUND_S) / 1e3
    link = f"bandwidth:kbps={rate!r},queue={places},drop={drop}"
    medium = Medium(link, 5, range(lanes), agents, ROUND_S)
    wait, sent, before = np.zeros(lanes), np.zeros(lanes), np.zeros((2, lanes))
    octets = np.arange(lanes * agents).reshape(lanes, agents)
    stream = keyed.stream_id(f"arrivals {load}")
    for clock in range(warm + rounds):
        found = medium.deliver(clock)
        if clock >= warm:
            late = found.arrival_s - found.sent_clock * ROUND_S - SLOTS * ROUND_S
            wait += np.bincount(found.lane, weights=late, minlength=lanes)
            sent += np.bincount(found.lane, minlength=lanes)
        if clock == warm:
            before = np.array([medium.decisions, medium.lost])
        medium.transmit(spoken(keyed.uniform(6, stream, clock, octets) < load / SLOTS), clock)
    offered, lost = np.array([medium.decisions, medium.lost]) - before
    return Queued(offered, lost, sent, wait)


def workload(load: float, places: int) -> NDArray:
    """Stationary law of the rounds of work that a packet finds, in Geo/D/1 with ``places`` to wait."""
    most = (places + 1) * SLOTS
    step = np.zeros((most + 1, most + 1))
    for work in range(most + 1):
        step[work, max(work - 1, 0)] += 1 - load / SLOTS
        room = work <= places * SLOTS
        step[work, max(work + SLOTS * room - 1, 0)] += load / SLOTS
    system = np.vstack([step.T - np.eye(most + 1), np.ones(most + 1)])
    return np.linalg.lstsq(system, np.append(np.zeros(most + 1), 1.0), rcond=None)[0]


def queues() -> Iterator[Row]:
    """Waiting without losses, and losses of short queues."""
    for load in LOADS:
        found = queued(load, 4096, "tail")
        # Mean workload found: λ (E[S²] − E[S]) / (2 (1 − ρ)), Meisling 1958.
        expected = load * (SLOTS - 1) / (2 * (1 - load)) * ROUND_S
        yield ratio("bandwidth", "wait, s", load, found.wait_s, found.sent, expected)
    for drop in ("tail", "head"):
        for load in SHORT:
            law = workload(load, PLACES)
            found = queued(load, PLACES, drop)
            full = float(law[PLACES * SLOTS + 1 :].sum())
            yield ratio(f"bandwidth {drop}", "loss", load, found.lost, found.offered, full)
            if drop == "tail":
                accepted = law[: PLACES * SLOTS + 1]
                expected = float(accepted @ np.arange(len(accepted)) / accepted.sum()) * ROUND_S
                yield ratio("bandwidth tail", "wait, s", load, found.wait_s, found.sent, expected)


def bit_errors() -> Iterator[Row]:
    """Loss of packets of n bits, 1 − (1 − p)^n."""
    for octets in (8, 32):
        for p in BIT_ERRORS:
            lost = fates(f"bit-errors:p={p}", 400, octets)
            yield row(f"bit-errors n={8 * octets}", "loss", p, lost.mean(0), 1 - (1 - p) ** (8 * octets), lost.size)


def ages() -> Iterator[Row]:
    """Mean age of information of periodic updates, T (1 / q − ½) + D."""
    lanes, agents, late = 60, 6, 2
    for period, q in PERIODS:
        medium = Medium(
            f"erasure:p={1 - q}+delay:ms={1e3 * late * ROUND_S}", 7, range(lanes), agents, ROUND_S
        )
        age = AgeOfInformation(lanes, agents, ROUND_S)
        warm, rounds = 40 * period, 80 * period
        all_, nobody = spoken(np.ones((lanes, agents), bool)), spoken(np.zeros((lanes, agents), bool))
        before = (np.zeros(lanes), np.zeros(lanes))
        for clock in range(warm + rounds + 1):
            age.update(medium.deliver(clock), clock)
            if clock == warm:
                before = age.totals(clock)
            medium.transmit(nobody if clock % period else all_, clock)
        (area, time), (area0, time0) = age.totals(warm + rounds), before
        expected = (period * (1 / q - 0.5) + late) * ROUND_S
        each = (area - area0) / (time - time0)
        yield row(f"age T={period}", "age of information, s", q, each, expected, int(medium.decisions.sum()))


MEASUREMENTS: dict[str, Callable[[], Iterator[Row]]] = {
    "erasures": erasures, "bursts": bursts, "delays": delays, "copies": copies, "traces": traces,
    "queues": queues, "ages": ages, "bit errors": bit_errors,
}  # fmt: skip


def md1k(load: float, places: int) -> float:
    """Loss of M/D/1/K, K = places + 1: O. Brun and J.-M. Garcia, Analytical solution of finite capacity M/D/1
    queues, Journal of Applied Probability 37 (2000)."""
    top = places
    b = sum(
        (-1) ** k / math.factorial(k) * ((top - k) * load) ** k * math.exp((top - k) * load)
        for k in range(top + 1)
    )
    return 1 - b / (1 + load * b)


def draw(rows: list[Row], path: Path) -> None:
    """Measured points with 99 % intervals on their closed forms."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(17, 8), constrained_layout=True)

    axis = axes[0, 0]
    axis.plot([0, 1], [0, 1], "k-", lw=1, label="p")
    points(axis, pick(rows, "erasure", "loss"), "erasure", "C0")
    finish(axis, "loss", "p", "share lost")
    for axis, quantity, x in (
        (axes[0, 1], "autocorrelation", "packets apart"),
        (axes[0, 2], "burst length", "packets"),
    ):
        for colour, name in zip(("C0", "C1"), BURSTY, strict=True):
            chosen = pick(rows, name, quantity)
            axis.plot([r.at for r in chosen], [r.expected for r in chosen], "-", color=colour, lw=1)
            points(axis, chosen, name, colour)
        axis.set_yscale("log")
        finish(axis, quantity, x, "correlation" if quantity == "autocorrelation" else "share of bursts")
    axis = axes[0, 3]
    for colour, (spec, cdf) in zip(("C0", "C1", "C2"), DELAYS.items(), strict=True):
        chosen = pick(rows, spec, "distribution")
        time = np.geomspace(chosen[0].at / 1.3, chosen[-1].at * 3, 300)
        axis.plot(1e3 * time, np.clip(cdf(time), 0, 1), "-", color=colour, lw=1)
        points(axis, [r._replace(at=1e3 * r.at) for r in chosen], spec.partition(":")[0], colour)
    axis.set_xscale("log")
    finish(axis, "delay", "ms", "share arrived")
    axis = axes[1, 0]
    load = np.linspace(0.05, 0.9, 100)
    axis.plot(load, load * (SLOTS - 1) / (2 * (1 - load)) * ROUND_S, "C0-", lw=1, label="Geo/D/1")
    axis.plot(load, load * SLOTS / (2 * (1 - load)) * ROUND_S, "k:", lw=1, label="M/D/1")
    points(axis, pick(rows, "bandwidth", "wait, s"), "bandwidth", "C0")
    finish(axis, "waiting in a long queue", "load ρ", "s")
    axis = axes[1, 1]
    load = np.linspace(0.2, 1.6, 60)
    axis.plot(
        load, [workload(x, PLACES)[PLACES * SLOTS + 1 :].sum() for x in load], "C0-", lw=1, label="Geo/D/1/K"
    )
    axis.plot(load, [md1k(x, PLACES) for x in load], "k:", lw=1, label="M/D/1/K")
    points(axis, pick(rows, "bandwidth tail", "loss"), "tail drop", "C0")
    points(axis, [r._replace(at=r.at + 0.015) for r in pick(rows, "bandwidth head", "loss")], "head drop", "C1")
    finish(axis, f"loss of a queue with {PLACES} places", "load ρ", "share lost")
    axis = axes[1, 2]
    for colour, period in zip(("C0", "C1", "C2"), sorted({period for period, _ in PERIODS}), strict=True):
        q = np.linspace(0.4, 1.0, 60)
        axis.plot(q, (period * (1 / q - 0.5) + 2) * ROUND_S, "-", color=colour, lw=1)
        points(axis, pick(rows, f"age T={period}", "age of information, s"), f"every {period} rounds", colour)
    finish(axis, "age of information", "delivery probability q", "s")
    axis = axes[1, 3]
    size = np.sort([r.z for r in rows])
    at = stats.norm.ppf((np.arange(len(size)) + 0.5) / len(size))
    axis.plot([-3, 3], [-3, 3], "k-", lw=1, label="normal")
    axis.plot(at, size, "o", ms=3, color="C0", label="all rows")
    finish(axis, "distance from the closed form", "normal quantile", "standard errors")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    publish(__doc__.splitlines()[0], "Link models against their closed forms", "link-models", MEASUREMENTS, draw)
