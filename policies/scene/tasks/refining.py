"""Learning what the codec's images lack."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from policies.networks.conditional import reception
from policies.networks.jscc import seen_planes
from policies.scene import files
from policies.scene.presets.conditional import Conditional
from policies.scene.tasks import SETS, Task, cell, measured
from policies.scene.tasks.coding import Passed, estimates, over_any_channel
from policies.scene.tasks.denoising import precondition

SNRS_DB = (0.0, 10.0, 20.0)


class Refining(Task):
    """EDM's objective for the residual of the codec's images, at random rates, SNRs and fading as the codec's own."""

    def __init__(self, preset: Conditional) -> None:
        super().__init__(preset)
        self.options = preset
        path = preset.codec or None
        self.codec, _, _ = files.load("jscc", path)
        self.fingerprint = files.fingerprint("jscc", path)
        x, _ = self.scenes(np.arange(512))
        self.sigma_data = round(float((self.sent(x, torch.Generator().manual_seed(0)).image - x).std()), 4)

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "planes": self.codec.planes, **self.preset.spec,
            "data_sigma": self.sigma_data, "data_size": self.preset.size, "data_codec": self.fingerprint,
        }  # fmt: skip

    def sent(self, x: torch.Tensor, generator: torch.Generator) -> Passed:
        """x behind random channels, as the codec's decoder shows it."""
        with torch.no_grad():
            passed = over_any_channel(self.codec, x, (self.options.snr_low_db, self.options.snr_high_db), generator)
        return passed._replace(image=passed.image.float().clamp(-1.0, 1.0))

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x, _ = self.scenes(self.seeds(generator))
        seen = self.sent(x, generator)
        share = (torch.arange(len(x)) + torch.rand(1, generator=generator)) / len(x)
        normal = math.sqrt(2.0) * torch.erfinv((2.0 * share - 1.0).clamp(-0.9999, 0.9999))
        ratio = torch.exp(self.options.ratio_mean + self.options.ratio_std * normal)
        noisy = x - seen.image + ratio[:, None, None, None] * torch.randn(x.shape, generator=generator)
        skip, out, scale, clock = (each[:, None, None, None] for each in precondition(ratio, self.sigma_data))
        told = reception(seen.left, seen.sent / 48.0, seen.snr_db)
        made = network.refine(scale * noisy, clock.flatten(), seen.image, seen.seen, told)  # type: ignore[operator]
        error = (made.float() - (x - seen.image - skip * noisy) / out).square().mean()
        return error, error.detach()

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        rows = []
        for name, families in SETS.items():
            x, _ = self.unseen(families)
            row: dict[str, Any] = {"set": name}
            for snr in SNRS_DB:
                generator = torch.Generator().manual_seed(int(1000 * snr))
                planes = torch.full((len(x),), max(self.codec.planes // 2, 1))
                level = torch.full((len(x),), snr)
                symbols = self.codec.encode(x, level, planes)
                noise = torch.randn(symbols.shape, generator=generator)
                known = estimates(self.codec, symbols, torch.ones(1, 1, 1, 1), level, planes, noise)
                image = self.codec.decode(*known, level, planes).clamp(-1.0, 1.0)
                left = 10.0 ** (-0.1 * level) / (1.0 + 10.0 ** (-0.1 * level))
                told = reception(left, planes / 48.0, level)
                ratio = torch.full((len(x),), 0.5)
                skip, out, scale, clock = (each[:, None, None, None] for each in precondition(ratio, self.sigma_data))
                noisy = 0.5 * torch.randn(x.shape, generator=generator)
                told_of = (image, seen_planes(*known), told)
                mean = skip * noisy + out * network.refine(scale * noisy, clock.flatten(), *told_of)  # type: ignore[operator]
                for what, made in (("codec", image), ("refined", (image + mean).clamp(-1.0, 1.0))):
                    error = ((made - x) / 2.0).square().mean((1, 2, 3))
                    row[f"{what}_{snr:g}db"] = measured(-10.0 * error.log10())
            rows.append(row)
        return {"rows": rows, "images": self.preset.held_out, "codec": self.fingerprint}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        lines = [
            f"Refines images of the codec whose weights begin with SHA-256 {held_out['codec']}; train it again when the"
            " codec is trained again.",
            "",
            f"Held-out quality over AWGN at half of the codec's planes, {held_out['images']} images each: PSNR in dB"
            " (peak 1) of the codec's image, and of the refined one after a single step.",
            "",
            "| images | " + " | ".join(f"codec, {snr:g} dB | one step, {snr:g} dB" for snr in SNRS_DB) + " |",
            "|---|" + "---|" * (2 * len(SNRS_DB)),
        ]
        for row in held_out["rows"]:
            cells = [cell(row[f"{what}_{snr:g}db"]) for snr in SNRS_DB for what in ("codec", "refined")]
            lines.append(f"| {row['set']} | " + " | ".join(cells) + " |")
        return lines
