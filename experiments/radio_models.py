"""Radios next to their closed forms: rows, table, figure.

    python experiments/radio_models.py [--out experiments/results/radio-models]

Packets go through the medium, as in a run; bit errors are counted on symbols, modulated, sent through the analog
channel and demodulated. Standard errors come from the spread over lanes, or over blocks of symbols, which are
independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from closed_forms import ROUND_S, Row, finish, pick, points, publish, ratio, row, spoken
from numpy.typing import NDArray
from scipy import integrate, special, stats

from agentsc.links import Draw, parse_link
from agentsc.links.hop import Hop, Pairs, Surroundings
from agentsc.links.medium import Medium, Packets
from agentsc.links.packets import Held
from agentsc.links.radio.analog import AnalogChannel
from agentsc.links.radio.budget import shadow_field
from agentsc.links.radio.link import LADDER
from agentsc.links.radio.modulation import BITS, bit_error_rate, demodulate, modulate, rayleigh_bit_error_rate
from agentsc.links.radio.packet_error import SHIPPED, finite_blocklength, read_curves, uncoded
from envs import keyed

HERE = Path(__file__).parent
LANES, AGENTS = 300, 6
THRESHOLDS_DB = (-2.0, 3.0, 6.0, 8.0)
LEVELS_DB = {"bpsk": (0.0, 4.0, 7.0), "qpsk": (3.0, 7.0, 10.0), "16qam": (8.0, 13.0, 16.0), "64qam": (12.0, 18.0, 22.0)}
ADAPTIVE_DB = (4.0, 8.0, 12.0, 16.0, 20.0)
DISTANCES = (0.05, 0.1, 0.2, 0.3, 0.45)
LENGTH = 64
"""Bits of a packet."""


def ratio_of(level_db: float) -> float:
    """Decibels as a ratio."""
    return float(10.0 ** (0.1 * level_db))


def losses(
    link: str, rounds: int = 40, lanes: int = LANES, agents: int = AGENTS, places: NDArray | None = None,
    speaks: NDArray | None = None, bits: int = LENGTH,
) -> Medium:  # fmt: skip
    """A medium after everybody, or those marked in [A], spoke every round, and after everything has landed."""
    medium = Medium(link, 11, range(lanes), agents, ROUND_S)
    marked = np.ones((lanes, agents), bool) if speaks is None else np.tile(speaks, (lanes, 1))
    spots = None if places is None else np.tile(places.astype(np.float32), (lanes, 1, 1))
    packets, nobody = spoken(marked), spoken(np.zeros((lanes, agents), bool))
    packets = packets._replace(bits=np.full_like(packets.bits, bits))
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
    for modulation, levels in LEVELS_DB.items():
        for level in levels[1:]:
            gamma = ratio_of(level)
            link = f"snr_db={level},modulation={modulation}"
            expected = float(uncoded(bit_error_rate(gamma, modulation), LENGTH))
            yield lost(f"awgn {modulation}", "packet error", level, losses(f"awgn:{link}"), expected)
    for level in (5.0, 10.0, 15.0):
        for decoding in ("uncoded", "finite-blocklength"):
            medium = losses(f"rayleigh:snr_db={level},decoding={decoding}")
            yield lost(f"rayleigh {decoding}", "packet error", level, medium, faded(decoding, ratio_of(level)))


def faded(decoding: str, mean: float) -> float:
    """Packet error averaged over exponential gains."""

    def error(gain: float) -> float:
        if decoding == "uncoded":
            return float(uncoded(bit_error_rate(mean * gain, "qpsk"), LENGTH))
        return float(finite_blocklength(np.array([[mean * gain]]), LENGTH, 1.0)[0])

    return float(integrate.quad(lambda x: error(x) * math.exp(-x), 0, 40, limit=400)[0])


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


def budget_db(power_dbm: float, metres: float) -> float:
    """E_s/N_0 at 2.4 GHz, 1 MHz, a noise figure of 7 dB and exponent 2.5 beyond 1 m."""
    loss = 20.0 * math.log10(4.0 * math.pi * 2.4e9 / 299_792_458.0) + 25.0 * math.log10(metres)
    return power_dbm - loss - (-174.0 + 60.0 + 7.0)


def budgets() -> Iterator[Row]:
    """Packet error over distance, and outage over log-normal shadowing."""
    link = "awgn:carrier_ghz=2.4,bandwidth_khz=1000,noise_figure_db=7,exponent=2.5"
    for metres in (190.0, 210.0, 240.0):
        places = np.array([[0.0, 0.0], [0.6 * metres, 0.8 * metres]])
        medium = losses(f"{link},tx_dbm=0", rounds=100, agents=2, lanes=1000, places=places)
        error = float(uncoded(bit_error_rate(ratio_of(budget_db(0.0, metres)), "qpsk"), LENGTH))
        yield lost("budget", "packet error", metres, medium, error)
    for metres in (10.0, 20.0, 50.0):
        places = np.array([[0.0, 0.0], [0.6 * metres, 0.8 * metres]])
        shadowed = f"{link},tx_dbm=-30,shadowing_db=6,decoding=threshold,threshold_db=0"
        # The shadow is the same in both directions; lanes are what is independent.
        medium = losses(shadowed, rounds=1, agents=2, lanes=60_000, places=places)
        yield lost("shadowing", "outage", metres, medium, float(stats.norm.cdf(-budget_db(-30.0, metres) / 6.0)))


def parallel(level: float, carriers: int) -> float:
    """Error of uncoded packets spread over independent Rayleigh subcarriers, 1 − (E (1 − BER)^(L/S))^S."""

    def survives(x: float) -> float:
        return float((1.0 - bit_error_rate(ratio_of(level) * x, "qpsk")) ** (LENGTH / carriers) * math.exp(-x))

    return float(1.0 - integrate.quad(survives, 0, 40, limit=400)[0] ** carriers)


def multipath() -> Iterator[Row]:
    """OFDM with as many equal taps as subcarriers, which then fade independently."""
    carriers = 8
    for level in (10.0, 15.0, 20.0):
        medium = losses(f"ofdm:snr_db={level},taps={carriers},decay=1e9,subcarriers={carriers}")
        yield lost("ofdm", "packet error", level, medium, parallel(level, carriers))


def tables() -> Iterator[Row]:
    """Packets of the length of a table's, on its rows; of half that length, between two rows."""
    curve = read_curves(SHIPPED)[LADDER.index(("qpsk", 1 / 2))]
    rows = [int(np.searchsorted(curve.snr_db, at)) for at in (0.5, 1.5, 2.0)]
    for at in rows:
        level, per = float(curve.snr_db[at]), float(curve.per[at])
        medium = losses(f"awgn:snr_db={level},decoding=table", bits=curve.bits)
        yield lost("table qpsk 1/2", "packet error", level, medium, per)
    between = math.sqrt(curve.per[rows[1]] * curve.per[rows[2]])
    medium = losses("awgn:snr_db=1.75,decoding=table", bits=curve.bits // 2)
    yield lost("table qpsk 1/2, half as long", "packet error", 1.75, medium, 1.0 - math.sqrt(1.0 - between))


def adaptive_losses(level: float, rounds: int) -> list[float]:
    """Packet error of every round of two adaptive radios in Rayleigh fading: a chain of the modes of both.

    A radio's mode follows from the last packet that it heard. With p(m, n) the probability that a packet of mode m is
    heard, at a strength that allows mode n, a radio changes to n with p(m, n), m being the mode of the other one.
    """
    link = parse_link(f"rayleigh:snr_db={level},decoding=finite-blocklength,adaptive=true")[0]
    needed = np.maximum.accumulate([link.needed_db(mode, LENGTH) for mode in range(len(LADDER))])  # type: ignore[attr-defined]
    edges = 10.0 ** (0.1 * (needed + link.backoff_db - level))  # type: ignore[attr-defined]
    edges[0] = 0.0  # the most robust mode, however weak
    # The midpoint rule in what is uniform, e^(−gain).
    gain = -np.log((np.arange(200_000) + 0.5) / 200_000)
    allows = np.searchsorted(edges, gain, side="right") - 1
    heard = np.empty((len(LADDER), len(LADDER)))
    for mode, (name, rate) in enumerate(LADDER):
        lost_at = finite_blocklength(ratio_of(level) * gain[:, None], np.full(len(gain), LENGTH), BITS[name] * rate)
        heard[mode] = np.bincount(allows, weights=1.0 - lost_at, minlength=len(LADDER)) / len(gain)
    gone = 1.0 - heard.sum(1)
    law, found = np.zeros((len(LADDER), len(LADDER))), []
    law[0, 0] = 1.0
    for _ in range(rounds):
        found.append(float((law * 0.5 * (gone[:, None] + gone)).sum()))
        moved = np.zeros_like(law)
        for one, other in np.ndindex(*law.shape):
            first, second = heard[other].copy(), heard[one].copy()
            first[one] += gone[other]
            second[other] += gone[one]
            moved += law[one, other] * np.outer(first, second)
        law = moved
    return found


def adaptive() -> Iterator[Row]:
    """Two radios that send as fast as what they heard last allows."""
    rounds = 60
    for level in ADAPTIVE_DB:
        spec = f"rayleigh:snr_db={level},decoding=finite-blocklength,adaptive=true"
        medium = losses(spec, rounds=rounds, lanes=2000, agents=2)
        yield lost("adaptive rate", "packet error", level, medium, float(np.mean(adaptive_losses(level, rounds))))


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


MEASUREMENTS: dict[str, Callable[[], Iterator[Row]]] = {
    "outages": outages, "packets": packets, "bits": bits, "budgets": budgets, "multipath": multipath, "tables": tables,
    "adaptive": adaptive, "wrong bits": wrong_bits, "moving": moving, "interference": interference,
}  # fmt: skip


def draw(rows: list[Row], path: Path) -> None:
    """Measured points with 99 % intervals on their closed forms."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 4, figsize=(17, 12), constrained_layout=True)

    axis = axes[0, 0]
    level = np.linspace(-4, 10, 100)
    x = 10.0 ** (0.1 * (level - 8.0))
    curves = {"rayleigh": 1.0 - np.exp(-x)}
    for k_db in (0.0, 8.0):
        k = ratio_of(k_db)
        curves[f"rician K={k_db:g} dB"] = stats.ncx2.cdf(2.0 * (1.0 + k) * x, 2, 2.0 * k)
    for colour, (name, curve) in zip(("C0", "C1", "C2"), curves.items(), strict=True):
        axis.plot(level, curve, "-", color=colour, lw=1)
        points(axis, pick(rows, name, "outage"), name, colour)
    finish(axis, "outage at a mean of 8 dB", "threshold, dB", "share lost")
    for axis, channel, closed in (
        (axes[0, 1], "awgn", bit_error_rate), (axes[0, 2], "rayleigh", rayleigh_bit_error_rate),
    ):  # fmt: skip
        level = np.linspace(-1, 24, 200)
        for colour, name in zip(("C0", "C1", "C2", "C3"), BITS, strict=True):
            curve = closed(10.0 ** (0.1 * level), name)
            axis.plot(level[curve > 1e-5], curve[curve > 1e-5], "-", color=colour, lw=1)
            points(axis, pick(rows, f"{channel} {name}", "bit error rate"), name, colour)
        axis.set_yscale("log")
        finish(axis, f"bit error rate, {channel}", "E_s/N_0, dB", "bit error rate")
    axis = axes[0, 3]
    share = np.linspace(0, 0.5, 100)
    axis.plot(share, special.j0(2.0 * np.pi * share) ** 2, "C0-", lw=1, label="J₀²(2π d/λ)")
    points(axis, pick(rows, "clarke", "correlation of power"), "of power, one end moves", "C0")
    points(axis, pick(rows, "clarke", "correlation, both ends move"), "of the field, both ends move", "C2")
    axis.plot(share, np.exp(-60 * share / 10.0), "C1-", lw=1, label="exp(−d/d₀), d = 60 × abscissa, m")
    points(axis, [r._replace(at=r.at / 60) for r in pick(rows, "shadowing", "correlation")], "shadowing", "C1")
    finish(axis, "correlation over displacement", "d / λ", "correlation")
    axis = axes[1, 0]
    level = np.linspace(3, 17, 60)
    for colour, decoding in (("C0", "uncoded"), ("C1", "finite-blocklength")):
        curve = [faded(decoding, ratio_of(x)) for x in level]
        axis.plot(level, curve, "-", color=colour, lw=1)
        points(axis, pick(rows, f"rayleigh {decoding}", "packet error"), decoding, colour)
    axis.set_yscale("log")
    finish(axis, f"packets of {LENGTH} bits in Rayleigh fading", "mean E_s/N_0, dB", "share lost")
    axis = axes[1, 1]
    for colour, name in zip(("C0", "C1", "C2", "C3"), BITS, strict=True):
        level = np.linspace(0, 24, 200)
        axis.plot(level, uncoded(bit_error_rate(10.0 ** (0.1 * level), name), LENGTH), "-", color=colour, lw=1)
        points(axis, pick(rows, f"awgn {name}", "packet error"), name, colour)
    finish(axis, f"uncoded packets of {LENGTH} bits", "E_s/N_0, dB", "share lost")
    axis = axes[1, 2]
    metres = np.linspace(150, 300, 100)
    curve = [uncoded(bit_error_rate(ratio_of(budget_db(0.0, d)), "qpsk"), LENGTH) for d in metres]
    axis.plot(metres, curve, "C0-", lw=1)
    points(axis, pick(rows, "budget", "packet error"), "0 dBm, 2.4 GHz, exponent 2.5", "C0")
    finish(axis, f"uncoded qpsk packets of {LENGTH} bits over distance", "m", "share lost")
    axis = axes[1, 3]
    metres = np.geomspace(5, 100, 100)
    axis.plot(metres, [stats.norm.cdf(-budget_db(-30.0, d) / 6.0) for d in metres], "C0-", lw=1)
    points(axis, pick(rows, "shadowing", "outage"), "−30 dBm, shadowing of 6 dB", "C0")
    axis.set_xscale("log")
    finish(axis, "outage at a threshold of 0 dB over distance", "m", "share lost")
    axis = axes[2, 0]
    level = np.linspace(6, 24, 60)
    axis.plot(level, [parallel(x, 8) for x in level], "C0-", lw=1)
    points(axis, pick(rows, "ofdm", "packet error"), "8 independent subcarriers", "C0")
    axis.set_yscale("log")
    finish(axis, f"OFDM, uncoded qpsk packets of {LENGTH} bits", "mean E_s/N_0, dB", "share lost")
    axis = axes[2, 1]
    for mode, curve in read_curves(SHIPPED).items():
        name, rate = LADDER[mode]
        level = np.arange(curve.snr_db[0], curve.snr_db[-1], 0.1)
        bound = finite_blocklength(10.0 ** (0.1 * level[:, None]), np.full(len(level), curve.bits), BITS[name] * rate)
        axis.plot(level, bound, ":", color=f"C{mode}", lw=1)
        axis.plot(curve.snr_db, curve.per, "-", color=f"C{mode}", lw=1, label=f"{name} {rate:.2g}")
    points(axis, pick(rows, "table qpsk 1/2", "packet error"), "measured", "C1")
    axis.set_yscale("log")
    axis.set_ylim(1e-4, 1.5)
    finish(axis, "5G LDPC, 144 bits (dotted: finite-blocklength bound)", "E_s/N_0, dB", "share lost")
    axis = axes[2, 2]
    level = np.linspace(2, 22, 21)
    axis.plot(level, [np.mean(adaptive_losses(x, 60)) for x in level], "C0-", lw=1)
    points(axis, pick(rows, "adaptive rate", "packet error"), "two radios in Rayleigh fading", "C0")
    finish(axis, "adaptive rate", "mean E_s/N_0, dB", "share lost")
    axis = axes[2, 3]
    size = np.sort([r.z for r in rows])
    at = stats.norm.ppf((np.arange(len(size)) + 0.5) / len(size))
    axis.plot([-3, 3], [-3, 3], "k-", lw=1, label="normal")
    axis.plot(at, size, "o", ms=3, color="C0", label="all rows")
    finish(axis, "distance from the closed form", "normal quantile", "standard errors")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    publish(__doc__.splitlines()[0], "Radios against their closed forms", "radio-models", MEASUREMENTS, draw)
