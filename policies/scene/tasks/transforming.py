"""Learning to code images in few bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from policies.networks.transform_code import DEPTHS, Forecast, bits
from policies.scene.presets import ScenePreset
from policies.scene.tasks import SETS, Task, cell, measured

QUALITIES = (-1.0, -0.5, 0.0, 0.5, 1.0)
_WEIGHT = 0.5


class Transforming(Task):
    """Bits of numbers with uniform noise, plus error of the image from rounded ones, at random qualities.

    Bits and error are weighed by the quality's price of error; the sum is divided by a root of it, so that no quality
    drowns the others. Rounding passes gradients straight through.
    """

    def __init__(self, preset: ScenePreset) -> None:
        super().__init__(preset)
        x, _ = self.scenes(np.arange(1024))
        self.mean = [round(float(each), 4) for each in x.mean((0, 2, 3))]

    @property
    def spec(self) -> dict[str, Any]:
        return {**self.preset.spec, "data_mean": self.mean, "data_size": self.preset.size}

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x, _ = self.scenes(self.seeds(generator))
        # Even quantiles, one draw apart: every batch sees all qualities.
        share = (torch.arange(len(x)) + torch.rand(1, generator=generator)) / len(x)
        quality = 2.0 * share - 1.0
        numbers = network.analyse(x, quality)  # type: ignore[operator]
        noisy = numbers + torch.rand(numbers.shape, generator=generator) - 0.5
        spent, forecast = network.rate(noisy, quality)  # type: ignore[operator]
        gap = numbers - forecast.mean
        rounded = forecast.mean + gap + (gap.round() - gap).detach()
        error = ((network.synthesise(rounded, quality).float() - x) / 2.0).square().mean((1, 2, 3))  # type: ignore[operator]
        low, high = (math.log(depth) for depth in DEPTHS)
        price = torch.exp(low + 0.5 * (high - low) * (quality + 1.0))
        cost = (spent + price * error) / price.pow(_WEIGHT)
        return 0.1 * cost.mean(), error.mean().detach()

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        rows = []
        for name, families in SETS.items():
            x, _ = self.unseen(families)
            row: dict[str, Any] = {"set": name}
            for level in QUALITIES:
                quality = torch.full((len(x),), level)
                numbers = network.analyse(x, quality)  # type: ignore[operator]

                whole, spent = rounded(network, numbers, quality)
                made = network.synthesise(whole, quality).clamp(-1.0, 1.0)  # type: ignore[operator]
                error = ((made - x) / 2.0).square().mean((1, 2, 3))
                row[f"psnr_{level:g}"] = measured(-10.0 * error.log10())
                row[f"bits_{level:g}"] = measured(spent)
            rows.append(row)
        return {"rows": rows, "images": self.preset.held_out}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        lines = [
            f"Held-out quality, {held_out['images']} images each: PSNR in dB (peak 1) and bits that the forecasts ask"
            " for an image; what the entropy coder adds is below one bit and the filling of the last byte.",
            "",
            "| images | " + " | ".join(f"quality {level:g}" for level in QUALITIES) + " |",
            "|---|" + "---|" * len(QUALITIES),
        ]
        for row in held_out["rows"]:
            cells = [f"{cell(row[f'psnr_{q:g}'])} dB, {row[f'bits_{q:g}']['mean']:.0f} bits" for q in QUALITIES]
            lines.append(f"| {row['set']} | " + " | ".join(cells) + " |")
        return lines


def rounded(network: Any, numbers: torch.Tensor, quality: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers as a reader has them, and the bits that they take [batch], for `analyse`d numbers."""
    spent = torch.zeros(len(numbers))

    def settle(number: int, places: torch.Tensor, forecast: Forecast) -> torch.Tensor:
        first = sum(network.slices[:number])
        gap = (numbers[:, first : first + network.slices[number]] - forecast.mean).round()
        spent.add_((bits(gap, forecast.scale) * places).sum((1, 2, 3)))
        return gap + forecast.mean

    return network.fill(numbers, quality, settle), spent
