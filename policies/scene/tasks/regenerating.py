"""Learning to draw an image from its class map."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from envs.scenery import CLASSES
from policies.scene.presets.map_to_scene import MapToScene
from policies.scene.tasks import SETS, Task, cell, measured
from policies.scene.tasks.denoising import precondition

RATIOS = (0.1, 0.5, 2.0, 5.0)


class Regenerating(Task):
    """EDM's objective as `Denoising` has it, given the map; some maps are left out, for classifier-free guidance."""

    def __init__(self, preset: MapToScene) -> None:
        super().__init__(preset)
        self.mean, self.std, self.drop = preset.ratio_mean, preset.ratio_std, preset.drop
        x, _ = self.scenes(np.arange(1024))
        self.sigma_data = round(float(x.std()), 4)

    @property
    def spec(self) -> dict[str, Any]:
        return {**self.preset.spec, "data_sigma": self.sigma_data, "data_size": self.preset.size}

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x, labels = self.scenes(self.seeds(generator))
        hot = nn.functional.one_hot(labels, len(CLASSES)).movedim(-1, 1).float()
        hot = hot * (torch.rand(len(x), 1, 1, 1, generator=generator) >= self.drop)
        share = (torch.arange(len(x)) + torch.rand(1, generator=generator)) / len(x)
        normal = math.sqrt(2.0) * torch.erfinv((2.0 * share - 1.0).clamp(-0.9999, 0.9999))
        ratio = torch.exp(self.mean + self.std * normal)
        noise = torch.randn(x.shape, generator=generator)
        skip, out, scale, clock = (each[:, None, None, None] for each in precondition(ratio, self.sigma_data))
        noisy = x + ratio[:, None, None, None] * noise
        target = (x - skip * noisy) / out
        error = (network(scale * noisy, clock.flatten(), hot).float() - target).square().mean()
        return error, error.detach()

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        rows = []
        for name, families in SETS.items():
            x, labels = self.unseen(families)
            hot = nn.functional.one_hot(labels, len(CLASSES)).movedim(-1, 1).float()
            for given, guide in (("map", hot), ("nothing", 0.0 * hot)):
                row: dict[str, Any] = {"set": name, "given": given}
                for ratio in RATIOS:
                    generator = torch.Generator().manual_seed(int(1000 * ratio))
                    noise = torch.randn(x.shape, generator=generator)
                    skip, out, scale, clock = precondition(torch.tensor([ratio]), self.sigma_data)
                    noisy = x + ratio * noise
                    clean = skip * noisy + out * network(scale * noisy, clock, guide)
                    row[f"psnr_{ratio:g}"] = measured(-10.0 * ((clean - x) / 2.0).square().mean((1, 2, 3)).log10())
                rows.append(row)
        return {"rows": rows, "images": self.preset.held_out}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        lines = [
            f"Held-out quality, {held_out['images']} images each: PSNR in dB (peak 1) of the clean estimate from an"
            f" image in [−1, 1] with Gaussian noise of standard deviation σ, given its map or nothing; the data's own"
            f" is {self.sigma_data}.",
            "",
            "| images | given | " + " | ".join(f"σ = {ratio:g}" for ratio in RATIOS) + " |",
            "|---|---|" + "---|" * len(RATIOS),
        ]
        for row in held_out["rows"]:
            cells = [cell(row[f"psnr_{ratio:g}"]) for ratio in RATIOS]
            lines.append(f"| {row['set']} | {row['given']} | " + " | ".join(cells) + " |")
        return lines
