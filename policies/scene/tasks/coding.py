"""Learning to code images for noisy channels."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from policies.networks.jscc import seen_planes
from policies.scene.presets.jscc import Jscc
from policies.scene.tasks import SETS, Task, cell, measured

SNRS_DB = (0.0, 5.0, 10.0, 15.0, 20.0)


class Coding(Task):
    """Mean squared error behind the channel, at random rates and SNRs.

    Half of the images meet no fading, a quarter one Rayleigh gain each, a quarter a gain per symbol; receivers know
    gains. A fifth of them is sent at half of all planes, the rest at any number.
    """

    def __init__(self, preset: Jscc) -> None:
        super().__init__(preset)
        self.low, self.high, self.planes = preset.snr_low_db, preset.snr_high_db, preset.planes

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x, _ = self.scenes(self.seeds(generator))
        made = over_any_channel(network, x, (self.low, self.high), generator).image
        error = (made.float() - x).square().mean()
        return error, error.detach()

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        rows = []
        for name, families in SETS.items():
            x, _ = self.unseen(families)
            for sent in sorted({1, max(self.planes // 4, 1), max(self.planes // 2, 1), self.planes}):
                row: dict[str, Any] = {"set": name, "cbr": f"{sent}/48"}
                for snr in SNRS_DB:
                    generator = torch.Generator().manual_seed(int(1000 * snr) + sent)
                    level, planes = torch.full((len(x),), snr), torch.full((len(x),), sent)
                    symbols = network.encode(x, level, planes)  # type: ignore[operator]
                    noise = torch.randn(symbols.shape, generator=generator)
                    known = estimates(network, symbols, torch.ones(1, 1, 1, 1), level, planes, noise)
                    made = network.decode(*known, level, planes)  # type: ignore[operator]
                    error = ((made.clamp(-1.0, 1.0) - x) / 2.0).square().mean((1, 2, 3))
                    row[f"psnr_{snr:g}db"] = measured(-10.0 * error.log10())
                rows.append(row)
        return {"rows": rows, "images": self.preset.held_out}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        head = [f"PSNR at {snr:g} dB" for snr in SNRS_DB]
        lines = [
            f"Held-out quality over AWGN, {held_out['images']} images each, PSNR in dB with peak 1. A symbol is complex"
            " and has mean energy 1 per image; N0 = 10^(−SNR/10); CBR is complex channel uses per number of the image.",
            "",
            "| images | CBR | " + " | ".join(head) + " |",
            "|---|---|" + "---|" * len(head),
        ]
        for row in held_out["rows"]:
            cells = [cell(row[f"psnr_{snr:g}db"]) for snr in SNRS_DB]
            lines.append(f"| {row['set']} | {row['cbr']} | " + " | ".join(cells) + " |")
        return lines


class Passed(NamedTuple):
    """Images behind random channels.

    image: [batch, 3, H, W]. seen: what is known of symbols, [batch, 3 · planes, h, w]. snr_db, sent: [batch].
    left: mean variance of the symbols that were sent, given what was received, [batch].
    """

    image: torch.Tensor
    seen: torch.Tensor
    snr_db: torch.Tensor
    sent: torch.Tensor
    left: torch.Tensor


def over_any_channel(
    network: Any, x: torch.Tensor, snrs_db: tuple[float, float], generator: torch.Generator
) -> Passed:
    """What the codec's decoder makes of x [batch, 3, H, W] at random rates, SNRs and fading, as `Coding` says."""
    batch, planes = len(x), network.planes
    low, high = snrs_db
    snr_db = low + (high - low) * torch.rand(batch, generator=generator)
    sent = 1 + torch.randint(planes, (batch,), generator=generator)
    usual = torch.rand(batch, generator=generator) < 0.2
    sent = torch.where(usual, max(planes // 2, 1), sent)
    kind = torch.rand(batch, generator=generator)[:, None, None, None]
    symbols: torch.Tensor = network.encode(x, snr_db, sent)
    shape = symbols.shape[:-1]
    flat = exponential((batch, 1, 1, 1), generator)
    power = torch.where(kind < 0.5, 1.0, torch.where(kind < 0.75, flat, exponential(shape, generator)))
    known = estimates(network, symbols, power, snr_db, sent, torch.randn(symbols.shape, generator=generator))
    made = network.decode(*known, snr_db, sent)
    noise = torch.pow(10.0, -0.1 * snr_db)[:, None, None, None]
    alive = network.alive(sent)[:, :, None, None].expand(shape)
    left = ((noise / (power + noise)).expand(shape) * alive).sum((1, 2, 3)) / alive.sum((1, 2, 3))
    return Passed(made, seen_planes(*known), snr_db, sent, left)


def estimates(
    network: Any,
    symbols: torch.Tensor,
    power: torch.Tensor,
    snr_db: torch.Tensor,
    sent: torch.Tensor,
    noise: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear estimates of all symbols, and what is left of their variance, behind a channel whose gains are known.

    A gain's phase is undone exactly, so only its ``power`` [batch, plane, h, w] (or to be broadcast) matters: received
    is √power · s + n with n ~ CN(0, N0).
    """
    variance = torch.pow(10.0, -0.1 * snr_db)[:, None, None, None]
    gain = power.sqrt()[..., None]
    received = gain * symbols + (0.5 * variance[..., None]).sqrt() * noise
    estimate = gain * received / (gain.square() + variance[..., None])
    left = (variance / (power + variance)).expand(symbols.shape[:-1])
    alive = network.alive(sent)[:, :, None, None]
    return estimate * alive[..., None], torch.where(alive > 0.0, left, 1.0)


def exponential(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Power of Rayleigh gains of mean 1."""
    return -torch.rand(shape, generator=generator).clamp_min(1e-7).log()
