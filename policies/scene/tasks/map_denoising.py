"""Learning what class maps look like, by telling the classes of noisy ones."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from envs.scenery import CLASSES
from policies.scene.categorical import scores
from policies.scene.presets.map_prior import MapDiffusion
from policies.scene.tasks import SETS, Task, cell, measured

RATIOS = (0.3, 0.5, 1.0, 2.0, 4.0)


class MapDenoising(Task):
    """Cross-entropy of the classes of cells, given the map in noise; see `policies.scene.categorical`."""

    def __init__(self, preset: MapDiffusion) -> None:
        super().__init__(preset)
        self.mean, self.std = preset.ratio_mean, preset.ratio_std

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        _, labels = self.scenes(self.seeds(generator))
        # Even quantiles, one draw apart: every batch sees all levels.
        share = (torch.arange(len(labels)) + torch.rand(1, generator=generator)) / len(labels)
        normal = math.sqrt(2.0) * torch.erfinv((2.0 * share - 1.0).clamp(-0.9999, 0.9999))
        ratio = torch.exp(self.mean + self.std * normal)
        nats = nn.functional.cross_entropy(scores(network, _noisy(labels, ratio, generator), ratio), labels)
        return nats, nats.detach()

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        rows = []
        for name, families in SETS.items():
            _, labels = self.unseen(families)
            row: dict[str, Any] = {"set": name}
            for ratio in RATIOS:
                generator = torch.Generator().manual_seed(int(1000 * ratio))
                noisy, level = _noisy(labels, torch.full((1,), ratio), generator), torch.full((1,), ratio)
                bits = []
                for model in (network, _nothing):
                    nats = nn.functional.cross_entropy(scores(model, noisy, level), labels, reduction="none")
                    bits.append(nats.mean((1, 2)) / math.log(2.0))
                row[f"bits_{ratio:g}"], row[f"alone_{ratio:g}"] = (measured(each) for each in bits)
            rows.append(row)
        return {"rows": rows, "images": self.preset.held_out}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        lines = [
            f"Held-out quality, {held_out['images']} maps each: bits per cell that are left to learn of a map, −1 and 1"
            " one-hot, in Gaussian noise of standard deviation σ; and what would be left if cells were alone and"
            " classes alike likely.",
            "",
            "| maps | given | " + " | ".join(f"σ = {ratio:g}" for ratio in RATIOS) + " |",
            "|---|---|" + "---|" * len(RATIOS),
        ]
        for row in held_out["rows"]:
            for given, key in (("all cells", "bits"), ("the cell alone", "alone")):
                cells = [cell(row[f"{key}_{ratio:g}"], 3) for ratio in RATIOS]
                lines.append(f"| {row['set']} | {given} | " + " | ".join(cells) + " |")
        return lines


def _noisy(labels: torch.Tensor, ratio: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Maps as signals in noise, [batch, classes, H, W]."""
    x = 2.0 * nn.functional.one_hot(labels, len(CLASSES)).movedim(-1, 1).float() - 1.0
    return x + ratio.reshape(-1, 1, 1, 1) * torch.randn(x.shape, generator=generator)


def _nothing(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """A network that knows no surroundings."""
    return torch.zeros_like(x)
