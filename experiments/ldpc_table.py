"""The packet error table of `agentsc.links.radio`: 5G LDPC codes over additive white Gaussian noise.

    python experiments/ldpc_table.py [--out agentsc/links/radio/5g-ldpc.csv]

Needs sionna (make peers). Blocks of 128 bits at the rates of the adaptive radio's modes, 20 iterations of belief
propagation, up to 20,000 blocks a point and 200 errors; a curve ends where fewer than 20 were found.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from sionna.phy import config
from sionna.phy.channel import AWGN
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import BinarySource, Demapper, Mapper

from agentsc.links.radio.link import LADDER
from agentsc.links.radio.modulation import BITS

SEED, BITS_PER_BLOCK, BATCH, BLOCKS, ERRORS, FEWEST, STEP_DB = 2026, 128, 1000, 20_000, 200, 20, 0.5
START_DB = (-4.0, -1.0, 1.0, 4.0, 7.0, 11.0, 12.0)


def curve(modulation: str, rate: float, start_db: float) -> list[tuple[float, int, int]]:
    """Points (E_s/N_0 in dB, blocks, errors) of one mode, upwards until errors become rare."""
    width = BITS[modulation]
    length = int(np.ceil(BITS_PER_BLOCK / rate / width)) * width
    kind = ("pam", 1) if modulation == "bpsk" else ("qam", width)
    source, encoder = BinarySource(), LDPC5GEncoder(BITS_PER_BLOCK, length)
    decoder = LDPC5GDecoder(encoder, num_iter=20, hard_out=True)
    mapper, demapper, channel = Mapper(*kind), Demapper("app", *kind), AWGN()
    points, level = [], start_db
    while True:
        noise = torch.tensor(10.0 ** (-0.1 * level), dtype=torch.float32)
        blocks = errors = 0
        while blocks < BLOCKS and errors < ERRORS:
            sent = source([BATCH, BITS_PER_BLOCK])
            found = decoder(demapper(channel(mapper(encoder(sent)), noise), noise))
            errors += int((found != sent).any(-1).sum())
            blocks += BATCH
        if errors < FEWEST:
            return points
        points.append((level, blocks, errors))
        level += STEP_DB


def main() -> None:
    """Simulate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parents[1] / "agentsc" / "links" / "radio" / "5g-ldpc.csv"
    parser.add_argument("--out", type=Path, default=default, help="the file")
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    config.seed = SEED
    lines = [
        "# Block error rate of 5G LDPC codes over AWGN, python experiments/ldpc_table.py with sionna, seed "
        f"{SEED}.",
        f"# Blocks of {BITS_PER_BLOCK} bits, 20 iterations; modes: "
        + "; ".join(f"{mode} {name} {rate:.3g}" for mode, (name, rate) in enumerate(LADDER)),
        "mode,bits,snr_db,per,blocks,errors",
    ]
    for mode, ((name, rate), start) in enumerate(zip(LADDER, START_DB, strict=True)):
        for level, blocks, errors in curve(name, rate, start):
            lines.append(f"{mode},{BITS_PER_BLOCK},{level:g},{errors / blocks:.5g},{blocks},{errors}")
            print(lines[-1], flush=True)
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
