"""What the core is asked and what it answers: plain arrays, free of torch, ready to be sent to an actor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.trajectory.context import Context

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Peers:
    """What a batch of plans must keep clear of (numpy counterpart of `Neighbourhood`).

    Attributes:
        discs: float32 [batch, disc, waypoint, 2], metres. radius: float32 [batch, disc, waypoint].
        weight: float32 [batch, disc]. clearance: float32 [batch], metres from the static map.
    """

    discs: Floats
    radius: Floats
    weight: Floats
    clearance: Floats


@dataclass(frozen=True)
class SampleRequest:
    """One batch of planning problems.

    Attributes:
        prior: name of the model. context: conditions, one row per problem.
        keys: uint64 [batch]; all noise of a row comes from its key.
        fresh: samples per row that start from pure noise.
        warm: float32 [batch, warm, P, 2] or None; control points that join partly noised.
        late: so many of the last warm samples join at the last step, with little noise: ways that must
            be kept closely, such as through a narrow door.
        peers: guidance, or None to sample the bare prior.
        temperature: scale of the initial noise, one for all or [batch]; 1 samples the prior as trained.
    """

    prior: str
    context: Context
    keys: NDArray[np.uint64]
    fresh: int
    warm: Floats | None = None
    late: int = 0
    peers: Peers | None = None
    temperature: float | Floats = 1.0


@dataclass(frozen=True)
class SampleReply:
    """Samples of a request.

    Attributes:
        control: float32 [batch, sample, P, 2], metres; warm samples come last.
        cost: float32 [batch, sample], the consistency cost J with respect to peers; None without guidance.
        network_s: seconds inside network forward passes.
    """

    control: Floats
    cost: Floats | None
    network_s: float
