"""A U-Net that removes noise from what an image lacks, given the image and how well it was received."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from policies.networks.convolution import Scalars
from policies.networks.unet import UNet

TOLD = 3
"""Numbers about the reception of an image, see `reception`."""


class ConditionalUNet(UNet):
    """`UNet` on a noisy residual beside the image that it belongs to, told the noise level and the reception.

    Args: as `UNet`.

    Reference: Whang et al., "Deblurring via stochastic refinement", 2022 (diffusion of the residual of a deterministic
    estimate); Saharia et al., "Image super-resolution via iterative refinement", 2022 (conditions as channels).
    """

    def __init__(self, width: int = 40, multipliers: Sequence[int] = (1, 2, 2), unshuffle: int = 2) -> None:
        super().__init__(6, width, multipliers, unshuffle, outputs=3)
        self.clock = Scalars(1 + TOLD, 2 * width, reach=2.0)

    def refine(
        self, residual: torch.Tensor, image: torch.Tensor, noise: torch.Tensor, told: torch.Tensor
    ) -> torch.Tensor:
        """What EDM preconditioning asks of a network, [batch, 3, H, W].

        Args:
            residual: scaled noisy residual [batch, 3, H, W]. image: in [−1, 1], of that shape.
            noise: level [batch]. told: [batch, 3], see `reception`.
        """
        level = torch.cat([noise[:, None], told], dim=1).to(residual.dtype)
        return self.through(torch.cat([residual, image.to(residual.dtype)], dim=1), self.clock(level))


def reception(left: torch.Tensor, cbr: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
    """What the network is told of images, [batch, 3], each about in [−1, 1].

    Args:
        left: mean variance of the symbols given what was received, in (0, 1]. cbr: symbols per number of the image.
        snr_db: that the sender expected. [batch] each.
    """
    return torch.stack([-left.clamp_min(1e-4).log10() - 1.0, 12.0 * cbr - 1.0, 0.1 * snr_db - 1.0], dim=1)
