"""What coordination could achieve if nothing about communication mattered: a bound, not a protocol.

One planner sees all starts, all goals and the map, plans everybody's whole path before the start,
and everybody follows it. Nothing is sent, so nothing can be lost. This is the *named oracle* among
the protocols: it alone reads the goals of all agents from `Setup.world`. Every block works out
the same plans for itself, from the world, the seed and the episode's number.

It is a strong heuristic, not an optimum: lattice, prioritised search and improvement steps are
described in `agentsc.protocol.joint` (`lattice`, `one`, `search`, `complete`). When it finds
no plans, everybody stays at its start, and the lane counts as a failure.

Peers of its kind: CBS (G. Sharon et al., 2015), SIPP (M. Phillips and M. Likhachev, 2011), LaCAM
(K. Okumura, 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.baselines._unasked import nothing
from agentsc.protocol import PROTOCOLS, Block, Deliveries, Packets, SampleReply, Setup, Trace, Variant
from agentsc.protocol.joint.lattice import Lattice
from agentsc.protocol.joint.search import plan
from envs import keyed
from envs.errors import ConfigError

Floats = NDArray[np.float32]


@PROTOCOLS.register("central-search")
class CentralSearch(Variant):
    """Oracle bound: one search that sees all starts and goals plans everybody before the start; no radio."""

    architecture: Literal["centralised"] = Field(
        "centralised", description="where machines run: one planner for everybody, and no radio"
    )
    attempts: int = Field(100, ge=1, description="orders of agents tried until everybody has a path")
    repairs: int = Field(40, ge=0, description="neighbourhoods searched to improve the paths after that")

    def block(self, setup: Setup, ids: Sequence[int]) -> CentralBlock:
        return CentralBlock(self, setup, ids)

    @property
    def hosted(self) -> bool:
        """Its planner needs no hub's radio."""
        return False

    @property
    def oracle(self) -> bool:
        """It sees all goals, and needs no radio."""
        return True

    @property
    def plans_once(self) -> bool:
        """All paths are made before the start."""
        return True

    @property
    def needs_network(self) -> bool:
        """Nothing is sampled."""
        return False


class CentralBlock(Block):
    """Follows paths that were made before the start."""

    def __init__(self, variant: CentralSearch, setup: Setup, ids: Sequence[int]) -> None:
        super().__init__(setup, ids)
        world = setup.world
        if np.isfinite(world.a_max):
            raise ConfigError(
                f"scenario.a_max must be unlimited with protocol central-search, got {world.a_max} m/s² "
                "(its paths have corners: use dynamics=single without a_max)"
            )
        if world.release.any():
            raise ConfigError(
                "world.start_delay_s must be none with protocol central-search, got "
                f"{world.release.max()} ticks (its search starts everybody at once)"
            )
        lattice = Lattice.of(world)
        stream = keyed.stream_id("central-search")
        self.paths: list[Floats] = [
            plan(lattice, start, goal, (setup.seed, stream, int(episode)), variant.attempts, variant.repairs)
            for start, goal, episode in zip(world.starts, world.goals, world.episodes, strict=True)
        ]

    def planned(self, ticks: NDArray[np.int64]) -> Floats:
        """Positions [lane, k, agent of the block, 2] at ``ticks`` [k], metres."""
        return np.stack([path[np.minimum(ticks, len(path) - 1)][:, self.ids] for path in self.paths])

    def listen(self, inbox: Deliveries, clock: int) -> None:
        """There is nothing to hear."""

    def speak(self, sampled: SampleReply | None, clock: int) -> Packets:
        """There is nothing to say."""
        return nothing()

    def act(self, position: Floats, velocity: Floats, proximity: Floats, tick: int) -> Floats:
        """Velocities that lead to the path's next position."""
        ahead = self.planned(np.array([tick + 1]))[:, 0]
        return np.asarray((ahead - position) / np.float32(self.setup.world.dt), np.float32)

    def trace(self, tick: int) -> Trace:
        """The paths from now on; proposals there are none."""
        horizon = self.setup.spec.horizon_ticks
        path = self.planned(tick + np.arange(horizon + 1)).swapaxes(1, 2)
        return Trace(path, np.zeros(path.shape[:2], bool), np.full_like(path, np.nan))
