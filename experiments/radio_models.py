"""Radios, access to the medium and topologies next to their closed forms: rows, table, figure.

    python experiments/radio_models.py [--out experiments/results/radio-models]

Packets go through the medium, as in a run; bit errors are counted on symbols, modulated, sent through the analog
channel and demodulated. Standard errors come from the spread over lanes, or over blocks of symbols, which are
independent.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from link_models import ROUND_S, Z99, Row, ratio, row, spoken, summary, write
from numpy.typing import NDArray
from scipy import integrate, special, stats

from agentsc.links import Draw, parse_link
from agentsc.links.hop import Hop, Pairs, Surroundings
from agentsc.links.medium import Medium, Packets
from agentsc.links.packets import Held
from agentsc.links.radio.analog import AnalogChannel
from agentsc.links.radio.budget import shadow_field
from agentsc.links.radio.modulation import BITS, bit_error_rate, demodulate, modulate, rayleigh_bit_error_rate
from agentsc.links.radio.packet_error import finite_blocklength, uncoded
from envs import keyed

HERE = Path(__file__).parent
LANES, AGENTS = 300, 6
THRESHOLDS_DB = (-2.0, 3.0, 6.0, 8.0)
LEVELS_DB = {"bpsk": (0.0, 4.0, 7.0), "qpsk": (3.0, 7.0, 10.0), "16qam": (8.0, 13.0, 16.0), "64qam": (12.0, 18.0, 22.0)}
DISTANCES = (0.05, 0.1, 0.2, 0.3, 0.45)
LENGTH = 64
"""Bits of a packet."""


def ratio_of(level_db: float) -> float:
    """Decibels as a ratio."""
    return float(10.0 ** (0.1 * level_db))


def losses(
    link: str, rounds: int = 40, lanes: int = LANES, agents: int = AGENTS, places: NDArray | None = None,
    speaks: NDArray | None = None,
) -> Medium:  # fmt: skip
    """A medium after everybody, or those marked in [A], spoke every round, and after everything has landed."""
    medium = Medium(link, 11, range(lanes), agents, ROUND_S)
    marked = np.ones((lanes, agents), bool) if speaks is None else np.tile(speaks, (lanes, 1))
    spots = None if places is None else np.tile(places.astype(np.float32), (lanes, 1, 1))
    packets, nobody = spoken(marked), spoken(np.zeros((lanes, agents), bool))
    for clock in range(rounds):
        medium.deliver(clock)
        medium.transmit(packets, clock, spots)
    for clock in range(rounds, rounds + 40):
        medium.deliver(clock)
        medium.transmit(nobody, clock, spots)
    return medium


def lost(model: str, quantity: str, at: float, medium: Medium, expected: float) -> Row:
    """Share lost."""
    return ratio(model, quantity, at, medium.lost, medium.decisions, expected)


def outages() -> Iterator[Row]:
    """Lost below a threshold, Rayleigh and Rician."""
    for level in THRESHOLDS_DB:
        x = ratio_of(level - 8.0)
        link = f"snr_db=8,decoding=threshold,threshold_db={level}"
        yield lost("rayleigh", "outage", level, losses(f"rayleigh:{link}"), 1.0 - math.exp(-x))
        for k_db in (0.0, 8.0):
            k = ratio_of(k_db)
            expected = float(stats.ncx2.cdf(2.0 * (1.0 + k) * x, 2, 2.0 * k))
            yield lost(f"rician K={k_db:g} dB", "outage", level, losses(f"rician:k_db={k_db},{link}"), expected)


def packets() -> Iterator[Row]:
    """Packet error, uncoded and by the finite-blocklength bound, without and with Rayleigh fading."""
    exponential = stats.expon.pdf
    for modulation, levels in LEVELS_DB.items():
        for level in levels[1:]:
            gamma = ratio_of(level)
            link = f"snr_db={level},modulation={modulation}"
            expected = float(uncoded(bit_error_rate(gamma, modulation), LENGTH))
            yield lost(f"awgn {modulation}", "packet error", level, losses(f"awgn:{link}"), expected)
    for level in (5.0, 10.0, 15.0):
        for decoding, error in (
            ("uncoded", lambda g: uncoded(bit_error_rate(g, "qpsk"), LENGTH)),
            ("finite-blocklength", lambda g: finite_blocklength(np.array([[g]]), LENGTH, 1.0)[0]),
        ):
            mean = ratio_of(level)
            expected = integrate.quad(lambda x, e=error, m=mean: e(m * x) * exponential(x), 0, 40, limit=400)[0]
            medium = losses(f"rayleigh:snr_db={level},decoding={decoding}")
            yield lost(f"rayleigh {decoding}", "packet error", level, medium, float(expected))


def bits() -> Iterator[Row]:
    """Bit error rates of symbols through the analog channel; OFDM's subcarriers fade by Rayleigh."""
    blocks, symbols = 4000, 48
    for modulation, levels in LEVELS_DB.items():
        for level in levels:
            for channel, closed in (
                ("awgn", bit_error_rate), ("rayleigh", rayleigh_bit_error_rate), ("ofdm", rayleigh_bit_error_rate),
            ):  # fmt: skip
                sent = keyed.uniform(3, np.arange(blocks)[:, None], np.arange(symbols * BITS[modulation])) < 0.5
                found = AnalogChannel(f"{channel}:snr_db={level}", 5).send(modulate(sent, modulation))
                wrong = demodulate(found.symbols / found.gain, modulation) != sent
                expected = float(closed(ratio_of(level), modulation))
                yield row(f"{channel} {modulation}", "bit error rate", level, wrong.mean(1), expected, wrong.size)


def wrong_bits() -> Iterator[Row]:
    """Packets with wrong bits, of which the checksum lets a few pass."""
    data = np.zeros((LANES * AGENTS, 12), np.uint8)
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((LANES, AGENTS)))
    for level in (2.0, 5.0):
        medium = Medium(f"awgn:snr_db={level},residual=true", 11, range(LANES), AGENTS, ROUND_S)
        for clock in range(40):
            medium.deliver(clock)
            medium.transmit(Packets(lane, sender, data, np.full(len(lane), 96, np.int32)), clock)
        books = medium.books
        error = float(uncoded(bit_error_rate(ratio_of(level), "qpsk"), 96))
        touched = books.by_reason["crc"] + books.undetected
        yield ratio("awgn residual", "packets with wrong bits", level, touched, books.offered, error)


def moving() -> Iterator[Row]:
    """Clarke's model: power when one end moves, the field when both do, J₀²; shadowing: e^(−d/d₀)."""
    lanes, wavelength = 120_000, 0.1
    link = parse_link(f"rayleigh:snr_db=0,coherence=motion,carrier_ghz={299_792_458.0 / wavelength / 1e9!r}")[0]
    seeds = keyed.hash_words(9, np.arange(lanes))
    lane, one = np.arange(lanes, dtype=np.int32), np.ones(lanes, np.int32)
    held = Held.new(lane, 0 * one, 0 * one, np.zeros((lanes, 1), np.uint8), one, np.zeros(lanes))
    pairs = Pairs(lane, one)
    start = np.stack([np.zeros((lanes, 2)), np.full((lanes, 2), 3.0)], 1)

    def gain(shift: float, other: float = 0.0) -> NDArray:
        spots = start + np.array([[shift, 0.0], [0.6 * other, 0.8 * other]])
        hop = Hop(held, pairs, Surroundings(2, spots))
        return link.channel(hop, Draw(hop, seeds))  # type: ignore[attr-defined]

    first = gain(0.0)
    power = np.abs(first) ** 2
    yield row("clarke", "mean power", 0.0, power, 1.0, lanes)
    yield row("clarke", "mean square of power", 0.0, power**2, 2.0, lanes)
    for share in DISTANCES:
        expected = float(special.j0(2.0 * np.pi * share) ** 2)
        there = np.abs(gain(share * wavelength)) ** 2
        yield row("clarke", "correlation of power", share, (power - 1.0) * (there - 1.0), expected, lanes)
        both = (first * gain(share * wavelength, share * wavelength).conj()).real
        yield row("clarke", "correlation, both ends move", share, both, expected, lanes)
    for metres in (0.0, 2.0, 10.0, 30.0):
        spots = np.tile(np.array([[0.0, 0.0], [0.6 * metres, 0.8 * metres]]), (lanes, 1, 1))
        field = np.concatenate(
            [shadow_field(seeds[part], spots[part], 10.0) for part in np.array_split(np.arange(lanes), 20)]
        )
        expected = math.exp(-metres / 10.0)
        yield row("shadowing", "correlation", metres, field[:, 0] * field[:, 1], expected, lanes)


def interference() -> Iterator[Row]:
    """Two senders at once, both fading by Rayleigh: outage 1 − e^(−x N/S) / (1 + x I/S) at the threshold x."""
    places = np.array([[0.0, 0.0], [30.0, 0.0], [10.0, 0.0]])
    speaks = np.array([True, True, False])
    for level in (0.0, 5.0):
        link = (
            f"half-duplex+rayleigh:tx_dbm=-20,carrier_ghz=2.4,exponent=3,decoding=threshold,threshold_db={level}"
        )
        medium = Medium(link, 11, range(1), 3, ROUND_S)
        radio = medium.links[1]
        signal, other = (radio.tx_dbm - radio.near_db - 30.0 * math.log10(d) for d in (10.0, 20.0))  # type: ignore[attr-defined]
        x, noise = ratio_of(level), 10.0 * math.log10(radio.noise_mw)  # type: ignore[attr-defined]
        near = 1.0 - math.exp(-x * ratio_of(noise - signal)) / (1.0 + x * ratio_of(other - signal))
        far = 1.0 - math.exp(-x * ratio_of(noise - other)) / (1.0 + x * ratio_of(signal - other))
        medium = losses(link, rounds=60, lanes=1000, agents=3, places=places, speaks=speaks)
        books = medium.books
        count = books.by_reason["interference"] + books.by_reason["fading"]
        # Each of the two is also offered to the other one, which is sending and hears nothing.
        yield ratio("interference", "outage", level, count, books.offered // 2, 0.5 * (near + far))


def aloha() -> Iterator[Row]:
    """Throughput of ALOHA, and its limits e^(−G) and e^(−2G)."""
    lanes, agents = 150, 12
    for slots in (6, 12, 24):
        rate = 64.0 / (ROUND_S / slots) / 1e3
        link = f"slotted-aloha:kbps={rate!r},slot_ms={1e3 * ROUND_S / slots!r},slots={slots}"
        medium = losses(link, rounds=20, lanes=lanes, agents=agents)
        expected = 1.0 - (1.0 - 1.0 / slots) ** (agents - 1)
        yield lost("slotted ALOHA", "loss", agents / slots, medium, expected)
    for length in (0.02, 0.04, 0.08):
        medium = losses(f"pure-aloha:kbps={64.0 / (length * ROUND_S) / 1e3!r}", rounds=60, lanes=lanes, agents=agents)
        # Another packet of the round before or after matters at the edges: averaged over where the packet begins.
        edge = integrate.quad(
            lambda u, a=length: ((1 - (a - u)) * (1 - (a + u))) ** (agents - 1), 0, length
        )[0]
        expected = 1.0 - ((1.0 - 2.0 * length) * (1.0 - 2.0 * length) ** (agents - 1) + 2.0 * edge)
        yield lost("pure ALOHA", "loss", agents * length, medium, expected)


def bianchi(count: int, window: int, airtime: float, wait: float, slot: float) -> tuple[float, float]:
    """Probability that a packet collides, and share of time that carries packets which do not."""
    tau = 2.0 / (window + 2)
    busy = 1.0 - (1.0 - tau) ** count
    single = count * tau * (1.0 - tau) ** (count - 1)
    return 1.0 - (1.0 - tau) ** (count - 1), single * airtime / ((1.0 - busy) * slot + busy * (airtime + wait))


def carrier_sense() -> Iterator[Row]:
    """Radios that always have a packet, against Bianchi's model with one stage of back-off."""
    lanes, rounds, warm, window, wait, slot = 64, 300, 40, 15, 58e-6, 13e-6
    airtime = ROUND_S / 2
    for count in (3, 6, 12):
        link = f"csma:kbps={64.0 / airtime / 1e3!r},queue=4096,cw={window}"
        medium = Medium(link, 13, range(lanes), count, ROUND_S)
        packets = spoken(np.ones((lanes, count), bool))
        before = np.zeros((2, lanes))
        for clock in range(warm + rounds):
            medium.deliver(clock)
            if clock == warm:
                before = np.array([medium.delivered, medium.lost])
            medium.transmit(packets, clock)
        delivered, gone = np.array([medium.delivered, medium.lost]) - before
        collides, carried = bianchi(count, window, airtime, wait, slot)
        found = ratio("CSMA", "collision", count, gone, delivered + gone, collides)
        yield found._replace(packets=int(medium.decisions.sum()))
        each = delivered / (count - 1) * airtime / ((rounds - 1) * ROUND_S)
        yield row("CSMA", "throughput", count, each, carried, int(medium.decisions.sum()))


def slots() -> Iterator[Row]:
    """Deafness of half-duplex radios that start within a jitter."""
    for share in (0.1, 0.3):
        jitter = 0.8 * ROUND_S
        link = f"half-duplex:kbps={64.0 / (share * jitter) / 1e3!r},jitter_ms={1e3 * jitter!r}"
        medium = losses(link, rounds=30, lanes=4000, agents=2)
        yield lost("half-duplex", "loss", share, medium, 1.0 - (1.0 - share) ** 2)


def relays() -> Iterator[Row]:
    """What floods along a line, packet by hop, over lossy links; gateways."""
    lanes, agents, p = 400, 6, 0.2
    medium = Medium(f"graph:kind=line+relay:hops=8+erasure:p={p}", 11, range(lanes), agents, ROUND_S)
    speaks = np.zeros((lanes, agents), bool)
    speaks[:, 0] = True
    received = np.zeros((lanes, agents))
    rounds = 64
    for clock in range(rounds + 12):
        found = medium.deliver(clock)
        np.add.at(received, (found.lane, found.receiver), 1)
        medium.transmit(spoken(speaks if clock < rounds else 0 * speaks > 0), clock)
    for hop in range(1, agents):
        found_row = row("relay on a line", "arrives", hop, received[:, hop] / rounds, (1 - p) ** hop, 0)
        yield found_row._replace(packets=int(medium.books.whole.sum()))
    places = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [9.0, 1.0], [10.0, 2.0], [9.5, 3.0]])
    link = "gateways:metres=4,uplink_loss=0.1,backbone_loss=0.3,downlink_loss=0.2"
    medium = losses(link, places=places)
    within, between = 0.9 * 0.8, 0.9 * 0.7 * 0.8
    yield lost("gateways", "loss", 4.0, medium, 1.0 - (2 * within + 3 * between) / 5)


MEASUREMENTS: dict[str, Callable[[], Iterator[Row]]] = {
    "outages": outages, "packets": packets, "bits": bits, "wrong bits": wrong_bits, "moving": moving,
    "interference": interference, "aloha": aloha, "carrier sense": carrier_sense, "slots": slots, "relays": relays,
}  # fmt: skip


def draw(rows: list[Row], path: Path) -> None:
    """Measured points with 99 % intervals on their closed forms."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(17, 8), constrained_layout=True)

    def points(axis: plt.Axes, chosen: list[Row], label: str, colour: str) -> None:
        errors = [Z99 * r.standard_error for r in chosen]
        at, measured = [r.at for r in chosen], [r.measured for r in chosen]
        axis.errorbar(at, measured, errors, fmt="o", ms=4, capsize=3, color=colour, label=label)

    def pick(model: str, quantity: str) -> list[Row]:
        return [r for r in rows if r.model == model and r.quantity == quantity]

    def finish(axis: plt.Axes, title: str, x: str, y: str) -> None:
        axis.set(title=title, xlabel=x, ylabel=y)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)

    axis = axes[0, 0]
    level = np.linspace(-4, 10, 100)
    x = 10.0 ** (0.1 * (level - 8.0))
    curves = {"rayleigh": 1.0 - np.exp(-x)}
    for k_db in (0.0, 8.0):
        k = ratio_of(k_db)
        curves[f"rician K={k_db:g} dB"] = stats.ncx2.cdf(2.0 * (1.0 + k) * x, 2, 2.0 * k)
    for colour, (name, curve) in zip(("C0", "C1", "C2"), curves.items(), strict=True):
        axis.plot(level, curve, "-", color=colour, lw=1)
        points(axis, pick(name, "outage"), name, colour)
    finish(axis, "outage at a mean of 8 dB", "threshold, dB", "share lost")
    for axis, channel, closed in (
        (axes[0, 1], "awgn", bit_error_rate), (axes[0, 2], "rayleigh", rayleigh_bit_error_rate),
    ):  # fmt: skip
        level = np.linspace(-1, 24, 200)
        for colour, name in zip(("C0", "C1", "C2", "C3"), BITS, strict=True):
            curve = closed(10.0 ** (0.1 * level), name)
            axis.plot(level[curve > 1e-5], curve[curve > 1e-5], "-", color=colour, lw=1)
            points(axis, pick(f"{channel} {name}", "bit error rate"), name, colour)
        axis.set_yscale("log")
        finish(axis, f"bit error rate, {channel}", "E_s/N_0, dB", "bit error rate")
    axis = axes[0, 3]
    share = np.linspace(0, 0.5, 100)
    axis.plot(share, special.j0(2.0 * np.pi * share) ** 2, "C0-", lw=1, label="J₀²(2π d/λ)")
    points(axis, pick("clarke", "correlation of power"), "of power, one end moves", "C0")
    points(axis, pick("clarke", "correlation, both ends move"), "of the field, both ends move", "C2")
    axis.plot(share, np.exp(-60 * share / 10.0), "C1-", lw=1, label="exp(−d/d₀), d = 60 × abscissa, m")
    points(axis, [r._replace(at=r.at / 60) for r in pick("shadowing", "correlation")], "shadowing", "C1")
    finish(axis, "correlation over displacement", "d / λ", "correlation")
    axis = axes[1, 0]
    load = np.linspace(0.1, 2.2, 100)
    axis.plot(load, 1.0 - np.exp(-load), "C0:", lw=1, label="1 − e^(−G)")
    axis.plot(load, 1.0 - np.exp(-2.0 * load), "C1:", lw=1, label="1 − e^(−2G)")
    for colour, name in (("C0", "slotted ALOHA"), ("C1", "pure ALOHA")):
        chosen = pick(name, "loss")
        axis.plot([r.at for r in chosen], [r.expected for r in chosen], "x", color="k", ms=7)
        points(axis, chosen, name, colour)
    finish(axis, "ALOHA, 12 radios (×: exact)", "load G", "share lost")
    axis = axes[1, 1]
    counts = np.arange(2, 16)
    both = np.array([bianchi(int(n), 15, ROUND_S / 2, 58e-6, 13e-6) for n in counts])
    for colour, quantity, curve in (("C0", "collision", both[:, 0]), ("C1", "throughput", both[:, 1])):
        axis.plot(counts, curve, "-", color=colour, lw=1)
        points(axis, pick("CSMA", quantity), quantity, colour)
    finish(axis, "CSMA, saturated (lines: Bianchi)", "radios", "probability, share of time")
    axis = axes[1, 2]
    hop = np.arange(1, 6)
    axis.plot(hop, 0.8**hop, "C0-", lw=1, label="(1 − p)^h")
    points(axis, pick("relay on a line", "arrives"), "relay, p = 0.2", "C0")
    finish(axis, "flooding along a line", "hops", "share that arrives")
    axis = axes[1, 3]
    size = np.sort([r.z for r in rows])
    at = stats.norm.ppf((np.arange(len(size)) + 0.5) / len(size))
    axis.plot([-3, 3], [-3, 3], "k-", lw=1, label="normal")
    axis.plot(at, size, "o", ms=3, color="C0", label="all rows")
    finish(axis, "distance from the closed form", "normal quantile", "standard errors")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "radio-models", help="folder for the results")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rows = [found for measure in MEASUREMENTS.values() for found in measure()]
    write(rows, out)
    page = summary(rows, "Radios, access and topologies against their closed forms", "radio-models")
    (out / "summary.md").write_text(page, encoding="utf-8")
    draw(rows, out / "radio-models.png")
    print(page)


if __name__ == "__main__":
    main()
