"""The load of ``agentsc bench core``: what a fleet asked of its core, recorded, and requests for maps beside it.

Own plans and imagined peers are those of 64 agents (by default) that run the protocol ``negotiated`` in the
warehouse and all plan anew in every round, which is the worst case. Every agent's rows are a request
of their own, so that joining them is part of what is measured. One agent in eight also asks for four
samples of a semantic map of which it has seen half (6 classes, 16 × 16, an untrained network: weights
do not change how long it takes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agentsc.actors.fleet import LocalFleet, make_core
from agentsc.experiment.runner import nearest
from agentsc.links.medium import Medium
from agentsc.protocol import PROTOCOLS, Setup
from envs import keyed
from envs.arena import Arena
from envs.scenarios import SCENARIOS
from envs.world import World
from policies import rows
from policies.arrays import ArrayModel
from policies.core import DiffusionCore
from policies.diffusion.operators import Mask
from policies.diffusion.process import Process
from policies.diffusion.process.cosine import CosineVP
from policies.requests import ArrayRequest, Observation, SampleRequest

if TYPE_CHECKING:
    from agentsc.experiment.core_bench import CoreBench

SEED = 1
WARM = 7
"""Samples of an agent's request that start from its own ideas; the rest start from noise."""
ROUNDS = 6
"""Different rounds that are recorded; repetitions go through them in turn."""
MAP_SHAPE = (6, 16, 16)
SEEN = 6 * 16 * 8
"""Numbers of a map that are measured."""
MAP_STEPS = 10
MAP_SAMPLES = 4
MAPS_EVERY = 8


def left_half() -> Mask:
    """The left half of a map is seen."""
    keep = torch.zeros(MAP_SHAPE, dtype=torch.bool)
    keep[..., : MAP_SHAPE[2] // 2] = True
    return Mask(keep)


class MapNet(torch.nn.Module):
    """A small convolutional denoiser with keyed weights."""

    def __init__(self, process: Process, width: int = 24) -> None:
        super().__init__()
        self.process = process
        sizes = (MAP_SHAPE[0] + 1, width, width, MAP_SHAPE[0])
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = torch.nn.ModuleList(torch.nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        for number, weights in enumerate(self.parameters()):
            key = keyed.hash_words(SEED, keyed.stream_id("map-net"), np.array([number]))
            drawn = torch.as_tensor(keyed.normal(key, tuple(weights.shape))[0])
            weights.data = drawn / max(weights[0].numel(), 1) ** 0.5
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor, t: float) -> torch.Tensor:
        """x [batch, 6, 16, 16] → clean estimate."""
        level = torch.full_like(x[:, :1], self.process.sigma(t))
        hidden = torch.cat([x, level], dim=1)
        for layer in self.layers[:-1]:
            hidden = torch.nn.functional.silu(layer(hidden))
        return torch.tanh(self.layers[-1](hidden))


def build_world(bench: CoreBench) -> World:
    """The warehouse with that many agents."""
    world: World = SCENARIOS.create("warehouse", agents=bench.agents).build(SEED, [0])
    return world


def build_core(bench: CoreBench) -> DiffusionCore:
    """The core that is measured: the shipped trajectory prior, and the maps."""
    torch.set_num_threads(1)
    setup = Setup.of(build_world(bench), prior="edge-prior", rounds=2, seed=SEED)
    planner = make_core(
        setup, None, bench.device, solver=bench.solver, steps=bench.steps, precision=bench.precision,
        compiled=bench.compiled,
    )  # fmt: skip
    process = CosineVP()
    maps = ArrayModel(
        MapNet(process).to(bench.device), process, MAP_SHAPE, steps=MAP_STEPS, device=bench.device,
        operators={"left half": left_half()}, precision=bench.precision,
    )  # fmt: skip
    return DiffusionCore({**planner.models, "maps": maps})


def record(bench: CoreBench) -> list[list[list[Any]]]:
    """The requests of every recorded round, agent by agent: [round][agent][request]."""
    world = build_world(bench)
    setup = Setup.of(world, prior="edge-prior", rounds=2, seed=SEED)
    protocol = PROTOCOLS.create("negotiated", replan_ticks=1, samples=bench.samples - WARM)
    fleet = LocalFleet(protocol, setup, None, "cpu")
    tape = _Tape(fleet.core)
    fleet.core = tape  # type: ignore[assignment]
    medium = Medium("gilbert-elliott:p=0.05,r=0.2", SEED, world.episodes, world.agents, world.dt / 2)
    arena = Arena(world)
    rounds: list[list[list[Any]]] = []
    for tick in range(ROUNDS + 4):
        for number in range(2):
            clock = 2 * tick + number
            inbox = medium.deliver(clock)
            if number == 0:
                fleet.block.pending.valid[:] = False  # type: ignore[attr-defined]  # everyone decides anew
            medium.transmit(fleet.round(inbox, clock, deciding=number == 0), clock)
        arena.step(fleet.act(arena.position, arena.velocity, nearest(arena.position), tick))
        if tick >= 4:  # before, nothing has been heard of anyone
            rounds.append(_by_agent(bench, tick, tape.requests))
        tape.requests = []
    return rounds


class _Tape:
    """A core that notes what it is asked."""

    def __init__(self, core: Any) -> None:
        self.core, self.requests = core, list[SampleRequest]()

    def sample(self, request: SampleRequest) -> Any:
        """Pass it on."""
        self.requests.append(request)
        return self.core.sample(request)


def _by_agent(bench: CoreBench, tick: int, requests: list[SampleRequest]) -> list[list[Any]]:
    shared: list[list[Any]] = [[] for _ in range(bench.agents)]
    for request in requests:
        parts = np.array_split(np.arange(len(request.keys)), bench.agents)
        for own, part in zip(shared, parts, strict=True):
            if len(part):
                own.append(rows.take(request, part))
    for agent in range(0, bench.agents, MAPS_EVERY):
        keys = keyed.hash_words(SEED, keyed.stream_id("maps"), tick, agent, np.arange(MAP_SAMPLES))
        seen = keyed.normal(keys[:1], (SEEN,), 1).repeat(MAP_SAMPLES, 0)
        shared[agent].append(ArrayRequest("maps", keys, Observation(seen, "left half", 0.5, "pigdm:backprop=false")))
    return shared
