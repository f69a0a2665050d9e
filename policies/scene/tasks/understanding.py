"""Learning to say what is where, and what kind of scene it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from envs import scenery
from envs.scenery import CLASSES, TRAINED
from policies.scene.tasks import SETS, Task, cell, measured


class Understanding(Task):
    """Cross-entropy of pixels' classes, and of the scene's map family and floor pattern from its features.

    A third of the images is blurred by noise a little, so that scores do not hang on single pixels.
    """

    def loss(self, network: nn.Module, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        seeds = self.seeds(generator)
        x, labels = self.scenes(seeds)
        drawn = scenery.draw(seeds)
        level = 0.1 * torch.rand(len(x), 1, 1, 1, generator=generator)
        noisy = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.33
        x = x + torch.where(noisy, level, 0.0) * torch.randn(x.shape, generator=generator)
        scores, features = network(x)
        family, pattern = network.kinds  # type: ignore[misc]
        names = list(scenery.FAMILIES)
        order = torch.as_tensor([names.index(name) for name in TRAINED])
        which = (torch.as_tensor(drawn.family)[:, None] == order).float().argmax(1)
        floor = torch.as_tensor(drawn.looks[:, 6].astype(np.int64))
        # All pixels count alike: of scores learned with more weight for rare classes, those without it decided better.
        pixels = nn.functional.cross_entropy(scores.float(), labels)
        kinds = nn.functional.cross_entropy(family(features).float(), which)
        kinds = kinds + nn.functional.cross_entropy(pattern(features).float(), floor)
        return pixels + 0.1 * kinds, pixels.detach()

    def evaluate(self, network: nn.Module) -> dict[str, Any]:
        rows = []
        for name, families in SETS.items():
            x, labels = self.unseen(families)
            made = network(x)[0].argmax(1)
            together = [iou(made, labels, number) for number in range(len(CLASSES))]
            per_image = np.asarray([mean_iou(a, b) for a, b in zip(made, labels, strict=True)])
            rows.append(
                {
                    "set": name,
                    "miou": measured(per_image),
                    "accuracy": measured((made == labels).float().mean((1, 2))),
                    "classes": dict(zip(CLASSES, together, strict=True)),
                }
            )
        return {"rows": rows, "images": self.preset.held_out}

    def describe(self, held_out: dict[str, Any]) -> list[str]:
        lines = [
            f"Held-out quality, {held_out['images']} images each. mIoU: mean over an image's classes, then over images;"
            " columns of classes: intersection over union of all pixels together.",
            "",
            "| images | mIoU | accuracy | " + " | ".join(CLASSES) + " |",
            "|---|---|---|" + "---|" * len(CLASSES),
        ]
        for row in held_out["rows"]:
            classes = [f"{row['classes'][name]:.3f}" for name in CLASSES]
            lines.append(
                f"| {row['set']} | {cell(row['miou'], 3)} | {cell(row['accuracy'], 3)} | " + " | ".join(classes) + " |"
            )
        return lines


def iou(made: torch.Tensor, labels: torch.Tensor, number: int) -> float:
    """Intersection over union of one class; NaN where it is in neither."""
    both = ((made == number) & (labels == number)).sum()
    either = ((made == number) | (labels == number)).sum()
    return float(both / either) if either else float("nan")


def mean_iou(made: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean of `iou` over the classes that are in either of two maps [height, width]."""
    return float(np.nanmean([iou(made, labels, number) for number in range(len(CLASSES))]))
