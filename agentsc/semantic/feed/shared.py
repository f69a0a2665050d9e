"""One core for plans and pictures: a fleet's planner and an operator's feed ask the same `DiffusionCore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentsc.actors.fleet import make_core
from agentsc.protocol import Setup
from policies.core import DiffusionCore
from policies.scene.shipped import scene_core


def shared_core(
    setup: Setup,
    device: str = "cpu",
    weights: Mapping[str, Path | str] | None = None,
    also: Sequence[str] = (),
    **options: Any,
) -> DiffusionCore:
    """A core that has the trajectory prior of a run, and the codec, prior and segmenter of pictures.

    Args:
        setup: of the run. weights: name of a scene model → its file. also: further scene models, such as a decoder's
            `models`. options: as for `agentsc.actors.fleet.make_core`.

    Raises:
        ConfigError: weights that are missing or unfit, or no such device.
    """
    planner = make_core(setup, None, device, **options)
    pictures, _ = scene_core(weights, device, also=also)
    return DiffusionCore({**planner.models, **pictures.models})


class RemoteCore:
    """A core that lives in a Ray actor, with the calls of one that is here."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def sample(self, request: Any) -> Any:
        """See `DiffusionCore.sample`."""
        return self.sample_many([request])[0]

    def sample_many(self, requests: Any) -> list[Any]:
        """See `DiffusionCore.sample_many`."""
        from agentsc.actors.ray_fleet import fetch

        found: list[Any] = fetch(self.actor.sample_many.remote(list(requests)))
        return found
