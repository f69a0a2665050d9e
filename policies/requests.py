"""What the core is asked and what it answers: plain arrays, free of torch, ready to be sent to an actor.

`SampleRequest` is for trajectory models, `ArrayRequest` for any model of arrays (images, maps, channels).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.trajectory.context import Context

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Report:
    """How a request was served.

    Attributes:
        queue_s: seconds from its arrival to the start of its batch.
        batch_rows: rows of the batch that it rode in (the largest, if it was cut).
        network_s: seconds that this batch spent inside network forward passes.
    """

    queue_s: float
    batch_rows: int
    network_s: float


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
class Steer:
    """A guidance term on a batch of plans, beside `Peers`.

    Attributes:
        guidance: ``NAME:key=value,…`` of a term on plans, see agentsc list guidance.
        charge: what it lowers, a data class of `policies.trajectory.terms` with a row per problem.
        length: metres over which the charge changes.
    """

    guidance: str
    charge: Any
    length: float


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
        steer: further terms that guide, in this order, before ``peers`` has the last word; only with peers.
    """

    prior: str
    context: Context
    keys: NDArray[np.uint64]
    fresh: int
    warm: Floats | None = None
    late: int = 0
    peers: Peers | None = None
    temperature: float | Floats = 1.0
    steer: tuple[Steer, ...] = ()

    @property
    def model(self) -> str:
        """Name of the model, as the core knows it."""
        return self.prior


@dataclass(frozen=True)
class SampleReply:
    """Samples of a request.

    Attributes:
        control: float32 [batch, sample, P, 2], metres; warm samples come last.
        cost: float32 [batch, sample], the consistency cost J with respect to peers; None without guidance.
        report: how the request was served.
    """

    control: Floats
    cost: Floats | None
    report: Report | None = None


@dataclass(frozen=True)
class Observation:
    """What was measured of every row: y = A x_0 + n with n ~ N(0, noise² I).

    Attributes:
        y: float32 [batch, m].
        operator: A, by the name under which the model holds it, or float32 [batch, m, d], a matrix per row.
        noise: standard deviation of each number of y.
        guidance: how samples follow it: ``NAME:key=value,…`` from `agentsc list guidance`, or such a plug-in
            itself, with hashable parameters. Only requests with equal ones ride together.
    """

    y: Floats
    operator: str | Floats
    noise: float
    guidance: Any


@dataclass(frozen=True)
class ArrayRequest:
    """One batch of arrays to be drawn, one for every key.

    Attributes:
        model: name of the model. keys: uint64 [batch]; all noise of a row comes from its key.
        observation: what samples must agree with; None draws from the prior.
        start: float32 [batch, *shape], clean guesses that are noised to ``start_time`` (SDEdit), or None.
        start_time: diffusion time to start from, in (0, 1]; 1 is pure noise.
    """

    model: str
    keys: NDArray[np.uint64]
    observation: Observation | None = None
    start: Floats | None = None
    start_time: float = 1.0


@dataclass(frozen=True)
class ArrayReply:
    """Samples of an `ArrayRequest`.

    Attributes:
        x: float32 [batch, *shape]. report: how the request was served.
    """

    x: Floats
    report: Report | None = None
