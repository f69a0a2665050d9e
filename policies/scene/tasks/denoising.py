"""Learning what images of arenas look like, by denoising them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from policies.scene.presets.scene_prior import SceneDiffusion
from policies.scene.tasks import SETS, Task, cell, measured

RATIOS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Denoising(Task):
    """EDM's objective: unit-variance inputs and targets, noise levels log-normal in σ/α.

    Reference: Karras et al., "Elucidating the design space of diffusion-based generative models", 2022, table 1.
    """

    def __init__(self, preset: SceneDiffusion) -> None:
        super().__init__(preset)
        self.mean, self.std = preset.ratio_mean, preset.ratio_std
        x, _ = self.scenes(np.arange(1024))
        self.sigma_data = round(float(x.std()), 4)

    @property
    def spec(self) -> dict[str, Any]:
        return {**self.preset.spec, "data_sigma": self.sigma_data, "data_size": self.preset.size}

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x, _ = self.scenes(self.seeds(generator))
        # Even quantiles, one draw apart: every batch sees all levels.
        share = (torch.arange(len(x)) + torch.rand(1, generator=generator)) / len(x)
        normal = math.sqrt(2.0) * torch.erfinv((2.0 * share - 1.0).clamp(-0.9999, 0.9999))
        ratio = torch.exp(self.mean + self.std * normal)
        noise = torch.randn(x.shape, generator=generator)
        skip, out, scale, clock = (each[:, None, None, None] for each in precondition(ratio, self.sigma_data))
        noisy = x + ratio[:, None, None, None] * noise
        target = (x - skip * noisy) / out
        error = (network(scale * noisy, clock.flatten()).float() - target).square().mean()
        return error, error.detach()

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        rows = []
        for name, families in SETS.items():
            x, _ = self.unseen(families)
            row: dict[str, Any] = {"set": name}
            for ratio in RATIOS:
                generator = torch.Generator().manual_seed(int(1000 * ratio))
                noise = torch.randn(x.shape, generator=generator)
                skip, out, scale, clock = precondition(torch.tensor([ratio]), self.sigma_data)
                noisy = x + ratio * noise
                clean = skip * noisy + out * network(scale * noisy, clock)
                row[f"psnr_{ratio:g}"] = measured(-10.0 * ((clean - x) / 2.0).square().mean((1, 2, 3)).log10())
            rows.append(row)
        return {"rows": rows, "images": self.preset.held_out}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        lines = [
            f"Held-out quality, {held_out['images']} images each: PSNR in dB (peak 1) of the clean estimate from an"
            f" image in [−1, 1] with Gaussian noise of standard deviation σ; the data's own is {self.sigma_data}.",
            "",
            "| images | " + " | ".join(f"σ = {ratio:g}" for ratio in RATIOS) + " |",
            "|---|" + "---|" * len(RATIOS),
        ]
        for row in held_out["rows"]:
            lines.append(f"| {row['set']} | " + " | ".join(cell(row[f"psnr_{r:g}"]) for r in RATIOS) + " |")
        return lines


def precondition(ratio: torch.Tensor, sigma_data: float) -> tuple[torch.Tensor, ...]:
    """(skip, out, in, noise) for x_0 + ratio · ε, per row; as `parameterisation.preconditioning` has them at α = 1."""
    norm = ratio.square() + sigma_data**2
    return sigma_data**2 / norm, ratio * sigma_data / norm.sqrt(), norm.rsqrt(), 0.25 * ratio.log()
