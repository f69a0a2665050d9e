"""The chance that an unseen cell is filled, from a network that has seen other maps; a model of the diffusion core."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from policies.core import DiffusionCore
from policies.models import Meter, Model, check_keys, check_rows, device_of
from policies.requests import Report
from policies.scene.files import load

NAME = "occupancy-prior"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class MapRequest:
    """Maps to be filled in.

    Attributes:
        model: name. keys: uint64 [batch], only counted. filled, seen: float32 [batch, row, column], 0 or 1.
    """

    model: str
    keys: NDArray[np.uint64]
    filled: Floats
    seen: Floats


@dataclass(frozen=True)
class MapReply:
    """chance: float32 [batch, row, column], to be filled; of seen cells too. report: how it was served."""

    chance: Floats
    report: Report | None = None


class MapModel(Model[MapRequest, MapReply]):
    """A map prior. network: `MapNet`, in evaluation mode. device: where it lives."""

    def __init__(self, network: torch.nn.Module, device: str = "cpu") -> None:
        self.network, self.device = network, device_of(device)

    def check(self, request: MapRequest) -> None:
        check_keys(request.keys)
        for name in ("filled", "seen"):
            check_rows(name, getattr(request, name), len(request.keys), request.seen.shape[1:])

    def key(self, request: MapRequest) -> Hashable:
        return request.seen.shape[1:]

    def sample(self, request: MapRequest, meter: Meter) -> MapReply:
        filled, seen = (torch.as_tensor(each, device=self.device) for each in (request.filled, request.seen))
        with torch.no_grad(), meter.forward(len(seen)):
            x = torch.stack([filled * seen, seen * (1.0 - filled), torch.ones_like(seen)], dim=1)
            chance = torch.sigmoid(self.network(x))
        return MapReply(chance.float().cpu().numpy())


def map_core(weights: Path | str | None = None, device: str = "cpu") -> DiffusionCore:
    """A core that fills in maps.

    Raises:
        ConfigError: a file that is missing or unfit, an unknown device.
    """
    network, _, _ = load(NAME, weights, device)
    return DiffusionCore({NAME: MapModel(network, device)})


def fill(core: DiffusionCore, cells: NDArray[np.int8]) -> Floats:
    """Chances [map, row, column] that cells are filled, where ``cells`` int8 [map, row, column] are −1, 0 or 1."""
    keys = np.arange(len(cells), dtype=np.uint64)
    seen = (cells >= 0).astype(np.float32)
    reply: MapReply = core.sample(MapRequest(NAME, keys, (cells == 1).astype(np.float32), seen))
    return reply.chance
