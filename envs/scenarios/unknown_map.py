"""Trips through a map that nobody knows at the start: agents see what is near, and may tell each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.errors import ConfigError
from envs.geometry import Obstacles
from envs.keyed import hash_words, stream_id
from envs.maps import cell_centre
from envs.scenarios import SCENARIOS, Scenario
from envs.scenarios._grid import GridMap
from envs.unknown import SIDE, Unknown, draw
from envs.world import World


@SCENARIOS.register("unknown-map")
class UnknownMap(Scenario):
    """Trips across a map that nobody knows at the start: agents see what is near and not hidden.

    | fact | value |
    |---|---|
    | arena | 23 × 23 cells of 1 m, walled; another map in every episode |
    | known at the start | bounds, roster, own goal; nothing of what stands in between |
    | seen | once a tick, the cells within ``sight_m`` that no obstacle hides |
    """

    name: ClassVar[str] = "unknown-map"
    omits: ClassVar[tuple[str, ...]] = (
        *(each for each in Scenario.omits if not each.startswith("sensing errors")),
        "errors of position: each agent knows its own place exactly; what it sees is wrong by chance, see error",
    )

    agents: int = Field(8, ge=1, le=128, description="number of agents")
    family: Literal["rooms", "bars", "blocks", "maze"] = Field("rooms", description="kind of map")
    sight_m: float = Field(4.0, ge=1.5, le=30.0, description="how far an agent sees, m")
    error: float = Field(0.0, ge=0.0, lt=0.5, description="chance that one look at one cell is wrong")
    radius: float = Field(0.3, gt=0, le=0.3, description="radius of an agent, m; a cell is 1 m wide")
    v_max: float = Field(1.0, gt=0, le=2.0, description="top speed, m/s")
    dt: float = Field(0.25, gt=0, le=0.5, description="length of a tick, s")
    goal_tolerance: float = Field(0.2, gt=0, lt=0.5, description="an agent this near to its goal is there, m")
    max_ticks: int = Field(480, ge=1, description="time limit in ticks")

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        maps, spots = [], []
        for episode in episodes:
            key = hash_words(seed, stream_id("scenario.unknown-map"), int(episode))
            number = int(key) & 0x7FFFFFFF
            grid = GridMap(self.name, draw(self.family, number))
            maps.append(grid.blocked)
            spots.append(self._spots(grid.largest, seed, int(episode)))
        places = np.array(spots, np.float32).reshape(-1, 2, self.agents, 2)
        unknown = Unknown(np.array(maps, bool), 1.0, self.sight_m, self.error, self.family)
        return World(
            name=self.name,
            obstacles=Obstacles((), unknown.bounds),
            radius=self.radius,
            v_max=self.v_max,
            a_max=self.acceleration_limit(self.v_max),
            dt=self.dt,
            dynamics=self.dynamics,
            goal_tolerance=self.goal_tolerance,
            separation=2 * self.radius,
            max_ticks=self.max_ticks,
            cell=1.0,
            starts=np.ascontiguousarray(places[:, 0]),
            goals=np.ascontiguousarray(places[:, 1]),
            episodes=np.asarray(episodes, np.int64),
            notes=f"{self.family}, {SIDE}×{SIDE} cells that nobody knows, seed {seed}",
            unknown=unknown,
        )

    def _spots(self, room: NDArray[np.int64], seed: int, episode: int) -> tuple[NDArray, NDArray]:
        """Starts and goals [agent, 2] of one episode: distinct free cells, goals far from their starts."""
        if len(room) < 2 * self.agents:
            raise ConfigError(
                f"scenario.unknown-map.agents must be at most {len(room) // 2} on this map, got {self.agents}"
            )
        number = np.arange(len(room))
        start, goal = (
            room[np.argsort(hash_words(seed, stream_id(f"{self.name}.{what}"), episode, number), kind="stable")]
            for what in ("start", "goal")
        )
        start = start[: self.agents]
        # Each start in turn takes the first free goal at least half of the arena away, or else the farthest one.
        chosen, taken = [], np.zeros(len(goal), bool)
        for spot in start:
            away = np.abs(goal - spot).max(1)
            good = np.flatnonzero((away >= SIDE // 2) & ~taken)
            pick = int(good[0]) if len(good) else int(np.where(taken, -1, away).argmax())
            taken[pick] = True
            chosen.append(goal[pick])
        return cell_centre(start), cell_centre(np.array(chosen))
