"""Encoder and decoder of learned joint source–channel coding: an image becomes analog symbols, and back."""

from __future__ import annotations

import torch
from torch import nn

from envs.errors import ConfigError
from policies.networks.convolution import ResidualBlock, Scalars, norm

SNR_SCALE_DB = 10.0
"""Unit in which networks are told signal-to-noise ratios."""


class _Half(nn.Module):
    """Two levels of residual blocks, with ``fine`` and ``coarse`` channels; told (SNR, rate)."""

    def __init__(self, fine: int, coarse: int, blocks: int) -> None:
        super().__init__()
        self.told = Scalars(2, 64, reach=2.0)
        self.fine = nn.ModuleList(ResidualBlock(fine, 64) for _ in range(blocks))
        self.coarse = nn.ModuleList(ResidualBlock(coarse, 64) for _ in range(blocks + 1))


class Encoder(_Half):
    """Image [batch, 3, H, W] → [batch, 2 · places, H/4, W/4], not yet of any power."""

    def __init__(self, planes: int, fine: int, coarse: int, blocks: int) -> None:
        super().__init__(fine, coarse, blocks)
        self.entry = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, fine, 3, padding=1))
        self.shrink = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * fine, coarse, 1))
        self.exit = nn.Sequential(norm(coarse), nn.SiLU(), nn.Conv2d(coarse, 2 * planes, 3, padding=1))

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """x in [−1, 1]; told [batch, 2]."""
        condition = self.told(told)
        hidden = self.entry(x)
        for block in self.fine:
            hidden = block(hidden, condition)
        hidden = self.shrink(hidden)
        for block in self.coarse:
            hidden = block(hidden, condition)
        return self.exit(hidden)


class Decoder(_Half):
    """Estimates and variances of symbols [batch, 3 · planes, H/4, W/4] → image [batch, 3, H, W]."""

    def __init__(self, planes: int, fine: int, coarse: int, blocks: int) -> None:
        super().__init__(fine, coarse, blocks)
        self.entry = nn.Conv2d(3 * planes, coarse, 3, padding=1)
        self.grow = nn.Sequential(nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2))
        self.exit = nn.Sequential(
            norm(fine), nn.SiLU(), nn.Conv2d(fine, 12, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """x as above; told [batch, 2]."""
        condition = self.told(told)
        hidden = self.entry(x)
        for block in self.coarse:
            hidden = block(hidden, condition)
        hidden = self.grow(hidden)
        for block in self.fine:
            hidden = block(hidden, condition)
        return self.exit(hidden)


def seen_planes(estimate: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """What a receiver knows of symbols as channels of an image, [batch, 3 · planes, h, w].

    Args:
        estimate: [batch, planes, h, w, 2]. variance: of each symbol given what was received, [batch, planes, h, w].
    """
    return torch.cat([estimate.movedim(-1, 2).flatten(1, 2), variance], dim=1)


class DeepJSCC(nn.Module):
    """Joint source–channel coding that knows the signal-to-noise ratio and works at several rates.

    Symbols lie in ``planes`` planes of H/4 × W/4 complex numbers; a rate is how many planes are sent, so one plane is a
    48th of a channel use per number of the image. The receiver first estimates every symbol linearly: a symbol that was
    not sent, or is lost, is one whose variance given what was received is its whole variance, 1. Every channel with a
    known gain therefore looks alike to the decoder.

    Args:
        planes: at most. fine, coarse: channels of the two levels. blocks: residual blocks of each.

    Raises:
        ConfigError: no planes, or widths that are not positive multiples of 4.

    Reference: Bourtsoulatze, Burth Kurka and Gündüz, "Deep joint source-channel coding for wireless image
    transmission", 2019; Xu et al., "Wireless image transmission using deep source channel coding with attention
    modules", 2022 (told the SNR); Burth Kurka and Gündüz, "Bandwidth-agile image transmission", 2021 (rates).
    """

    def __init__(self, planes: int = 8, fine: int = 32, coarse: int = 64, blocks: int = 2) -> None:
        super().__init__()
        if planes < 1 or min(fine, coarse) < 4 or fine % 4 or coarse % 4:
            raise ConfigError(
                f"planes must be at least 1, fine and coarse multiples of 4, got {planes}, {fine} and {coarse}"
            )
        self.planes = planes
        self.encoder = Encoder(planes, fine, coarse, blocks)
        self.decoder = Decoder(planes, fine, coarse, blocks)

    def encode(self, x: torch.Tensor, snr_db: torch.Tensor, sent: torch.Tensor) -> torch.Tensor:
        """Symbols [batch, planes, H/4, W/4, 2] of mean energy 1 per image over the planes that are sent, else 0.

        Args:
            x: [batch, 3, H, W] in [−1, 1], sides that are multiples of 4. snr_db: [batch], that is expected.
            sent: planes sent, int64 [batch].
        """
        z = self.encoder(x, self._told(x, snr_db, sent))
        z = z.to(torch.promote_types(z.dtype, torch.float32))  # energies are not to be summed in half precision
        z = z.unflatten(1, (self.planes, 2)).movedim(2, -1)
        alive = self.alive(sent)[:, :, None, None, None]
        z = z * alive
        energy = z.square().sum((1, 2, 3, 4), keepdim=True)
        count = (sent * z.shape[2] * z.shape[3]).reshape(-1, 1, 1, 1, 1)
        return z * (count / energy.clamp_min(1e-12)).sqrt()

    def decode(
        self, estimate: torch.Tensor, variance: torch.Tensor, snr_db: torch.Tensor, sent: torch.Tensor
    ) -> torch.Tensor:
        """Images [batch, 3, H, W], about in [−1, 1].

        Args:
            estimate: of symbols [batch, planes, h, w, 2]. variance: of each given what was received, in [0, 1],
                [batch, planes, h, w]. snr_db, sent: as the sender had them.
        """
        seen = seen_planes(estimate, variance)
        return self.decoder(seen, self._told(seen, snr_db, sent))

    def alive(self, sent: torch.Tensor) -> torch.Tensor:
        """Which planes are sent, [batch, planes] of zeros and ones."""
        return (torch.arange(self.planes, device=sent.device) < sent[:, None]).float()

    def _told(self, x: torch.Tensor, snr_db: torch.Tensor, sent: torch.Tensor) -> torch.Tensor:
        return torch.stack([snr_db / SNR_SCALE_DB - 1.0, 2.0 * sent / self.planes - 1.0], dim=1).to(x.dtype)
