"""The coordination protocol: propose → exchange → reconcile → commit.

A protocol is a pure state machine over arrays, run by blocks of agents. A block is given what
its radios delivered and what its own vehicles measure, and answers with what it wants sampled
and what it wants sent; nothing else goes in or out. The same block runs in this process or in a
Ray actor, alone or beside others, with the same result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from agentsc.intent.codes import PlanCode
from agentsc.intent.plan import PlanSpec
from agentsc.links.medium import Deliveries, Packets
from agentsc.protocol.architectures import ARCHITECTURES, Architecture, Hosted
from agentsc.protocol.reception import Received, Wanted, receive
from envs.errors import ConfigError
from envs.navigation import NavigationGrid
from envs.registry import Plugin, Registry
from envs.world import World
from policies.requests import SampleReply, SampleRequest
from policies.trajectory.context import Vehicle
from policies.trajectory.presets import PRIORS
from policies.trajectory.route import CLEARANCE, Guide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentsc.mapping.service import MapView

PROTOCOLS = Registry("protocols", "agentsc.protocol.variants", "agentsc.baselines")

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Sampler = Callable[[SampleRequest], SampleReply]


@dataclass(frozen=True)
class Setup:
    """What every block of a run is told before it starts. No peer's goal is in it.

    Attributes:
        world: the map, limits, and all starting positions (the roster); a block uses the goals of
            its own agents only, and nothing of the queue and the events that the simulator keeps there.
        spec: how plans cross the air. vehicle: limits of a plan. prior: name of the trajectory prior.
        rounds: message rounds per tick. seed: key of all randomness.
    """

    world: World
    spec: PlanSpec
    vehicle: Vehicle
    prior: str
    rounds: int
    seed: int

    @classmethod
    def of(cls, world: World, *, prior: str, rounds: int, seed: int, code: PlanCode | None = None) -> Setup:
        """The setup of a world, with plans of the shape that the prior was trained for.

        Args:
            code: how plans cross the air; None for the plain spline.
        """
        preset = PRIORS.create(prior)
        control_points, horizon_ticks = preset.control_points, preset.horizon_ticks
        spec = PlanSpec(world.bounds, world.v_max, world.dt, horizon_ticks, control_points)
        spec = spec if code is None else code.spec(spec)
        vehicle = Vehicle(world.radius, world.v_max, spec.horizon_s, control_points)
        return cls(world, spec, vehicle, prior, rounds, seed)

    def guide(self) -> Guide:
        """Routes on this map; each block builds its own."""
        world = self.world
        grid = NavigationGrid(world.obstacles, world.radius, world.cell, flow=world.flow, extent=world.bounds)
        return Guide(grid, world.obstacles, world.radius * CLEARANCE, self.vehicle.reach)


@dataclass
class Counters:
    """What a block counts per lane; summed over blocks by the runner (int64 [lane]).

    Attributes:
        invalid: deliveries whose contents were refused, whatever the reason.
    """

    proposals: Ints
    commits: Ints
    commit_rounds: Ints
    grants_asked: Ints
    grants_given: Ints
    brakes: Ints
    invalid: Ints

    @classmethod
    def zeros(cls, lanes: int) -> Counters:
        """All zero."""
        return cls(*(np.zeros(lanes, np.int64) for _ in range(7)))


@dataclass(frozen=True)
class Beliefs:
    """What receivers think that peers will do, as recorded when regenerated.

    Attributes:
        lane, agent: int64 [n], whom the belief is about. tick: when it was formed.
        samples: float32 [n, K, H + 1, 2], metres, at ticks ``tick`` … ``tick + H``.
        confidence: int64 [n], code in the token that was heard.
    """

    lane: Ints
    agent: Ints
    tick: int
    samples: Floats
    confidence: Ints


@dataclass(frozen=True)
class Trace:
    """What a block shows to a recorder: arrays [lane, agent of the block, …]; never read by peers.

    Attributes:
        plan: float32 [lane, agent, H + 1, 2], the committed positions from now on.
        pending: bool [lane, agent], a proposal awaits grants.
        proposal: float32 [lane, agent, H + 1, 2], its positions; NaN where there is none.
    """

    plan: Floats
    pending: NDArray[np.bool_]
    proposal: Floats

    @classmethod
    def join(cls, traces: Sequence[Trace | None]) -> Trace | None:
        """Several blocks' traces as one; None when none has plans."""
        some = [trace for trace in traces if trace is not None]
        if not some:
            return None
        return cls(*(np.concatenate([getattr(t, f.name) for t in some], axis=1) for f in fields(cls)))


class Block(ABC):
    """Agents ``ids`` of every lane. Calls come in this order, once per message round:

    `listen` → (`imagine` → `propose`, when ``deciding``) → `speak`; and after the rounds `act`.
    """

    def __init__(self, setup: Setup, ids: Sequence[int]) -> None:
        self.setup = setup
        self.ids = np.asarray(ids, np.int64)
        self.counters = Counters.zeros(setup.world.lanes)
        self.active = np.ones(setup.world.lanes, bool)
        """Lanes still running; the runner clears those that have ended."""
        self.alive = np.ones((setup.world.lanes, len(self.ids)), bool)
        """Bool [lane, agent of the block]: who takes part, see `muster`."""
        self.formed: list[Beliefs] = []
        self.sample: Sampler | None = None
        """The core, for samples that a block needs at once, whatever the round; set by the fleet, None without one."""

    @abstractmethod
    def listen(self, inbox: Deliveries, clock: int) -> None:
        """Take in what this block's radios delivered by round ``clock``."""

    def receive(self, inbox: Deliveries, clock: int, lead: int, wanted: Wanted) -> Received:
        """What of an inbox may be believed, in lanes that still run; the rest is counted as invalid.

        Args:
            lead: ticks ahead of its sending at which a plan may start. wanted: see `agentsc.protocol.reception`.
        """
        if not self.active.all():
            inbox = inbox.take(np.flatnonzero(self.active[inbox.lane]))
        world, rounds = self.setup.world, self.setup.rounds
        received, refused = receive(inbox, clock, self.setup.spec, self.ids, world.agents, rounds, lead, wanted)
        np.add.at(self.counters.invalid, inbox.lane[refused], 1)
        return received

    def imagine(self, clock: int) -> SampleRequest | None:
        """What to sample to understand what peers will do; None for nothing."""
        return None

    def propose(self, imagined: SampleReply | None, clock: int) -> SampleRequest | None:
        """What to sample for the agents whose turn it is to plan; None for nothing."""
        return None

    @abstractmethod
    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """Decide with the samples at hand, and say what has to be said."""

    @abstractmethod
    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        """Commands for the tick that starts now, from the vehicles' own measurements.

        Args:
            position, velocity: [lane, agent, 2] of this block's agents.
            proximity: [lane, agent], metres to the nearest other vehicle's centre, as an on-board
                range sensor measures it; for the safety monitor only.

        Returns:
            float32 [lane, agent, 2], m/s or m/s² as the world's dynamics ask.
        """

    def retarget(self, goal: Floats, tick: int) -> None:
        """From ``tick`` on some of these agents have another goal; called before the tick's rounds.

        Args:
            goal: float32 [lane, agent of the block, 2], metres, of all of them; each learns its own.

        Raises:
            ConfigError: the protocol cannot do that.
        """
        raise ConfigError(
            f"scenario must keep goals as they are for this protocol, got one that changes them "
            f"({type(self).__name__} does not implement retarget)"
        )

    def sense(self, boxes: Floats, tick: int) -> None:
        """Some of these agents have come to see late boxes (`envs.events`); called before the tick's rounds.

        Args:
            boxes: float32 [lane, agent of the block, box, 5], metres, all that each agent has seen so far; NaN for
                those that it has not. Protocols that do not look at them leave this as it is.
        """
        del boxes, tick

    def survey(self, view: MapView, tick: int) -> None:
        """Some of these agents know more of a map that nobody was told (`envs.unknown`); called before a tick's rounds.

        Args:
            view: what each agent of the block knows. Protocols that do not look at it leave this as it is.
        """
        del view, tick

    def muster(self, alive: NDArray[np.bool_], tick: int) -> None:
        """From ``tick`` on these agents take part: the others have failed, or not joined yet.

        Those decide nothing: they follow the plan that they have committed, and rest where it ends. What they send
        and what is sent to them is dropped by the runner.

        Args:
            alive: bool [lane, agent of the block].
        """
        self.alive = alive

    def begin(self, starts: Floats, goals: Floats, lanes: NDArray[np.bool_]) -> None:
        """Only of blocks whose lanes begin one by one, see `agentsc.hosting.lanes`."""
        raise NotImplementedError(f"all lanes of a {type(self).__name__} begin when it is made")

    def late(self, agents: NDArray[np.bool_]) -> None:
        """Before the start: the processes of these agents, bool [lane, agent], of all blocks, come later.

        Raises:
            ConfigError: the protocol has no rule for that; so do `stop` and `restart`.
        """
        raise _no_restarts(self)

    def stop(self, rows: NDArray[np.int64]) -> None:
        """The processes of some rows (lane · agents of the block + place in it) die; their vehicles go on."""
        raise _no_restarts(self)

    def restart(self, rows: NDArray[np.int64]) -> None:
        """The processes of some rows start, knowing the roster and what their vehicles say."""
        raise _no_restarts(self)

    def trace(self, tick: int) -> Trace | None:
        """What to show of these agents; None when they have no plans."""
        return None


def _no_restarts(block: Block) -> ConfigError:
    return ConfigError(
        f"scenario must let processes run for this protocol, got one in which they die or start anew "
        f"({type(block).__name__} has no rule for restarts)"
    )


class Variant(Plugin):
    """Base of protocols and baselines: parameters, how to make a block, and what it can measure."""

    architecture: str = Field(
        "distributed",
        description="where machines run: distributed, centralised or hybrid, NAME:key=value,…, "
        "see agentsc list architectures",
    )

    @field_validator("architecture")
    @classmethod
    def _known(cls, spec: str) -> str:
        try:
            ARCHITECTURES.parse(spec)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return spec

    @property
    def hosted(self) -> bool:
        """Whether hubs decide for its agents."""
        return isinstance(self.hosting, Hosted)

    @property
    def hosting(self) -> Architecture:
        """The architecture with its parameters."""
        architecture: Architecture = ARCHITECTURES.parse(self.architecture)
        return architecture

    @abstractmethod
    def block(self, setup: Setup, ids: Sequence[int]) -> Block:
        """The state machine of agents ``ids``."""

    @property
    def radio(self) -> str | None:
        """The link that an oracle baseline is given instead of the configured one; None for no oracle."""
        return None

    @property
    def negotiates(self) -> bool:
        """Whether plans wait for grants; otherwise grants are not measured."""
        return False

    @property
    def deliberates(self) -> bool:
        """Whether a chosen plan can still be given up; otherwise proposals and commits are not measured."""
        return self.negotiates

    @property
    def monitored(self) -> bool:
        """Whether a safety monitor counts near contacts."""
        return False

    @property
    def oracle(self) -> bool:
        """Whether it sees what no radio delivers: a bound to compare with, not a protocol to use."""
        return False

    @property
    def restarts(self) -> bool:
        """Whether it has a rule for processes that die, start anew or come late."""
        return False

    @property
    def explores(self) -> bool:
        """Whether its agents find their way over a map that nobody was told."""
        return False

    @property
    def plans_once(self) -> bool:
        """Whether everything is decided once, at the start, so that nothing may change on the way."""
        return False

    @property
    def needs_network(self) -> bool:
        """Whether blocks sample the trajectory prior."""
        return True


__all__ = [
    "PROTOCOLS",
    "Beliefs",
    "Block",
    "Counters",
    "Deliveries",
    "Packets",
    "SampleReply",
    "SampleRequest",
    "Setup",
    "Trace",
    "Variant",
]
