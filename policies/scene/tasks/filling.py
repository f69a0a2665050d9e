"""Filling in maps: the chance that an unseen cell is filled, from looks that agents may have had."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from envs import keyed
from envs.unknown import HELD_OUT, SIDE, TRAINED, draw, sight
from policies.scene.presets import HELD_OUT_SEED
from policies.scene.tasks import Task, cell, measured

Flags = NDArray[np.bool_]

MOST_LOOKS = 24
"""Places that a map has been looked at from, at most."""
BINS = 10
"""Of chances, to measure calibration."""


def features(filled: Flags, seen: Flags) -> torch.Tensor:
    """What `MapNet` is told: float32 [map, 3, H, W] of filled and seen, bool [map, H, W] each."""
    x = np.stack([filled & seen, seen & ~filled, np.ones_like(seen)], axis=1)
    return torch.as_tensor(x.astype(np.float32))


def looks(seeds: NDArray[np.int64], families: tuple[str, ...]) -> tuple[Flags, Flags]:
    """Maps of those seeds, and what is seen of each from a few places: bool [map, SIDE, SIDE] each."""
    key = keyed.stream_id("looks")
    chosen = np.floor(keyed.uniform(key, seeds, 0) * len(families)).astype(int)
    maps = np.array([draw(families[which], int(seed)) for which, seed in zip(chosen, seeds, strict=True)])
    seen = np.zeros_like(maps)
    for number, seed in enumerate(seeds.tolist()):
        free = np.argwhere(~maps[number])[:, ::-1]
        count = 1 + int(MOST_LOOKS * keyed.uniform(key, seed, 1) ** 2)
        place = (keyed.uniform(key, seed, 2, np.arange(count)) * len(free)).astype(int)
        reach = 2.5 + 3.5 * float(keyed.uniform(key, seed, 3))
        spots = (free[place] + 0.5)[None].astype(np.float32)
        seen[number] = sight(maps[number : number + 1], spots, reach)[0].any(0)
    return maps, seen


class Filling(Task):
    """Log-loss of unseen cells."""

    @property
    def data(self) -> str:
        families = ", ".join(TRAINED)
        return f"maps of {SIDE} × {SIDE} cells ({families}), seen from up to {MOST_LOOKS} places (`envs.unknown`)"

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        maps, seen = looks(self.seeds(generator), TRAINED)
        scores = network(features(maps, seen))
        each = nn.functional.binary_cross_entropy_with_logits(
            scores, torch.as_tensor(maps.astype(np.float32)), reduction="none"
        )
        hidden = torch.as_tensor(~seen)
        error = each[hidden].mean()
        return error, error.detach()

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        seeds = HELD_OUT_SEED + np.arange(self.preset.held_out)
        maps, seen = looks(HELD_OUT_SEED // 2 + np.arange(self.preset.held_out), TRAINED)
        share = float(maps[~seen].mean())  # what one would say without looking
        rows = []
        for name, families in (("trained families", TRAINED), ("held-out families", HELD_OUT)):
            maps, seen = looks(seeds, families)
            chance = torch.sigmoid(network(features(maps, seen))).numpy().astype(np.float64)
            rows.append({"set": name, **quality(chance, maps, ~seen, share)})
        return {"rows": rows, "maps": self.preset.held_out}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        lines = [
            f"Unseen cells of {held_out['maps']} maps each; seeds are new in both. Log-loss in bits a cell, beside that"
            " of the trained families' share of filled cells; calibration error: mean distance between the chance said"
            f" and the share that was filled, over {BINS} bins of equal width, weighted by cells.",
            "",
            "| maps | log-loss | without looking | calibration error |",
            "|---|---|---|---|",
        ]
        for row in held_out["rows"]:
            lines.append(
                f"| {row['set']} | {cell(row['log_loss'], 3)} | {cell(row['blind'], 3)} | {row['calibration']:.3f} |"
            )
        return lines


def quality(chance: NDArray[np.float64], filled: Flags, hidden: Flags, share: float) -> dict[str, Any]:
    """How good chances [map, H, W] of hidden cells to be filled are; ``share`` is said by who does not look."""

    def bits(said: NDArray[np.float64]) -> NDArray[np.float64]:
        right = np.where(filled, said, 1.0 - said).clip(1e-6, 1.0)
        return np.array([-np.log2(r[h]).mean() for r, h in zip(right, hidden, strict=True) if h.any()])

    return {
        "log_loss": measured(bits(chance)),
        "blind": measured(bits(np.full_like(chance, share))),
        "calibration": calibration_error(chance[hidden], filled[hidden]),
    }


def calibration_error(chance: NDArray[np.float64], filled: Flags) -> float:
    """Mean distance between chances [n] and what came of them, over `BINS` bins, weighted by cells."""
    which = np.minimum((chance * BINS).astype(int), BINS - 1)
    count = np.bincount(which, minlength=BINS)
    said, came = np.bincount(which, chance, BINS), np.bincount(which, filled.astype(float), BINS)
    return float(np.abs(said - came).sum() / max(count.sum(), 1))
