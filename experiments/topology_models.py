"""Relays, gateways, partitions and graphs next to their closed forms: rows, table, figure.

    python experiments/topology_models.py [--out experiments/results/topology-models]

Packets go through the medium, as in a run. What is drawn at random has a standard error from the spread over lanes,
which are independent (over graphs for random graphs); what is certain has none, and has to be met exactly. Distances of
graphs are networkx's, by breadth-first search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import comb
from pathlib import Path

import networkx as nx
import numpy as np
from closed_forms import ROUND_S, Z99, Row, finish, pick, publish, row, spoken
from numpy.typing import NDArray

from agentsc.links.graphs import generated
from agentsc.links.medium import Medium
from agentsc.links.topology import OverTime, metrics
from envs.geometry import Obstacles

HERE = Path(__file__).parent
FLOODED = {"line": "", "ring": "", "grid": "", "erdos-renyi": ",p=0.2,seed=3"}
HOPS = (1, 2, 3, 4, 6, 8)
LINE = ((0.1, 1.0), (0.3, 1.0), (0.1, 0.7))
"""Loss per hop, and probability of sending on."""
START = 30
"""Rounds that are left out of ages."""
LOSSES = {"uplink_loss": 0.15, "backbone_loss": 0.3, "downlink_loss": 0.1}
WAYS_MS = {"uplink_ms": 10.0, "backbone_ms": 80.0, "downlink_ms": 5.0}
DIES_S = 1.5
SPLITS = "2-5/7.5-9"
SIZES = (3, 4, 6, 8, 12, 16, 24, 32)
NODES, EDGES = 10, (0.1, 0.2, 0.3, 0.45)


def received(link: str, agents: int, speaks: NDArray[np.bool_], rounds: int, lanes: int) -> NDArray[np.bool_]:
    """bool [L, rounds, A, A]: what came of every packet, by lane, round of sending, author and receiver.

    Args:
        speaks: bool [A], who sends a packet in each of the rounds.
    """
    medium = Medium(link, 12, range(lanes), agents, ROUND_S)
    found = np.zeros((lanes, rounds, agents, agents), bool)
    all_, nobody = spoken(np.tile(speaks, (lanes, 1))), spoken(np.zeros((lanes, agents), bool))
    for clock in range(rounds + 3 * agents):
        got = medium.deliver(clock)
        found[got.lane, got.sent_clock, got.sender, got.receiver] = True
        medium.transmit(all_ if clock < rounds else nobody, clock)
    if medium.in_flight.any():
        raise RuntimeError(f"packets of {link} are still on their way: the figure would be meaningless")
    return found


def certain(model: str, quantity: str, at: float, measured: float, expected: float, packets: int) -> Row:
    """Something without chance, to nine digits."""
    return Row(model, quantity, at, round(float(measured), 9), 0.0, round(float(expected), 9), packets)


def floods() -> Iterator[Row]:
    """Ordered pairs reached within so many hops, without losses: as breadth-first search has it."""
    agents = 16
    everybody = np.ones(agents, bool)
    for kind, more in FLOODED.items():
        graph = generated(kind, agents, 2, 0.2, 3)
        far = np.full((agents, agents), np.inf)
        for one, lengths in nx.all_pairs_shortest_path_length(graph):
            far[one, list(lengths)] = list(lengths.values())
        for hops in HOPS:
            got = received(f"graph:kind={kind}{more}+relay:hops={hops}", agents, everybody, 1, 1)[0, 0]
            expected = (far > 0) & (far <= hops)
            wrong = int((got != expected).sum())
            yield certain(f"flooding, {kind}", "pairs reached", hops, got.mean(), expected.mean(), got.size)
            yield certain(f"flooding, {kind}", "pairs decided wrongly", hops, wrong, 0, got.size)


def lines() -> Iterator[Row]:
    """Along a line of lossy hops: (1 − e)^h p^(h − 1); age of information, T (1 / q − ½) + h T."""
    lanes, agents, rounds = 500, 7, 240
    first = np.arange(agents) == 0
    for loss, p in LINE:
        model = f"line, e={loss:g}, p={p:g}"
        got = received(f"graph:kind=line+relay:hops=9,p={p}+erasure:p={loss}", agents, first, rounds, lanes)[:, :, 0]
        for hop in range(1, agents):
            share = (1 - loss) ** hop * p ** (hop - 1)
            yield row(model, "arrives", hop, got[:, :, hop].mean(1), share, lanes * rounds)
            # What is newest, hop rounds later, from the moment when a first one is sure to be there.
            newest = np.maximum.accumulate(np.where(got[:, :, hop], np.arange(rounds), -1), axis=1)[:, START:]
            if share > 0.4:  # so that a start is enough: (1 − 0.4)³⁰ is 2e-7
                age = (np.arange(START, rounds) - newest + 0.5).mean(1) + hop
                yield row(model, "age, rounds", hop, age, 1 / share - 0.5 + hop, lanes * (rounds - START))


def rings() -> Iterator[Row]:
    """Across a ring there are two ways, and either will do: 1 − (1 − (1 − e)^h p^(h − 1))²."""
    lanes, rounds, loss = 500, 240, 0.15
    for p in (1.0, 0.6):
        for agents in (4, 6, 8):
            first, hop = np.arange(agents) == 0, agents // 2
            link = f"graph:kind=ring+relay:hops=9,p={p}+erasure:p={loss}"
            got = received(link, agents, first, rounds, lanes)[:, :, 0, hop]
            way = (1 - loss) ** hop * p ** (hop - 1)
            yield row(f"ring, e={loss:g}, p={p:g}", "arrives", hop, got.mean(1), 1 - (1 - way) ** 2, got.size)


def gateways() -> Iterator[Row]:
    """Losses within a region and between two, fates that are shared, delays, and silence while a gateway is dead."""
    lanes, rounds, agents = 1000, 120, 8
    places = np.array([[1, 1], [2, 3], [8, 1], [7, 3], [1, 8], [3, 7], [8, 8], [6, 6]], np.float32)
    position, walls = np.tile(places, (lanes, 1, 1)), Obstacles(bounds=(0, 0, 10, 10))
    options = ",".join(f"{name}={value}" for name, value in (LOSSES | WAYS_MS).items())
    link = f"gateways:count=4,{options},dead=8/8,dies_s={DIES_S}"
    medium = Medium(link, 13, range(lanes), agents, ROUND_S, walls)
    got, delay = np.zeros((rounds, lanes, agents, agents), bool), np.zeros((lanes, agents, agents))
    for clock in range(rounds + 8):
        found = medium.deliver(clock)
        got[found.sent_clock, found.lane, found.sender, found.receiver] = True
        delay[found.lane, found.sender, found.receiver] = 1e3 * (found.arrival_s - found.sent_clock * ROUND_S)
        medium.transmit(spoken(np.full((lanes, agents), clock < rounds)), clock, position)
    up, across, down = (1 - loss for loss in LOSSES.values())
    joint = {
        "within a region": (got[..., 0, 1], up * down),
        "to another region": (got[..., 0, 2], up * across * down),
        "to both in another region": (got[..., 0, 2] & got[..., 0, 3], up * across * down**2),
        "to one here and one there": (got[..., 0, 1] & got[..., 0, 2], up * down * across * down),
        "to two other regions": (got[..., 0, 2] & got[..., 0, 4], up * (across * down) ** 2),
    }
    for at, (name, (rows, expected)) in enumerate(joint.items()):
        yield row("gateways", f"arrives {name}", at, rows.mean(0), expected, rows.size)
    region = np.arange(agents) // 2
    for name, far, expected in (("within", False, 15.0), ("between", True, 95.0)):
        pairs = (np.not_equal.outer(region, region) == far) & ~np.eye(agents, dtype=bool)
        late = delay[:, pairs]
        late = late[late > 0]
        yield certain("gateways", f"delay {name} regions, ms", 0, late.mean(), expected, late.size)
        yield certain("gateways", f"delay {name} regions, spread, ms", 0, np.ptp(late), 0, late.size)
    dead = got[round(DIES_S / ROUND_S) :]
    to, by = dead[..., :6, 6:], dead[..., 6:, :]
    yield certain("gateways", "arrives to a dead region", 0, to.mean(), 0, to.size)
    yield certain("gateways", "arrives from a dead region", 0, by.mean(), 0, by.size)


def partitions() -> Iterator[Row]:
    """A schedule, round by round; random groups, 1 − 1/g; the share of time that the fleet is connected."""
    agents = 8
    medium, over = Medium(f"partition:schedule={SPLITS}", 14, [0], agents, ROUND_S), OverTime(1)
    before, rounds = 0, round(12 / ROUND_S)
    for clock in range(rounds):
        medium.transmit(spoken(np.ones((1, agents), bool)), clock)
        over.take(medium.in_touch(clock), np.ones(1, bool))
        share, before = (medium.lost[0] - before) / (agents * (agents - 1)), medium.lost[0]
        time = clock * ROUND_S
        parted = 2 <= time < 5 or 7.5 <= time < 9
        if clock % 16 == 0:
            yield certain("partition, schedule", "loss", time, share, parted * 32 / 56, agents * (agents - 1))
    connected = over.columns["graph_connected"][0]
    yield certain("partition, schedule", "share of time connected", 0, connected, 1 - 4.5 / 12, rounds)
    lanes, count = 1500, 12
    for groups in (2, 3, 5):
        medium = Medium(f"partition:by=random,groups={groups},every_s=1,lasts_s=0.5", 15, range(lanes), count, ROUND_S)
        lost = []
        for second in (1, 2):
            medium.transmit(spoken(np.ones((lanes, count), bool)), round(second / ROUND_S))
            lost.append(medium.lost - sum(lost, np.zeros(lanes, np.int64)))
        each = np.mean(lost, axis=0) / (count * (count - 1))
        packets = int(medium.decisions.sum())
        yield row("partition, random", "loss", groups, each, 1 - 1 / groups, packets)


def worths() -> Iterator[Row]:
    """λ₂ and diameter of known graphs, as a run measures them; how often random graphs are connected."""
    for n in SIZES:
        known = {
            "ring": (2 - 2 * np.cos(2 * np.pi / n), n // 2),
            "line": (2 - 2 * np.cos(np.pi / n), n - 1),
            "star": (1.0, 2),
            "complete": (float(n), 1),
        }
        for kind, (second, across) in known.items():
            found = metrics(Medium(f"graph:kind={kind}", 1, [0], n, ROUND_S).in_touch(0))
            yield certain(kind, "algebraic connectivity", n, found.algebraic_connectivity[0], second, n * (n - 1))
            yield certain(kind, "diameter", n, found.diameter[0], across, n * (n - 1))
    graphs = 1200
    for p in EDGES:
        reach = [
            Medium(f"graph:kind=erdos-renyi,p={p},seed={seed}", 1, [0], NODES, ROUND_S).in_touch(0)[0]
            for seed in range(graphs)
        ]
        found = metrics(np.array(reach))
        packets = graphs * NODES * (NODES - 1)
        yield row("erdos-renyi", "connected", p, found.connected, connected(NODES, p), packets)
        yield row("erdos-renyi", "mean degree", p, found.mean_degree, p * (NODES - 1), packets)


def connected(n: int, p: float) -> float:
    """Probability that G(n, p) is connected: E. N. Gilbert, Random graphs, Annals of Mathematical Statistics 30
    (1959)."""
    parts = (comb(n - 1, k - 1) * connected(k, p) * (1 - p) ** (k * (n - k)) for k in range(1, n))
    return 1.0 - sum(parts)


MEASUREMENTS: dict[str, Callable[[], Iterator[Row]]] = {
    "floods": floods, "lines": lines, "rings": rings, "gateways": gateways, "partitions": partitions, "worths": worths,
}  # fmt: skip


def draw(rows: list[Row], path: Path) -> None:
    """Measured points with 99 % intervals on their closed forms."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(17, 8), constrained_layout=True)

    def on_line(
        axis: plt.Axes, chosen: list[Row], label: str, colour: str, ls: str = "-", steps: str = "default"
    ) -> None:
        at = [r.at for r in chosen]
        axis.plot(at, [r.expected for r in chosen], ls=ls, drawstyle=steps, color=colour, lw=1)
        errors = [Z99 * r.standard_error for r in chosen]
        axis.errorbar(at, [r.measured for r in chosen], errors, fmt="o", ms=4, capsize=3, color=colour, label=label)

    for number, kind in enumerate(FLOODED):
        on_line(axes[0, 0], pick(rows, f"flooding, {kind}", "pairs reached"), kind, f"C{number}")
    finish(axes[0, 0], "flooding, 16 agents (lines: breadth-first)", "hops", "share of ordered pairs reached")
    for number, (loss, p) in enumerate(LINE):
        model, label = f"line, e={loss:g}, p={p:g}", f"loss {loss:g}, gossip {p:g}"
        on_line(axes[0, 1], pick(rows, model, "arrives"), label, f"C{number}")
        on_line(axes[0, 2], pick(rows, model, "age, rounds"), label, f"C{number}")
    axes[0, 1].set_yscale("log")
    finish(axes[0, 1], "along a line, (1 − e)ʰ pʰ⁻¹", "hops", "share that arrives")
    finish(axes[0, 2], "age of information along a line", "hops", "message rounds")
    for number, p in enumerate((1.0, 0.6)):
        on_line(axes[0, 3], pick(rows, f"ring, e=0.15, p={p:g}", "arrives"), f"loss 0.15, gossip {p:g}", f"C{number}")
    axes[0, 3].set_xticks([2, 3, 4])
    finish(axes[0, 3], "across a ring: two ways", "hops", "share that arrives")
    axis = axes[1, 0]
    chosen = [r for r in rows if r.model == "gateways" and r.standard_error > 0]
    names = [r.quantity.removeprefix("arrives ") for r in chosen]
    axis.barh(names, [r.expected for r in chosen], color="C0", alpha=0.3, label="closed form")
    measured, errors = [r.measured for r in chosen], [Z99 * r.standard_error for r in chosen]
    axis.errorbar(measured, names, xerr=errors, fmt="o", ms=4, capsize=3, color="C0", label="measured")
    finish(axis, "gateways", "share that arrives", "")
    axis = axes[1, 1]
    on_line(axis, pick(rows, "partition, schedule", "loss"), f"schedule={SPLITS}", "C0", steps="steps-post")
    axis.axhline(32 / 56, color="k", ls=":", lw=1, label="pairs in different groups, 32 / 56")
    finish(axis, "a partition that heals", "s", "share lost")
    for number, kind in enumerate(("complete", "ring", "line", "star")):
        on_line(axes[1, 2], pick(rows, kind, "algebraic connectivity"), kind, f"C{number}")
    axes[1, 2].set(xscale="log", yscale="log")
    axes[1, 2].set_xticks(SIZES, [str(n) for n in SIZES])
    axes[1, 2].minorticks_off()
    finish(axes[1, 2], "algebraic connectivity λ₂", "agents", "λ₂")
    p = np.linspace(0.05, 0.6, 60)
    axes[1, 3].plot(p, [connected(NODES, each) for each in p], "C0-", lw=1)
    on_line(axes[1, 3], pick(rows, "erdos-renyi", "connected"), f"G({NODES}, p)", "C0", ls="")
    finish(axes[1, 3], "random graphs (line: Gilbert 1959)", "probability of an edge", "share connected")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    title = "Relays, gateways, partitions and graphs against their closed forms"
    publish(__doc__.splitlines()[0], title, "topology-models", MEASUREMENTS, draw)
