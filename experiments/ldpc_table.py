"""Packet error curves of 5G LDPC codes over AWGN, for links with ``decoding=table``: one for every mode of the ladder.

    python experiments/ldpc_table.py [--out agentsc/links/radio/5g-ldpc.csv] [--seed 1]

Needs sionna (``pip install -e .[peers]``). Codes of TS 38.212 with 144 information bits, Gray-mapped, exact
log-likelihood ratios, 20 iterations of belief propagation. Each curve climbs by half a decibel from where the
finite-blocklength bound says that half of all packets are lost, until fewer than one in 500 is; a point has at least
100 lost packets, or 20,000 sent. A packet counts as lost if any of its bits is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import sionna
import torch
from sionna.phy import config
from sionna.phy.channel import AWGN
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import BinarySource, Constellation, Demapper, Mapper

from agentsc.links.radio.link import LADDER
from agentsc.links.radio.modulation import BITS
from agentsc.links.radio.packet_error import finite_blocklength

BITS_EACH, ITERATIONS, BATCH = 144, 20, 500
LEAST_LOST, MOST_SENT, LOWEST = 100, 20_000, 1 / 500
STEP_DB = 0.5
OUT = Path(__file__).parents[1] / "agentsc" / "links" / "radio" / "5g-ldpc.csv"


def beginning_db(efficiency: float) -> float:
    """Where the best code of that length loses half of its packets, rounded down to a step."""
    grid = np.arange(-10.0, 40.0, STEP_DB)
    error = finite_blocklength(10.0 ** (0.1 * grid)[:, None], np.full(len(grid), BITS_EACH), efficiency)
    return float(grid[np.flatnonzero(error >= 0.5)[-1]])


class Chain:
    """Encoder, mapper, channel, demapper and decoder of one mode."""

    def __init__(self, modulation: str, rate: float) -> None:
        width = BITS[modulation]
        self.encoder = LDPC5GEncoder(BITS_EACH, round(BITS_EACH / rate))
        self.decoder = LDPC5GDecoder(self.encoder, num_iter=ITERATIONS)
        points = Constellation("pam" if width == 1 else "qam", width)
        self.source, self.mapper, self.channel = BinarySource(), Mapper(constellation=points), AWGN()
        self.demapper = Demapper("app", constellation=points)

    def lost(self, snr_db: float) -> tuple[int, int]:
        """Packets lost and sent."""
        noise = torch.tensor(10.0 ** (-0.1 * snr_db))
        lost = sent = 0
        while lost < LEAST_LOST and sent < MOST_SENT:
            bits = self.source([BATCH, BITS_EACH])
            received = self.channel(self.mapper(self.encoder(bits)), noise)
            found = self.decoder(self.demapper(received, noise))
            lost += int((found != bits).any(-1).sum())
            sent += BATCH
        return lost, sent


def main() -> None:
    """Simulate every mode, write the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="the CSV file to write")
    parser.add_argument("--seed", type=int, default=1, help="of sionna's random numbers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config.seed = options.seed
    lines = [
        "# Packet error of 5G LDPC codes (3GPP TS 38.212) over AWGN; snr_db is E_s/N_0.",
        f"# Made by: python experiments/ldpc_table.py --seed {options.seed}, with sionna {sionna.__version__}, torch "
        f"{torch.__version__.partition('+')[0]}.",
        f"# {BITS_EACH} information bits, {ITERATIONS} iterations of belief propagation, {LEAST_LOST} lost or "
        f"{MOST_SENT} sent packets per row.",
        *(f"# mode {mode}: {name} at rate {rate:.4g}" for mode, (name, rate) in enumerate(LADDER)),
        "mode,bits,snr_db,per,lost,sent",
    ]
    for mode, (name, rate) in enumerate(LADDER):
        chain = Chain(name, rate)
        level = beginning_db(BITS[name] * rate)
        while True:
            lost, sent = chain.lost(level)
            if lost:
                lines.append(f"{mode},{BITS_EACH},{level:g},{lost / sent:.4g},{lost},{sent}")
                options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
            if lost < LOWEST * sent:
                break
            level += STEP_DB
            print(lines[-1], flush=True)


if __name__ == "__main__":
    main()
