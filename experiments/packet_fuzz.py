"""What becomes of packets that are not what an agent sent: wrong bits, cut, lengthened, random, repeated.

    python experiments/packet_fuzz.py [--packets 1000000] [--episodes 400] [--out experiments/results/packet-fuzz]

1. Through the decoder: each kind of damage to each kind of packet, and how many are taken for good. How many should be
   is known exactly: random contents pass with 2^-8 or 2^-16; of patterns of k wrong bits, those pass that are words of
   the checksum's code, and they are counted by way of the dual code (`tests/protocol/noise.py`).
2. Into a fleet of `negotiated` that draws its plans at random and flies them: what was on the air comes again, damaged,
   in every round. Nothing that any packet says is worth more than a checksum, so a lane may suffer that took in a wrong
   packet with a commit in it; no other may.
3. Through a radio: `negotiated` as it is, over a link that flips bits, duplicates, reorders and repeats.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

import agentsc
from agentsc.intent.codec import decode

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "protocol"))
import noise  # noqa: E402
from air import ROUNDS, Schedule, crowd, fly, setup_of  # noqa: E402

SPEC = setup_of(crowd(1, 2, 0)).spec
BATCH = 20_000
FLIPS = (1, 2, 3, 4, 6, 16)
LAYOUTS = tuple(name for name in noise.LAYOUTS if name != "optimised")  # which is a trajectory
DAMAGES = {
    "one to eight wrong bits": noise.some_flipped, "random contents": noise.scrambled, "truncated": noise.truncated,
    "wrong length": noise.mislaid, "random bytes": noise.garbage, "replayed": noise.untouched,
}  # fmt: skip
LANES, AGENTS, TICKS = 64, 5, 100
ROUGH = Schedule(loss=0.3, repeat=0.2, delay=8, stall=5)
LINK = "bit-errors:p=0.003+duplicate:p=0.2,ms=400+delay:ms=0,jitter_ms=120+replayer:age=30"


class Row(NamedTuple):
    """One damage to one kind of packet. accepted: by the decoder. miss_rate: the share that should be.

    p_value: of a two-sided exact test that it is.
    """

    damage: str
    packet: str
    packets: int
    accepted: int
    miss_rate: float
    p_value: float


def decoder(packets: int) -> Iterator[Row]:
    """All kinds of damage to all kinds of packets."""
    for layout in LAYOUTS:
        data, bits = noise.genuine(np.random.default_rng(0), layout, 1, SPEC)
        size, width = int(bits[0]), data.shape[1]
        checksum = 2.0**-8 if layout == "token" else 2.0**-16
        plan = {f"{k} wrong bits": (noise.flipped(k), noise.missed(layout, size, k)) for k in FLIPS}
        plan |= {
            "random contents": (noise.scrambled, checksum), "truncated": (noise.truncated, 0.0),
            "wrong length": (noise.mislaid, 0.0), "random bytes": (noise.garbage, noise.garbage_missed(width)),
        }  # fmt: skip
        for damage, (harm, rate) in plan.items():
            rng = np.random.default_rng([2026, len(damage), size])
            accepted, tried = 0, 0
            while tried < packets:
                batch = harm(rng, *noise.genuine(rng, layout, min(BATCH, packets - tried), SPEC))
                accepted += int(decode(*batch, SPEC)[1].sum())
                tried += len(batch[1])
            yield Row(damage, layout, tried, accepted, rate, float(stats.binomtest(accepted, tried, rate).pvalue))


class Flight(NamedTuple):
    """One damage in a fleet.

    decoded: packets whose checksum holds. refused: deliveries, by agents. exposed: lanes in which something was
    decoded that is not what was sent. collided: lanes with a contact, and those of them that were not exposed.
    """

    damage: str
    packets: int
    decoded: int
    refused: int
    commits: int
    lanes: int
    exposed: int
    collided: int
    collided_unexposed: int


def flights(packets: int, lanes: int = LANES, ticks: int = TICKS) -> Iterator[Flight]:
    """A fleet for every kind of damage."""
    each = -(-packets // (ROUNDS * (ticks - 1)))
    for name, damage in DAMAGES.items():
        heard = noise.Noise(damage, each, SPEC, lanes, seed=len(name))
        found = fly(ROUGH, lanes=lanes, agents=AGENTS, ticks=ticks, seed=len(name), links=heard.listen_to)
        exposed = heard.passed > 0 if name != "replayed" else np.zeros(lanes, bool)
        yield Flight(
            damage=name,
            packets=heard.sent,
            decoded=int(heard.passed.sum()),
            refused=int(found.refused.sum()),
            commits=int(found.commits.sum()),
            lanes=lanes,
            exposed=int(exposed.sum()),
            collided=int(found.collided.sum()),
            collided_unexposed=int(found.collided[~exposed].sum()),
        )


def fleet(episodes: int) -> dict[str, float]:
    """A fleet over a radio that flips bits and more."""
    with tempfile.TemporaryDirectory() as folder:
        keys = ["record.episodes=[]"]
        result = agentsc.run(
            scenario="weave", agents=8, seed=2026, episodes=episodes, link=LINK, set=keys, out=Path(folder) / "run"
        )
    books = result.data["radio"]
    lanes = result.data["lanes"]
    return {
        "episodes": len(lanes),
        "collision_free": sum(lane["collision_free"] for lane in lanes),
        "success": sum(lane["success"] for lane in lanes),
        **{name: books[name] for name in ("offered", "duplicated", "injected", "delivered", "undetected", "refused")},
        "lost_crc": books["lost"]["crc"],
    }


def summary(rows: list[Row], flown: list[Flight], radio: dict[str, float]) -> str:
    """The page."""
    wrong = radio["lost_crc"] + radio["undetected"]
    bound = 1.0 - 0.05 ** (1.0 / radio["episodes"])
    lines = [
        "# Packets that are not what an agent sent", "",
        "Regenerate with `python experiments/packet_fuzz.py`; seeds are in the script, and so is what is done.", "",
        "## Through the decoder", "",
        "Expected: the number that the checksum cannot see, exactly. Verdicts, proposals, states and trajectories have "
        f"16 bits of it, a bare token 8. Up to three wrong bits and any odd number are always seen. Of {len(rows)} "
        f"rows the smallest p-value is {min(r.p_value for r in rows):.2g}.", "",
        "| damage | packet | tried | expected | accepted | p-value |", "|---|---|---|---|---|---|",
        *(f"| {r.damage} | {r.packet} | {r.packets:,} | {r.packets * r.miss_rate:.4g} | {r.accepted:,} | "
          f"{r.p_value:.2f} |" for r in rows), "",
        "## Into a fleet", "",
        f"`negotiated` around random plans, {LANES} lanes of {AGENTS} agents, {TICKS} ticks, over a rough radio. "
        "Decoded are packets whose checksum holds; everything else has to be refused, and is counted. Exposed are "
        "lanes in which a damaged packet was decoded.", "",
        "| damage | packets | decoded | refused | commits | lanes exposed | lanes with a contact | "
        "of them not exposed |", "|---|---|---|---|---|---|---|---|",
        *(f"| {f.damage} | {f.packets:,} | {f.decoded:,} | {f.refused:,} | {f.commits:,} | {f.exposed} of {f.lanes} | "
          f"{f.collided} | {f.collided_unexposed} |" for f in flown), "",
        "## Through a radio", "",
        f"Eight agents on weave, {radio['episodes']} episodes, over `{LINK}`. Of {radio['offered']:,} packets × "
        f"receivers offered, with {radio['duplicated']:,} copies and {radio['injected']:,} repeated by a hostile "
        f"radio, {wrong:,} arrived with wrong bits. Checksums refused {radio['lost_crc']:,} of them and let "
        f"{radio['undetected']} pass. Of what was delivered, agents refused {radio['refused']:,}: mostly their own "
        "packets, which came back to them.", "",
        f"Without a collision: {radio['collision_free']} of {radio['episodes']} episodes (95 % upper bound of the "
        f"collision rate if all: {bound:.4f}). Success: {radio['success']}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def table(rows: list[NamedTuple]) -> str:
    """Rows as comma-separated values."""
    return "\n".join([",".join(rows[0]._fields), *(",".join(map(str, row)) for row in rows)]) + "\n"


def main() -> None:
    """Count, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=1_000_000, help="of every kind")
    parser.add_argument("--episodes", type=int, default=400, help="over the radio")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "packet-fuzz", help="folder for the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = list(decoder(options.packets))
    (options.out / "decoder.csv").write_text(table(rows), encoding="utf-8")
    flown = list(flights(options.packets))
    (options.out / "fleet.csv").write_text(table(flown), encoding="utf-8")
    radio = fleet(options.episodes)
    text = [",".join(radio), ",".join(map(str, radio.values()))]
    (options.out / "radio.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    page = summary(rows, flown, radio)
    (options.out / "summary.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
