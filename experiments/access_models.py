"""Access to a shared medium next to its closed forms: rows, table, figure.

    python experiments/access_models.py [--out experiments/results/access-models]

Packets go through the medium, as in a run. Standard errors come from the spread over lanes, which are independent.
Every closed form is exact for the number of radios that it is measured with; the limits for many radios, G e^(−G) and
G e^(−2G), are drawn beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from closed_forms import ROUND_S, Row, finish, pick, points, publish, ratio, row, spoken
from numpy.typing import NDArray
from scipy import stats

from agentsc.links.medium import Medium
from envs import keyed

HERE = Path(__file__).parent
BITS = 64
"""Of a packet."""
RADIOS = 10
SLOTS = (5, 8, 12, 20, 40)
SHARES = (0.02, 0.05, 0.1, 0.2)
"""Length of a packet, as a share of the time within which it may start."""
DEAF = (0.05, 0.1, 0.2, 0.4)
SATURATED = ((15, 2), (15, 5), (15, 10), (15, 20), (63, 5), (63, 20))
"""Largest back-off and number of radios."""
WAIT, SLOT = 0.25, 0.1
"""Of carrier sense, as shares of a packet's length."""
SPREADS = (0.0, 5.0, 20.0, 80.0)
"""Random delay before a packet contends, slots."""
HIDDEN = (0.05, 0.1, 0.2, 0.4)


def kbps(airtime_s: float) -> float:
    """Rate at which a packet takes so long."""
    return BITS / airtime_s / 1e3


def spoke(
    link: str, lanes: int, agents: int, rounds: int, share: float = 1.0, who: NDArray | None = None,
    places: NDArray | None = None, every: int = 1,
) -> Medium:  # fmt: skip
    """A medium after every agent, or those marked in [A], spoke with a probability, and all has landed.

    Args:
        places: float [A, 2], metres. every: rounds from one chance to speak to the next.
    """
    seed = keyed.stream_id(link)  # rows are independent of each other
    medium = Medium(link, seed, range(lanes), agents, ROUND_S)
    words = np.arange(lanes * agents).reshape(lanes, agents)
    marked = np.ones(agents, bool) if who is None else who
    spots = None if places is None else np.tile(places.astype(np.float32), (lanes, 1, 1))
    stream = keyed.stream_id("speaks")
    for clock in range(rounds):
        medium.deliver(clock)
        speaks = marked & (keyed.uniform(seed, stream, clock, words) < share) & (clock % every == 0)
        medium.transmit(spoken(speaks), clock, spots)
    medium.deliver(rounds + 100)
    return medium


def reason(medium: Medium, *names: str) -> NDArray[np.int64]:
    """int64 [L], lost for any of these."""
    return sum((medium.books.by_reason[name] for name in names), np.zeros_like(medium.lost))


def spread_out(radios: int, share: float) -> float:
    """Probability that nobody else is on the air during a packet, if everybody starts at a uniform time.

    Args:
        radios: n. share: x, length of a packet over the time T within which all start, at most ½.

    A packet that starts at u T is alone with (1 − |(u − x, u + x) ∩ [0, 1]|)^(n − 1); this is the mean over u.
    """
    inside, edge = 1.0 - 2.0 * share, 1.0 - share
    return float(inside**radios + 2.0 / radios * (edge**radios - inside**radios))


def slotted() -> Iterator[Row]:
    """Throughput of slotted ALOHA when everybody speaks in every round, and when it is a matter of chance."""
    for slots in SLOTS:
        link = f"slotted-aloha:kbps={kbps(ROUND_S / slots)!r},slot_ms={1e3 * ROUND_S / slots!r},slots={slots}"
        rounds = 40
        medium = spoke(link, 60, RADIOS, rounds)
        load = RADIOS / slots
        each = medium.delivered / (RADIOS - 1) / (rounds * slots)
        expected = load * (1.0 - 1.0 / slots) ** (RADIOS - 1)
        yield row("slotted ALOHA", "throughput", load, each, expected, int(medium.decisions.sum()))
        medium = spoke(link, 60, RADIOS, 80, share=0.5)
        expected = 1.0 - (1.0 - 0.5 / slots) ** (RADIOS - 1)
        yield ratio("slotted ALOHA, random", "loss", 0.5 * load, medium.lost, medium.decisions, expected)


def pure() -> Iterator[Row]:
    """Throughput of pure ALOHA."""
    for share in SHARES:
        window = 0.8 * ROUND_S
        link = f"pure-aloha:kbps={kbps(share * window)!r},window_ms={1e3 * window!r}"
        rounds, load = 40, RADIOS * share
        medium = spoke(link, 60, RADIOS, rounds)
        each = medium.delivered / (RADIOS - 1) / rounds * share
        expected = load * spread_out(RADIOS, share)
        yield row("pure ALOHA", "throughput", load, each, expected, int(medium.decisions.sum()))


def deafness() -> Iterator[Row]:
    """Radios that start within a jitter: how often the receiver was sending, and whether anybody was."""
    for share in DEAF:
        jitter = 0.7 * ROUND_S
        link = f"half-duplex:kbps={kbps(share * jitter)!r},jitter_ms={1e3 * jitter!r}"
        medium = spoke(link, 400, 6, 10)
        expected = 1.0 - (1.0 - share) ** 2
        yield ratio("half-duplex", "deaf", share, reason(medium, "half-duplex"), medium.decisions, expected)
        yield ratio("half-duplex", "loss", share, medium.lost, medium.decisions, 1.0 - spread_out(6, share))
        medium = spoke(f"{link},half_duplex=false", 400, 6, 10)
        # The receiver's own packet does no harm.
        expected = 1.0 - spread_out(5, share)
        yield ratio("full duplex", "loss", share, medium.lost, medium.decisions, expected)


def bianchi(radios: int, window: int, airtime_s: float, wait_s: float, slot_s: float) -> tuple[float, float]:
    """Collision probability of a packet, and share of the time that carries packets which do not collide.

    Args:
        radios: n, that always have a packet. window: cw, back-offs are uniform in 0 … cw.

    With one stage of W = cw + 1 back-offs, τ = 2 / (W + 1), and radios are independent, not only nearly so:
    G. Bianchi, Performance analysis of the IEEE 802.11 DCF, IEEE JSAC 18 (2000), equations 8, 9 and 13.
    """
    tau = 2.0 / (window + 2)
    busy = 1.0 - (1.0 - tau) ** radios
    single = radios * tau * (1.0 - tau) ** (radios - 1)
    mean_s = (1.0 - busy) * slot_s + busy * (airtime_s + wait_s)
    return 1.0 - (1.0 - tau) ** (radios - 1), single * airtime_s / mean_s


def saturated() -> Iterator[Row]:
    """Carrier sense of radios that always have a packet."""
    airtime, warm, rounds = ROUND_S, 150, 220
    for window, radios in SATURATED:
        lanes = max(1600 // radios, 100)
        link = (
            f"csma:kbps={kbps(airtime)!r},cw={window},difs_us={1e6 * WAIT * airtime!r},"
            f"slot_us={1e6 * SLOT * airtime!r},queue=2"
        )
        medium = Medium(link, keyed.stream_id(link), range(lanes), radios, ROUND_S)
        packets = spoken(np.ones((lanes, radios), bool))
        before = np.zeros((2, lanes))
        for clock in range(warm + rounds + 1):
            medium.deliver(clock)
            if clock == warm:
                before = np.array([medium.delivered, reason(medium, "half-duplex", "collision")])
            medium.transmit(packets, clock)
        after = np.array([medium.delivered, reason(medium, "half-duplex", "collision")])
        delivered, lost = after - before
        collides, carried = bianchi(radios, window, airtime, WAIT * airtime, SLOT * airtime)
        yield ratio(f"CSMA cw={window}", "collision", radios, lost, delivered + lost, collides)
        each = delivered / (radios - 1) * airtime / (rounds * ROUND_S)
        yield row(f"CSMA cw={window}", "throughput", radios, each, carried, int((delivered + lost).sum()))


def meeting(spread: float, window: int) -> float:
    """Probability that two counters end less than a slot apart.

    Args:
        spread: slots within which both begin to count, at uniform times. window: cw.
    """
    gaps = np.arange(-window, window + 1)
    likely = (window + 1 - np.abs(gaps)) / (window + 1) ** 2
    if spread == 0.0:
        return float(likely[window])
    law = stats.triang(0.5, loc=-spread, scale=2.0 * spread)  # of the difference of the times
    return float((likely * (law.cdf(1.0 - gaps) - law.cdf(-1.0 - gaps))).sum())


def sparse() -> Iterator[Row]:
    """Carrier sense of two radios that seldom speak: lost if neither hears the other in time."""
    window, slot = 7, 20e-6
    for spread in SPREADS:
        link = f"csma:kbps={kbps(2e-3)!r},cw={window},slot_us={1e6 * slot!r},jitter_ms={1e3 * spread * slot!r}"
        medium = spoke(link, 1500, 2, 40)
        yield ratio("CSMA, two radios", "loss", spread, medium.lost, medium.decisions, meeting(spread, window))


def hidden() -> Iterator[Row]:
    """Two radios that do not sense each other, heard by a third between them."""
    places = np.array([[0.0, 0.0], [8.0, 0.0], [16.0, 0.0]])
    ends = np.array([True, False, True])
    for share in HIDDEN:
        jitter = 0.7 * ROUND_S
        link = (
            f"range:metres=10+csma:kbps={kbps(share * jitter)!r},jitter_ms={1e3 * jitter!r},cw=0,"
            f"slot_us={1e4 * jitter!r},metres=10,sense_m="
        )
        # Each of the two reaches the middle only: one of its two receivers.
        medium = spoke(f"{link}10", 600, 3, 90, who=ends, places=places)
        count = reason(medium, "collision")
        yield ratio("hidden node", "loss", share, count, medium.decisions // 2, 1.0 - (1.0 - share) ** 2)
        if share <= 0.2:  # longer ones do not always fit into a round one behind the other
            medium = spoke(f"{link}20", 600, 3, 90, who=ends, places=places)
            count = reason(medium, "collision")
            yield ratio("sensed node", "loss", share, count, medium.decisions // 2, 1.0 - (1.0 - 0.01) ** 2)


def own_slots() -> Iterator[Row]:
    """Time division: nothing is lost, a packet waits half a frame; slots shared by two."""
    radios, lanes, rounds = 16, 40, 210
    # Frames of 16 slots in rounds of 21: packets come at every slot of a frame equally often.
    slot = ROUND_S / 21
    link = f"tdma:kbps={kbps(0.8 * slot)!r},slot_ms={1e3 * slot!r},guard_us={1e6 * 0.1 * slot!r}"
    medium = Medium(link, 24, range(lanes), radios, ROUND_S)
    words, stream = np.arange(lanes * radios).reshape(lanes, radios), keyed.stream_id("speaks")
    delay, count = np.zeros(lanes), np.zeros(lanes)
    for clock in range(rounds + 1):
        found = medium.deliver(clock)
        late = found.arrival_s - found.sent_clock * ROUND_S
        delay += np.bincount(found.lane, weights=late, minlength=lanes)
        count += np.bincount(found.lane, minlength=lanes)
        medium.transmit(spoken((keyed.uniform(25, stream, clock, words) < 0.5) & (clock < rounds)), clock)
    expected = slot * (0.5 * (radios - 1) + 0.8)
    yield ratio("TDMA", "delay, s", radios, delay, count, expected)
    yield ratio("TDMA", "loss", radios, medium.lost, medium.decisions, 0.0)
    for share in (0.2, 0.6):
        medium = spoke(f"tdma:kbps={kbps(ROUND_S / 8)!r},slots=8", 60, radios, 60, share=share)
        yield ratio("TDMA, slots for two", "loss", share, medium.lost, medium.decisions, share)


def late() -> Iterator[Row]:
    """Packets that do not fit into the time between two rounds, and what they take of it."""
    for stretch in (1.0, 1.5, 2.5):
        airtime, agents = 0.2 * ROUND_S, 4
        link = f"half-duplex:kbps={kbps(airtime / 2)!r},preamble_us={1e6 * airtime / 2!r}"
        link += f",jitter_ms={1e3 * stretch * ROUND_S!r}"
        medium = spoke(link, 600, agents, 240, who=np.arange(agents) == 0, every=4)
        # Handed over after one round, or after each further one into which the packet reaches.
        rounds = sum(min(max(1.0 - (k - 0.2) / stretch, 0.0), 1.0) for k in range(1, 5)) + 1.0
        each = medium.delay_sum_s / medium.delivered
        yield row("half-duplex", "hand-over, s", stretch, each, rounds * ROUND_S, int(medium.decisions.sum()))
        assert medium.airtime_s is not None
        spent = medium.airtime_s.sum(1) / medium.packets.sum(1)
        yield row("half-duplex", "airtime, s", stretch, spent.round(12), airtime, int(medium.decisions.sum()))


MEASUREMENTS: dict[str, Callable[[], Iterator[Row]]] = {
    "slotted": slotted, "pure": pure, "deafness": deafness, "saturated": saturated, "sparse": sparse,
    "hidden": hidden, "own slots": own_slots, "late": late,
}  # fmt: skip


def draw(rows: list[Row], path: Path) -> None:
    """Measured points with 99 % intervals on their closed forms."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(17, 8), constrained_layout=True)

    def curve(axis: plt.Axes, model: str, quantity: str, colour: str, label: str) -> None:
        points(axis, pick(rows, model, quantity), label, colour)

    load = np.linspace(0.02, 2.2, 200)
    axis = axes[0, 0]
    slots = RADIOS / load
    axis.plot(load, load * np.maximum(1 - 1 / slots, 0) ** (RADIOS - 1), "C0-", lw=1, label=f"{RADIOS} radios")
    axis.plot(load, load * np.exp(-load), "k:", lw=1, label="G e^(−G)")
    curve(axis, "slotted ALOHA", "throughput", "C0", "slotted")
    thin = load[load <= 0.5 * RADIOS]
    axis.plot(thin, [g * spread_out(RADIOS, g / RADIOS) for g in thin], "C1-", lw=1, label=f"{RADIOS} radios")
    axis.plot(load, load * np.exp(-2 * load), "k--", lw=1, label="G e^(−2G)")
    curve(axis, "pure ALOHA", "throughput", "C1", "pure")
    finish(axis, "ALOHA", "load G, packets per packet length", "throughput S")
    axis = axes[0, 1]
    share = np.linspace(0.0, 0.45, 100)
    axis.plot(share, 1 - (1 - share) ** 2, "C0-", lw=1)
    curve(axis, "half-duplex", "deaf", "C0", "the receiver sends")
    axis.plot(share, [1 - spread_out(6, x) for x in share], "C1-", lw=1)
    curve(axis, "half-duplex", "loss", "C1", "anybody sends, 6 radios")
    axis.plot(share, [1 - spread_out(5, x) for x in share], "C2-", lw=1)
    curve(axis, "full duplex", "loss", "C2", "anybody but the receiver")
    finish(axis, "half-duplex radios with jitter", "packet length / jitter", "share lost")
    count = range(2, 24)
    for axis, number, quantity in ((axes[0, 2], 0, "collision"), (axes[0, 3], 1, "throughput")):
        for colour, window in zip(("C0", "C1"), (15, 63), strict=True):
            axis.plot(count, [bianchi(n, window, 1.0, WAIT, SLOT)[number] for n in count], "-", color=colour, lw=1)
            curve(axis, f"CSMA cw={window}", quantity, colour, f"cw={window}")
        finish(axis, "CSMA, saturated: Bianchi 2000", "radios", quantity)
    axis = axes[1, 0]
    slots = np.linspace(0.0, 90.0, 200)
    axis.plot(slots, [meeting(s, 7) for s in slots], "C0-", lw=1, label="closed form")
    curve(axis, "CSMA, two radios", "loss", "C0", "two radios, cw=7")
    axis.set_yscale("log")
    finish(axis, "CSMA, light traffic", "jitter, slots", "share lost")
    axis = axes[1, 1]
    axis.plot(share, 1 - (1 - share) ** 2, "C0-", lw=1, label="1 − (1 − x)²")
    axis.plot(share, 0 * share + 1 - 0.99**2, "C1-", lw=1, label="1 − (1 − slot / jitter)²")
    curve(axis, "hidden node", "loss", "C0", "hidden")
    curve(axis, "sensed node", "loss", "C1", "sensed")
    finish(axis, "CSMA, two that do not sense each other", "packet length / jitter", "share lost between them")
    axis = axes[1, 2]
    axis.plot([0, 1], [0, 1], "C0-", lw=1)
    curve(axis, "TDMA, slots for two", "loss", "C0", "slots shared by two")
    finish(axis, "TDMA", "probability that a radio speaks", "share lost")
    axis = axes[1, 3]
    size = np.sort([r.z for r in rows if r.standard_error > 0])
    at = stats.norm.ppf((np.arange(len(size)) + 0.5) / len(size))
    axis.plot([-3, 3], [-3, 3], "k-", lw=1, label="normal")
    axis.plot(at, size, "o", ms=3, color="C0", label="all rows that chance touches")
    finish(axis, "distance from the closed form", "normal quantile", "standard errors")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    title = "Access to a shared medium against its closed forms"
    publish(__doc__.splitlines()[0], title, "access-models", MEASUREMENTS, draw)
