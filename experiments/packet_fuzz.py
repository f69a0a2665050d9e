"""What becomes of packets that are not what an agent sent: random, flipped, truncated, lengthened.

    python experiments/packet_fuzz.py [--packets 1000000] [--episodes 400] [--out experiments/results/packet-fuzz]

First each kind of packet goes through the decoder by itself, and what is accepted is counted against the checksums'
miss rates. For arbitrary errors that is 2^-16, and 2^-8 for a bare token; both generators have the factor x + 1, so an
odd number of wrong bits is always found, and an even one missed twice as often. Then a fleet flies with a radio that
flips bits, duplicates, reorders and repeats packets, and what its checksums refused and let pass is counted beside its
collisions.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import agentsc
from agentsc.intent.codec import Message, decode, encode
from agentsc.intent.fields import GRANTS, INTENT, PLAN, STATUS
from agentsc.intent.plan import PlanSpec

HERE = Path(__file__).parent
SPEC = PlanSpec((-1.0, -1.0, 1.0, 1.0), 1.0, 0.1)
BATCH = 20_000
MASKS = (INTENT, STATUS, INTENT | STATUS, STATUS | PLAN, INTENT | STATUS | PLAN, INTENT | STATUS | PLAN | GRANTS)
FLIPS = (1, 2, 3, 4, 6, 12, 40)
LINK = "bit-errors:p=0.003+duplicate:p=0.2,ms=400+delay:ms=0,jitter_ms=120+replayer:age=30"


class Row(NamedTuple):
    """One kind of packet. accepted: by the decoder. most: the largest count that the miss rate explains at 1e-6."""

    kind: str
    packets: int
    accepted: int
    miss_rate: float
    most: int


def valid(rng: np.random.Generator, mask: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Packets of random contents."""
    message = Message.blank(count, SPEC, 3)
    message.sections[:] = mask
    message.id[:], message.clock[:] = rng.integers(0, 8, count), rng.integers(0, 1 << 16, count)
    for name, top in (("goal_x", 256), ("goal_y", 256), ("homotopy", 16), ("priority", 4), ("affordance", 256),
                      ("confidence", 16), ("committed_seq", 256), ("pending_seq", 256), ("t0_offset", 64)):  # fmt: skip
        getattr(message, name)[:] = rng.integers(0, top, count)
    message.plan[:, :2] = rng.integers(0, 1 << 16, (count, 2))
    message.plan[:, 2:] = rng.integers(-32, 32, message.plan[:, 2:].shape)
    if mask & GRANTS:
        message.grant_count[:] = 3
        message.grant_peer[:], message.grant_seq[:] = rng.integers(0, 8, (count, 3)), rng.integers(0, 8, (count, 3))
    return encode(message, SPEC)


def accepted(data: NDArray[np.uint8], bits: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the decoder takes each packet."""
    return decode(data, bits, SPEC)[1]


def flipped(rng: np.random.Generator, data: NDArray[np.uint8], bits: NDArray[np.integer], flips: int) -> NDArray:
    """Packets with so many of their bits flipped."""
    order = np.argsort(rng.random((len(data), int(bits.max()))) + 2.0 * (np.arange(bits.max()) >= bits[:, None]))
    wrong = np.zeros((len(data), 8 * data.shape[1]), np.uint8)
    np.put_along_axis(wrong, order[:, :flips], 1, axis=1)
    return data ^ np.packbits(wrong, axis=1)


def decoder(packets: int) -> Iterator[Row]:
    """All kinds through the decoder."""
    rng = np.random.default_rng(2026)
    batches = max(packets // BATCH, 1)

    def row(kind: str, count: int, miss: float) -> Row:
        whole = batches * BATCH
        return Row(kind, whole, count, miss, int(stats.binom.isf(1e-6, whole, miss)) if miss else 0)

    count = 0
    for _ in range(batches):
        data = rng.integers(0, 256, (BATCH, 40), dtype=np.uint8)
        count += int(accepted(data, rng.integers(0, 321, BATCH)).sum())
    yield row("random bytes, random length", count, 2.0**-16)
    for flips in FLIPS:
        count = 0
        for turn in range(batches):
            data, bits = valid(rng, MASKS[1 + turn % (len(MASKS) - 1)], BATCH)
            count += int(accepted(flipped(rng, data, bits, flips), bits).sum())
        # Odd ones, and up to three, are always found, unless one of them makes it another kind of packet.
        yield row(f"{flips} bits flipped", count, 2.0**-15 if flips % 2 == 0 and flips > 2 else 2.0**-16)
    for flips in (1, 4, 12):
        count = 0
        for _ in range(batches):
            data, bits = valid(rng, INTENT, BATCH)
            count += int(accepted(flipped(rng, data, bits, flips), bits).sum())
        yield row(f"bare token, {flips} bits flipped", count, 2.0**-7 if flips % 2 == 0 else 2.0**-8)
    for kind in ("truncated", "lengthened"):
        count = 0
        for turn in range(batches):
            data, bits = valid(rng, MASKS[turn % len(MASKS)], BATCH)
            other = rng.integers(0, bits) if kind == "truncated" else bits + rng.integers(1, 64, BATCH)
            count += int(accepted(np.pad(data, ((0, 0), (0, 8))), other).sum())
        yield row(kind, count, 2.0**-16)


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


def summary(rows: list[Row], flown: dict[str, float]) -> str:
    """The page."""
    wrong = flown["lost_crc"] + flown["undetected"]
    bound = 1.0 - 0.05 ** (1.0 / flown["episodes"])
    lines = [
        "# Packets that are not what an agent sent", "",
        "Regenerate with `python experiments/packet_fuzz.py`; seeds are in the script.", "",
        "## Through the decoder", "",
        "| packets | tried | accepted | miss rate of the checksum | at most, at 1e-6 |", "|---|---|---|---|---|",
        *(f"| {r.kind} | {r.packets:,} | {r.accepted} | {r.miss_rate:.3g} | {r.most} |" for r in rows), "",
        "## In a fleet", "",
        f"Eight agents on weave, {flown['episodes']} episodes, over `{LINK}`. Of {flown['offered']:,} packets × "
        f"receivers offered, with {flown['duplicated']:,} copies and {flown['injected']:,} repeated by a hostile "
        f"radio, {wrong:,} arrived with wrong bits. Checksums refused {flown['lost_crc']:,} of them and let "
        f"{flown['undetected']} pass. Of what was delivered, agents refused {flown['refused']:,}: mostly their own "
        "packets, which came back to them.", "",
        f"Without a collision: {flown['collision_free']} of {flown['episodes']} episodes (95 % upper bound of the "
        f"collision rate if all: {bound:.4f}). Success: {flown['success']}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=1_000_000, help="of every kind, through the decoder")
    parser.add_argument("--episodes", type=int, default=400, help="of the fleet")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "packet-fuzz", help="folder for the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = list(decoder(options.packets))
    text = [",".join(Row._fields), *(",".join(map(str, row)) for row in rows)]
    (options.out / "decoder.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    flown = fleet(options.episodes)
    text = [",".join(flown), ",".join(map(str, flown.values()))]
    (options.out / "fleet.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    page = summary(rows, flown)
    (options.out / "summary.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
