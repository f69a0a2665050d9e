"""Nothing stays as it was: obstacles appear, doors close, roles are swapped, agents fail and join, processes die."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.errors import ConfigError
from envs.events import BOX, DIE, FAIL, GOAL, JOIN, PLAN_TICKS, START, Events
from envs.keyed import hash_words, stream_id, uniform
from envs.maps import rooms
from envs.scenarios import SCENARIOS
from envs.scenarios._grid import Cells, GridMap, GridScenario
from envs.world import World

SIDE, SIZE, DOOR = 4, 5, 2
"""Rooms in a row, inner side of a room and width of a door, cells."""

Rows = list[tuple[int, int, int, float, float]]
"""Events of one lane: tick, kind, subject, and x and y of a goal (NaN for other kinds)."""


@lru_cache(maxsize=1)
def floor() -> GridMap:
    """Four by four rooms with a door in every wall between two of them."""
    return GridMap("surprise", rooms(SIDE, SIDE, SIZE, DOOR, loops=1.0))


@lru_cache(maxsize=1)
def doors() -> tuple[Cells, Cells]:
    """The doors' cells (column, row) int64 [door, cell, 2], and the two rooms that each joins, int64 [door, 2]."""
    free = ~floor().blocked
    wall = np.arange(SIZE, SIDE * (SIZE + 1) - 1, SIZE + 1)
    cells, joined = [], []
    for first, line in enumerate(wall.tolist()):
        for room in range(SIDE):
            span = np.arange(room * (SIZE + 1), room * (SIZE + 1) + SIZE)
            across, down = span[free[span, line]], span[free[line, span]]
            cells += [[(line, row) for row in across], [(column, line) for column in down]]
            joined += [(room * SIDE + first, room * SIDE + first + 1), (first * SIDE + room, (first + 1) * SIDE + room)]
    return np.array(cells, np.int64), np.array(joined, np.int64)


def spare_doors(order: NDArray[np.integer], most: int) -> list[int]:
    """The first ``most`` doors in ``order`` that can all be closed with every room still reachable."""
    joined = doors()[1]
    shut: list[int] = []
    for door in order.tolist():
        if len(shut) == most:
            break
        room = np.arange(SIDE * SIDE)
        for other in set(range(len(joined))) - {door, *shut}:
            a, b = room[joined[other]]
            room[room == b] = a
        if (room == room[0]).all():
            shut.append(door)
    return shut


def box_of(cells: Cells) -> NDArray[np.float32]:
    """The box [5] that fills these cells [n, 2], metres."""
    low, high = cells.min(0), cells.max(0) + 1
    return np.array([*((low + high) / 2), *((high - low) / 2), 0.0], np.float32)


@SCENARIOS.register("surprise")
class Surprise(GridScenario):
    """Trips through sixteen rooms in which obstacles appear, doors close, agents swap goals, fail and join.

    All events are drawn: from ``first_s`` on, within ``window_s``. Boxes are announced then, and due
    ``notice_ticks`` later; they never close on an agent (`envs.events`). Obstacles are 1 m wide, in the inner part of
    a room and off every start and goal; doors close only where every room stays reachable. A role change swaps the
    goals of two agents. Who fails is silent, ends its committed plan and stays there, and does not count for success;
    who joins stands at its start, silent, until it does. A restart: an agent's process dies, and starts anew
    ``down_s`` later, knowing nothing; its vehicle goes on as it had committed. Nobody has more than one of these roles.
    """

    name: ClassVar[str] = "surprise"

    agents: int = Field(10, ge=1, description="number of agents, those that join later included")
    obstacles: int = Field(4, ge=0, le=60, description="obstacles that appear")
    doors: int = Field(3, ge=0, le=9, description="doors that close, of twenty-four")
    failures: int = Field(1, ge=0, description="agents that fail")
    joins: int = Field(1, ge=0, description="agents that join later")
    role_changes: int = Field(1, ge=0, description="pairs of agents that swap goals")
    restarts: int = Field(0, ge=0, description="agents whose process dies and starts anew")
    down_s: float = Field(5.0, gt=0, le=600, description="time from a process's death to its restart, s")
    first_s: float = Field(2.0, ge=0, le=600, description="earliest time of an event or announcement, s")
    window_s: float = Field(15.0, ge=0, le=600, description="within this time after it all of them happen, s")
    notice_ticks: int = Field(
        PLAN_TICKS, ge=PLAN_TICKS, le=10_000, description="ticks from a box's announcement until it is due"
    )
    sense_m: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="distance at which agents see late boxes, m; null: as far as a committed plan can lead",
    )

    def grid(self) -> GridMap:
        """See `GridScenario.grid`."""
        return floor()

    def ground(self, grid: GridMap) -> Cells:
        """All but the doors; see `GridScenario.ground`."""
        door = doors()[0].reshape(-1, 2)
        return grid.largest[(grid.largest[:, None] != door).any(-1).all(-1)]

    def build(self, seed: int, episodes: Sequence[int]) -> World:
        """See `Scenario.build`."""
        needed = self.failures + self.joins + self.restarts + 2 * self.role_changes
        if needed > self.agents:
            raise ConfigError(
                f"scenario.surprise.agents must be at least {needed} (failures, joins, restarts, two per role change), "
                f"got {self.agents}"
            )
        world = super().build(seed, episodes)
        lanes = [self._events(world, lane, seed, int(episode)) for lane, episode in enumerate(episodes)]
        rows = [(lane, *row) for lane, (found, _) in enumerate(lanes) for row in found]
        table = np.array(rows, np.float64).reshape(-1, 6)
        lane, tick, kind, subject = table[:, :4].T.astype(np.int64)
        boxes = np.array([each for _, each in lanes], np.float32).reshape(len(episodes), self.obstacles + self.doors, 5)
        reach = PLAN_TICKS * self.v_max * self.dt
        events = Events(
            tick, lane, kind, subject, table[:, 4:].astype(np.float32), boxes, self.notice_ticks, self.sense_m or reach
        )
        return replace(world, events=events)

    def _events(self, world: World, lane: int, seed: int, episode: int) -> tuple[Rows, list[NDArray[np.float32]]]:
        """Events of one lane, and its late boxes in the order of their numbers."""
        key = (seed, stream_id("scenario.surprise"), episode)

        def when(kind: int, count: int) -> list[int]:
            draw = self.first_s + self.window_s * uniform(*key, kind, np.arange(count))
            return (np.round(draw / self.dt)).astype(np.int64).tolist()

        boxes = [box_of(cell[None]) for cell in self._free_cells(world, lane, key)]
        order = np.argsort(hash_words(*key, 11, np.arange(len(doors()[0]))), kind="stable")
        boxes += [box_of(doors()[0][door]) for door in spare_doors(order, self.doors)]
        nowhere = (np.nan, np.nan)
        rows: Rows = [(tick + self.notice_ticks, BOX, n, *nowhere) for n, tick in enumerate(when(BOX, len(boxes)))]
        who = np.argsort(hash_words(*key, 12, np.arange(self.agents)), kind="stable").tolist()
        rows += [(tick, FAIL, who.pop(), *nowhere) for tick in when(FAIL, self.failures)]
        rows += [(max(tick, 1), JOIN, who.pop(), *nowhere) for tick in when(JOIN, self.joins)]
        for tick in when(GOAL, self.role_changes):
            one, other = who.pop(), who.pop()
            rows += [(max(tick, 1), GOAL, one, *world.goals[lane, other].tolist())]
            rows += [(max(tick, 1), GOAL, other, *world.goals[lane, one].tolist())]
        down = max(round(self.down_s / self.dt), 1)
        for tick in when(DIE, self.restarts):
            agent = who.pop()
            rows += [(max(tick, 1), DIE, agent, *nowhere), (max(tick, 1) + down, START, agent, *nowhere)]
        return rows, boxes

    def _free_cells(self, world: World, lane: int, key: tuple[int, int, int]) -> Cells:
        """Cells of the obstacles, int64 [obstacle, 2]: free, and away from walls, so that there is a way around."""
        inner = np.arange(SIDE * (SIZE + 1))
        inner = inner[(inner % (SIZE + 1) > 0) & (inner % (SIZE + 1) < SIZE - 1)]
        cell = np.stack(np.meshgrid(inner, inner), axis=-1).reshape(-1, 2)
        taken = np.floor(np.concatenate([world.starts[lane], world.goals[lane]])).astype(np.int64)
        cell = cell[(cell[:, None] != taken).any(-1).all(-1)]
        if len(cell) < self.obstacles:
            raise ConfigError(
                f"scenario.surprise.obstacles must be at most {len(cell)} with {self.agents} agents "
                f"(cells that nobody starts in or goes to), got {self.obstacles}"
            )
        return cell[np.argsort(hash_words(*key, 10, np.arange(len(cell))), kind="stable")[: self.obstacles]]
