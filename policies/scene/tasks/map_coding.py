"""Learning to code soft class maps for noisy channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from envs.scenery import CLASSES
from policies.scene.categorical import decided
from policies.scene.presets.soft_map import SoftMap
from policies.scene.tasks import SETS, Task, cell, measured
from policies.scene.tasks.coding import SNRS_DB, estimates, exponential
from policies.scene.tasks.understanding import mean_iou


class MapCoding(Task):
    """Cross-entropy of cells' classes behind the channel, at random rates and SNRs.

    What is sent are class probabilities as a segmenter gives them: sharp to blurred, the score of the true class raised
    over noise. Half of the maps meet no fading, a quarter one Rayleigh gain each, a quarter a gain per symbol. Of a
    fourth of all maps a random share of symbols never arrives, of another fourth all behind some symbol: other users
    have those subcarriers, or a decision is due before they come.
    """

    def __init__(self, preset: SoftMap) -> None:
        super().__init__(preset)
        self.low, self.high, self.phases = preset.snr_low_db, preset.snr_high_db, 4 * preset.planes
        self.rarity = preset.rarity

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        _, labels = self.scenes(self.seeds(generator))
        batch = len(labels)
        soft = softened(labels, generator)
        snr_db = self.low + (self.high - self.low) * torch.rand(batch, generator=generator)
        # Few symbols as often as many: even in the logarithm.
        share = torch.rand(batch, generator=generator)
        sent = torch.exp(share * float(np.log(self.phases + 0.999))).long().clamp(1, self.phases)
        symbols: torch.Tensor = network.encode(soft, snr_db, sent)  # type: ignore[operator]
        shape = symbols.shape[:-1]
        kind = torch.rand(batch, generator=generator)[:, None, None, None]
        flat = exponential((batch, 1, 1, 1), generator)
        power = torch.where(kind < 0.5, 1.0, torch.where(kind < 0.75, flat, exponential(shape, generator)))
        power = power * self._arrives(sent, shape, generator)
        noise = torch.randn(symbols.shape, generator=generator)
        known = estimates(network, symbols, power, snr_db, sent, noise)
        scores = network.decode(*known, snr_db, sent)  # type: ignore[operator]
        seen = torch.bincount(labels.flatten(), minlength=len(CLASSES)).float() / labels.numel()
        weight = seen.clamp_min(1e-3) ** -self.rarity
        nats = nn.functional.cross_entropy(scores.float(), labels, weight / weight.mean())
        return nats, nats.detach()

    def _arrives(
        self, sent: torch.Tensor, shape: tuple[int, ...], generator: torch.Generator
    ) -> torch.Tensor:
        """Zeros for symbols [batch, phase, h, w] that never come, else ones."""
        batch = shape[0]
        kind = torch.rand(batch, 1, generator=generator)
        share = torch.rand(batch, 1, generator=generator)
        count = int(np.prod(shape[1:]))
        number = torch.arange(count)[None] / (sent[:, None] * (count // shape[1]))
        lost = torch.where(kind < 0.25, torch.rand(batch, count, generator=generator) < share, False)
        late = torch.where((kind >= 0.25) & (kind < 0.5), number > share.clamp_min(0.1), False)
        return (~(lost | late)).float().reshape(shape)

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        rows = []
        for name, families in SETS.items():
            _, labels = self.unseen(families)
            soft = nn.functional.one_hot(labels, len(CLASSES)).movedim(-1, 1).float()
            for sent in sorted({1, max(self.phases // 8, 1), max(self.phases // 2, 1), self.phases}):
                row: dict[str, Any] = {"set": name, "phases": sent}
                for snr in SNRS_DB:
                    generator = torch.Generator().manual_seed(int(1000 * snr) + sent)
                    level, many = torch.full((len(soft),), snr), torch.full((len(soft),), sent)
                    symbols = network.encode(soft, level, many)  # type: ignore[operator]
                    noise = torch.randn(symbols.shape, generator=generator)
                    known = estimates(network, symbols, torch.ones(1, 1, 1, 1), level, many, noise)
                    scores = network.decode(*known, level, many)  # type: ignore[operator]
                    made = torch.as_tensor(decided(torch.softmax(scores.float(), dim=1).numpy()))
                    row["symbols"] = int(symbols[0, :sent, ..., 0].numel())
                    row[f"miou_{snr:g}db"] = measured(
                        np.asarray([mean_iou(a, b) for a, b in zip(made, labels, strict=True)])
                    )
                rows.append(row)
        return {"rows": rows, "images": self.preset.held_out}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        head = [f"{snr:g} dB" for snr in SNRS_DB]
        lines = [
            f"Held-out quality over AWGN, {held_out['images']} true maps each: mIoU with the true map. A symbol is"
            " complex and has mean energy 1 per map; N0 = 10^(−SNR/10).",
            "",
            "| maps | symbols | " + " | ".join(head) + " |",
            "|---|---|" + "---|" * len(head),
        ]
        for row in held_out["rows"]:
            cells = [cell(row[f"miou_{snr:g}db"], 3) for snr in SNRS_DB]
            lines.append(f"| {row['set']} | {row['symbols']} | " + " | ".join(cells) + " |")
        return lines


def softened(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Class probabilities [batch, classes, H, W] as a segmenter might give them of int64 labels [batch, H, W]."""
    hot = nn.functional.one_hot(labels, len(CLASSES)).movedim(-1, 1).float()
    sure = 4.0 + 8.0 * torch.rand(len(labels), 1, 1, 1, generator=generator)
    return torch.softmax(sure * hot + torch.randn(hot.shape, generator=generator), dim=1)
