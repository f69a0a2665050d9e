"""Joint source–channel coding of soft class maps: `DeepJSCC` for other channels and finer rates."""

from __future__ import annotations

import torch
from torch import nn

from policies.networks.jscc import DeepJSCC


class MapJSCC(DeepJSCC):
    """Class probabilities → complex symbols → class scores.

    A plane of `DeepJSCC` is cut into its four phases, every second symbol of every second row, and a rate is how many
    of these are sent: a quarter of the least rate, which a map of few bits needs.

    Args:
        planes: of the underlying codec, four rates each. fine, coarse, blocks: as there. classes: of the maps.
    """

    def __init__(
        self, planes: int = 8, fine: int = 24, coarse: int = 48, blocks: int = 2, classes: int = 6
    ) -> None:
        super().__init__(planes, fine, coarse, blocks)
        self.whole_planes, self.planes = planes, 4 * planes
        self.encoder.entry = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * classes, fine, 3, padding=1))
        last = self.decoder.exit
        self.decoder.exit = nn.Sequential(
            last[0], last[1], nn.Conv2d(fine, 4 * classes, 3, padding=1), nn.PixelShuffle(2)
        )

    def encode(self, x: torch.Tensor, snr_db: torch.Tensor, sent: torch.Tensor) -> torch.Tensor:
        """Symbols [batch, 4 · planes, H/8, W/8, 2] of mean energy 1 per map over what is sent, else 0.

        Args:
            x: probabilities [batch, classes, H, W]. snr_db: [batch]. sent: phases of planes, int64 [batch].
        """
        z = self.encoder(2.0 * x - 1.0, self._told(x, snr_db, sent))
        z = z.to(torch.promote_types(z.dtype, torch.float32)).unflatten(1, (self.whole_planes, 2))
        z = nn.functional.pixel_unshuffle(z, 2).unflatten(2, (2, 4)).movedim(2, -1).flatten(1, 2)
        z = z * self.alive(sent)[:, :, None, None, None]
        energy = z.square().sum((1, 2, 3, 4), keepdim=True)
        count = (sent * z.shape[2] * z.shape[3]).reshape(-1, 1, 1, 1, 1)
        return z * (count / energy.clamp_min(1e-12)).sqrt()

    def decode(
        self, estimate: torch.Tensor, variance: torch.Tensor, snr_db: torch.Tensor, sent: torch.Tensor
    ) -> torch.Tensor:
        """Class scores [batch, classes, H, W], natural logarithms up to a constant; arguments as `DeepJSCC.decode`."""
        both = torch.cat([estimate, variance[..., None]], dim=-1).unflatten(1, (self.whole_planes, 4))
        seen = nn.functional.pixel_shuffle(both.movedim(-1, 2).flatten(2, 3), 2)  # [batch, plane, 3, H/4, W/4]
        seen = torch.cat([seen[:, :, :2].flatten(1, 2), seen[:, :, 2]], dim=1)
        return self.decoder(seen, self._told(seen, snr_db, sent))
