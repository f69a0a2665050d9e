"""Learning to predict the cells of class maps, for entropy coding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from policies.networks.context_net import SCALES, ContextNet
from policies.scene.map_code import MapCode, coarser
from policies.scene.tasks import SETS, Task, cell, measured


class Predicting(Task):
    """Bits per map under the network's probabilities, at all resolutions that maps are coded at.

    A batch has its maps at full resolution; each lower one is learned from the same maps.
    """

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        _, labels = self.scenes(self.seeds(generator))
        maps = labels.numpy().astype(np.uint8)
        total = torch.zeros(())
        plain = torch.zeros(())
        for scale in range(SCALES):
            small = torch.as_tensor(coarser(maps, scale).astype(np.int64))
            nats = nn.functional.cross_entropy(math.log(2.0) * network(small, scale).float(), small)
            plain = nats.detach() if scale == 0 else plain
            total = total + nats * small[0].numel() / labels[0].numel()
        return total, plain

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        assert isinstance(network, ContextNet)
        code = MapCode(network, self.preset.size)
        rows = []
        for name, families in SETS.items():
            maps = self.unseen(families)[1].numpy().astype(np.uint8)
            row: dict[str, Any] = {"set": name}
            for scale in range(SCALES):
                row[f"bytes_{scale}"] = measured(np.asarray([code.encode_bits(each, scale)[1] / 8.0 for each in maps]))
            rows.append(row)
        return {"rows": rows, "images": self.preset.held_out}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        sides = [self.preset.size >> scale for scale in range(SCALES)]
        lines = [
            f"Held-out quality, {held_out['images']} maps each: bytes of a map's packet, coded losslessly at that many"
            " cells per side.",
            "",
            "| maps | " + " | ".join(f"{side} × {side}" for side in sides) + " |",
            "|---|" + "---|" * len(sides),
        ]
        for row in held_out["rows"]:
            cells = [cell(row[f"bytes_{scale}"], 1) for scale in range(SCALES)]
            lines.append(f"| {row['set']} | " + " | ".join(cells) + " |")
        return lines
