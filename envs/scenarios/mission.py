"""A mission in words: who goes where, when, and which way around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from envs import scene_graph
from envs.errors import ConfigError
from envs.events import GOAL, Events
from envs.geometry import Obstacles
from envs.keyed import hash_words, stream_id
from envs.scenarios import SCENARIOS, Motion
from envs.scenarios._unit import BOUNDS, DT, SPACING, Float, UnitScenario, box, straightness
from envs.scenarios.highways import circulation, counter_clockwise
from envs.world import World

if TYPE_CHECKING:
    import networkx as nx

FAR, NEAR = 0.72, 0.68
PLACES: dict[str, tuple[float, float]] = {
    "east": (FAR, 0.0), "north-east": (NEAR, NEAR), "north": (0.0, FAR), "north-west": (-NEAR, NEAR),
    "west": (-FAR, 0.0), "south-west": (-NEAR, -NEAR), "south": (0.0, -FAR), "south-east": (NEAR, -NEAR),
}  # fmt: skip
"""Eight named places around a block in the middle, metres."""
CENTRE = (0.0, 0.0)
STALLS = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)], np.float32) * np.float32(1.06 * SPACING)
"""Where agents rest at a place, float32 [stall, 2], metres from its middle."""


def clockwise(points: Float) -> Float:
    """The other way around; see `envs.scenarios.highways.counter_clockwise`."""
    return -counter_clockwise(points)


def clockwise_share(positions: Float) -> Float:
    """1 for an agent whose way turns clockwise, else 0; see `envs.scenarios.highways.circulation`."""
    turned = circulation(positions * np.array([1, -1], np.float32))
    return turned.astype(np.float32)


@SCENARIOS.register("mission")
class Mission(UnitScenario):
    """Eight places around a block, and a mission in words that says who goes where, when, and which way around.

    The words become a scene graph, which agents get as tokens (`envs.scene_graph`): its edges are their goals and the
    motion pattern that their prior is conditioned on. Which way around is for all or nobody. Who is told nothing
    stays. Orders that begin later are given to the agent then, and nobody else hears of them but by its intent. Who
    starts at which stall of which place is drawn.
    """

    name: ClassVar[str] = "mission"
    boxes: ClassVar[tuple[tuple[float, ...], ...]] = (box(0, 0, 0.6, 0.6, 0.1),)

    agents: int = Field(10, ge=1, le=len(PLACES) * len(STALLS) // 2, description="number of agents")
    mission: str = Field("all cross; all circle left", description=f"orders: {scene_graph.GRAMMAR}")

    def graph(self, starts: Float) -> nx.MultiDiGraph:
        """The mission as agents that start there, float32 [agent, 2], get it: through its tokens."""
        words = scene_graph.parse(self.mission, starts.tolist(), PLACES, CENTRE, "scenario.mission.mission")
        return scene_graph.decode(*scene_graph.encode(words, BOUNDS), BOUNDS)

    @cached_property
    def _way(self) -> str | None:
        """Which way around, if any."""
        spots = np.zeros((self.agents, 2), np.float32)
        graph = self.graph(spots)
        ways = [
            (actor, edge["verb"]) for actor, _, edge in graph.edges(data=True) if edge["verb"].startswith("circles")
        ]
        if not ways:
            return None
        late = [edge["from_s"] for _, _, edge in graph.edges(data=True) if edge["verb"].startswith("circles")]
        if len({verb for _, verb in ways}) > 1 or len({actor for actor, _ in ways}) < self.agents or max(late) > 0:
            raise ConfigError(
                "scenario.mission.mission must have all circle the same way, from the start on, or nobody, "
                f"got {self.mission!r}"
            )
        return ways[0][1]

    def motion(self, obstacles: Obstacles) -> Motion:
        """See `Scenario.motion`."""
        if self._way is None:
            return Motion(None, straightness, None)
        left = self._way == "circles left"
        return Motion(counter_clockwise, circulation) if left else Motion(clockwise, clockwise_share)

    def points(self, seed: int, episode: int) -> tuple[Float, Float]:
        """See `UnitScenario.points`: goals are the stalls of where each is told to go first."""
        starts = self._starts(seed, episode)
        return starts, self._orders(starts)[0][1]

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        world = super().build(seed, episodes)
        rows: list[tuple[int, int, int, float, float]] = []
        for lane in range(world.lanes):
            orders = self._orders(world.starts[lane])
            for (_, before), (from_s, goals) in zip(orders, orders[1:], strict=False):
                for agent in np.flatnonzero((goals != before).any(1)).tolist():
                    rows.append((max(round(from_s / DT), 1), lane, agent, *goals[agent].tolist()))
        if not rows:
            return world
        table = np.array(rows, np.float64)
        tick, lanes, subject = table[:, :3].T.astype(np.int64)
        kind, none = np.full(len(rows), GOAL), np.zeros((world.lanes, 0, 5), np.float32)
        return replace(world, events=Events(tick, lanes, kind, subject, table[:, 3:].astype(np.float32), none))

    def _starts(self, seed: int, episode: int) -> Float:
        """Every other stall, so that those who come find room: who stands where is drawn."""
        stalls = np.concatenate([np.array(PLACES[name], np.float32) + STALLS[::2] for name in PLACES])
        order = np.argsort(
            hash_words(seed, stream_id("scenario.mission"), episode, np.arange(len(stalls))), kind="stable"
        )
        return stalls[order[: self.agents]].astype(np.float32)

    def _orders(self, starts: Float) -> list[tuple[int, Float]]:
        """From when on (seconds) who is to be where, float32 [agent, 2], in the order of time."""
        graph = self.graph(starts)
        told = [
            (edge["from_s"], actor, thing)
            for actor, thing, edge in graph.edges(data=True)
            if edge["verb"] == "heads for"
        ]
        goals, orders = starts.copy(), []
        middles = np.array(list(PLACES.values()), np.float32)
        for from_s in sorted({0, *(each[0] for each in told)}):
            goals = goals.copy()
            now = {actor: thing for when, actor, thing in told if when == from_s}
            for actor, thing in sorted(now.items()):
                at = np.array(graph.nodes[thing]["at"], np.float32)
                place = middles[np.argmin(np.linalg.norm(middles - at, axis=1))]
                stalls = place + STALLS
                # The free stall that is nearest to where the agent comes from; those that are told later come later.
                others = np.delete(goals, [actor, *(other for other in now if other > actor)], axis=0)
                taken = (np.linalg.norm(stalls[:, None] - others, axis=-1) < SPACING).any(1)
                if taken.all():
                    raise ConfigError(
                        f"scenario.mission.mission must send at most {len(STALLS)} agents to one place, got more"
                    )
                gap = np.where(taken, np.inf, np.linalg.norm(stalls - goals[actor], axis=-1))
                goals[actor] = stalls[np.argmin(gap)]
            orders.append((from_s, goals))
        return orders
