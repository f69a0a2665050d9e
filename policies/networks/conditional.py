"""A U-Net that removes noise from what an image lacks, given the image, its symbols and how well they arrived."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from policies.networks.convolution import Scalars
from policies.networks.unet import UNet

HEARD = 8
"""Channels that symbols become at every pixel."""
TOLD = 3
"""Numbers about the reception of an image, see `reception`."""


class ConditionalUNet(UNet):
    """`UNet` on a noisy residual beside the image that it belongs to, told the noise level and the reception.

    Symbols lie in planes of a quarter of the image's sides, as in `DeepJSCC`, and become channels of every pixel.

    Args:
        planes: of symbols. width, multipliers, unshuffle: as of `UNet`.

    Reference: Whang et al., "Deblurring via stochastic refinement", 2022 (diffusion of the residual of a deterministic
    estimate); Saharia et al., "Image super-resolution via iterative refinement", 2022 (conditions as channels).
    """

    def __init__(
        self, planes: int = 8, width: int = 48, multipliers: Sequence[int] = (1, 2, 2), unshuffle: int = 2
    ) -> None:
        super().__init__(6 + HEARD, width, multipliers, unshuffle, outputs=3)
        self.clock = Scalars(1 + TOLD, 2 * width, reach=2.0)
        self.heard = nn.Sequential(nn.Conv2d(3 * planes, 16 * HEARD, 1), nn.PixelShuffle(4))

    def refine(
        self,
        residual: torch.Tensor,
        noise: torch.Tensor,
        image: torch.Tensor,
        seen: torch.Tensor,
        told: torch.Tensor,
    ) -> torch.Tensor:
        """What EDM preconditioning asks of a network, [batch, 3, H, W].

        Args:
            residual: scaled noisy residual [batch, 3, H, W]. noise: level [batch].
            image: in [−1, 1], of the residual's shape. seen: what is known of its symbols, see `jscc.seen_planes`,
            [batch, 3 · planes, H/4, W/4]. told: [batch, 3], see `reception`.
        """
        level = torch.cat([noise[:, None], told], dim=1).to(residual.dtype)
        known = [image.to(residual.dtype), self.heard(seen.to(residual.dtype))]
        return self.through(torch.cat([residual, *known], dim=1), self.clock(level))


def reception(left: torch.Tensor, cbr: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
    """What the network is told of images, [batch, 3], each about in [−1, 1].

    Args:
        left: mean variance of the symbols given what was received, in (0, 1]. cbr: symbols per number of the image.
        snr_db: that the sender expected. [batch] each.
    """
    return torch.stack([-left.clamp_min(1e-4).log10() - 1.0, 12.0 * cbr - 1.0, 0.1 * snr_db - 1.0], dim=1)
