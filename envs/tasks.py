"""What a world may ask for beyond one goal each: goals that follow each other, sites, a shape; and scarce places.

Each is a data class that checks itself and the pure functions that measure how well it was done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import ConfigError

Float = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def _expect(name: str, array: NDArray[Any], shape: tuple[int, ...], meaning: str) -> None:
    """Raise a `ConfigError` unless the array has this shape and is finite."""
    if array.shape != shape or not np.isfinite(array).all():
        raise ConfigError(f"world.{name} must be finite with shape {shape}, got shape {array.shape} ({meaning})")


@dataclass(frozen=True, eq=False)
class GoalQueue:
    """Goals that follow each other: who has rested at one for a while is given the next.

    Attributes:
        goals: float32 [lane, agent, K, 2], metres; task n of an agent is number n modulo K.
        service_ticks: ticks in a row to rest at a goal before it counts as served.
        anywhere: float32 [place, 2], metres: a goal that is one of these is served at any of them; None for none.

    Raises:
        ConfigError: fewer than two goals, or no service time.
    """

    goals: Float
    service_ticks: int = 1
    anywhere: Float | None = None

    def __post_init__(self) -> None:
        if self.goals.ndim != 4 or self.goals.shape[2] < 2:
            raise ConfigError(
                f"world.queue.goals must be [lane, agent, K, 2] with at least two goals each, got {self.goals.shape}"
            )
        if self.service_ticks < 1:
            raise ConfigError(f"world.queue.service_ticks must be at least 1, got {self.service_ticks}")

    def check(self, lanes: int, agents: int) -> None:
        """Raise a `ConfigError` if this is not for so many lanes and agents."""
        _expect("queue.goals", self.goals, (lanes, agents, self.goals.shape[2], 2), "metres")

    def select(self, pick: Any) -> GoalQueue:
        """Some lanes."""
        return replace(self, goals=self.goals[pick])

    def current(self, done: Ints) -> Float:
        """Goals float32 [lane, agent, 2] of agents that have served ``done`` [lane, agent] before."""
        turn = (done % self.goals.shape[2])[..., None, None]
        return np.ascontiguousarray(np.take_along_axis(self.goals, turn, axis=2)[:, :, 0])


    def near(self, position: Float, goals: Float, tolerance: float) -> Flags:
        """bool [lane, agent]: who is where it can be served.

        Args:
            position, goals: float32 [lane, agent, 2], metres, goals as `current` gives them.
        """
        away = position - goals
        there = (away * away).sum(-1) <= np.float32(tolerance**2)
        if self.anywhere is None:
            return np.asarray(there)
        places = self.anywhere
        free = (np.abs(goals[:, :, None] - places) < 1e-3).all(-1).any(-1)
        away = position[:, :, None] - places
        return np.asarray(there | (free & ((away * away).sum(-1) <= np.float32(tolerance**2)).any(-1)))


@dataclass(frozen=True, eq=False)
class Resources:
    """Places that only so many agents can use at once, as every agent's map shows them; the same in all lanes.

    Nothing in the world enforces a capacity: walls, stops and queues do.

    Attributes:
        centre, half: float32 [place, 2], metres: boxes, or points where ``half`` is 0.
        capacity: int64 [place], agents at once.
        one_way: agents that pass a place in the same direction do not count against each other.
        interchangeable: who has one of the places as its goal may as well go to any other of them.

    Raises:
        ConfigError: no place, or one without capacity.
    """

    centre: Float
    half: Float
    capacity: Ints
    one_way: bool = False
    interchangeable: bool = False

    def __post_init__(self) -> None:
        count = len(self.centre)
        _expect("resources.centre", self.centre, (max(count, 1), 2), "metres")
        _expect("resources.half", self.half, (count, 2), "metres, half extents")
        if self.capacity.shape != (count,) or (self.capacity < 1).any():
            raise ConfigError(f"world.resources.capacity must be at least 1 for each place, got {self.capacity}")


@dataclass(frozen=True, eq=False)
class Sites:
    """Places worth visiting; who goes where is not given. A site counts when an agent first comes to rest there.

    Attributes:
        position: float32 [lane, site, 2], metres.
        value: float64 [lane, site], what a visit at time zero is worth.
        deadline_s: float64 [lane, site], a later visit is worth nothing (``inf`` for none).
        discount: per second: a visit at time t is worth ``value * exp(-discount * t)``.

    Raises:
        ConfigError: no site, a value that is not positive, or a negative discount.
    """

    position: Float
    value: Doubles
    deadline_s: Doubles
    discount: float = 0.0

    def __post_init__(self) -> None:
        if self.position.ndim != 3 or self.position.shape[1] < 1:
            raise ConfigError(f"world.sites.position must be [lane, site, 2] with a site, got {self.position.shape}")
        if not (self.value > 0).all():
            raise ConfigError(f"world.sites.value must be positive, got {self.value.min()}")
        if not (self.deadline_s > 0).all():
            raise ConfigError(f"world.sites.deadline_s must be positive, got {self.deadline_s.min()} (seconds)")
        if not 0.0 <= self.discount < np.inf:
            raise ConfigError(f"world.sites.discount must be at least 0, got {self.discount} (per second)")

    def check(self, lanes: int, agents: int) -> None:
        """Raise a `ConfigError` if this is not for so many lanes."""
        count = self.position.shape[1]
        _expect("sites.position", self.position, (lanes, count, 2), "metres")
        _expect("sites.value", self.value, (lanes, count), "worth of a visit")
        if self.deadline_s.shape != (lanes, count):
            raise ConfigError(f"world.sites.deadline_s must have shape {(lanes, count)}, got {self.deadline_s.shape}")

    def select(self, pick: Any) -> Sites:
        """Some lanes."""
        return replace(self, position=self.position[pick], value=self.value[pick], deadline_s=self.deadline_s[pick])

    def near(self, position: Float, tolerance: float) -> Flags:
        """bool [lane, agent, site]: who is within ``tolerance`` metres of which site.

        Args:
            position: float32 [lane, agent, 2], metres.
        """
        away = position[:, :, None] - self.position[:, None]
        return np.asarray((away * away).sum(-1) <= np.float32(tolerance**2))

    def worth(self, time_s: NDArray[Any]) -> Doubles:
        """float64 [lane, ..., site]: worth of visits at these times (``inf`` or NaN for never)."""
        lanes, count = self.value.shape
        shape = (lanes, *([1] * (time_s.ndim - 2)), count)
        late = ~((time_s <= self.deadline_s.reshape(shape)) & np.isfinite(time_s))
        time = np.where(late, 0.0, time_s)
        return np.where(late, 0.0, self.value.reshape(shape) * np.exp(-self.discount * time))

    def best(self, trip_s: Doubles) -> Doubles:
        """float64 [lane]: most that agents can collect when each takes one site, alone on its shortest way.

        Args:
            trip_s: float64 [lane, agent, site], seconds from start to site at full speed; ``inf`` for no way.

        Reference: the linear sum assignment problem, by `scipy.optimize.linear_sum_assignment`.
        """
        from scipy.optimize import linear_sum_assignment

        worth = self.worth(trip_s)
        found = np.zeros(len(worth))
        for lane, table in enumerate(worth):
            row, column = linear_sum_assignment(table, maximize=True)
            found[lane] = table[row, column].sum()
        return found


@dataclass(frozen=True, eq=False)
class Shape:
    """A formation: where agents stand relative to each other, and where they may give it up.

    Attributes:
        offsets: float32 [lane, agent, 2], metres, relative to any common point of a lane.
        gap: (xmin, ymin, xmax, ymax): while an agent is in there the formation is not measured; None for nowhere.
        turns: whether a turned shape is as good; otherwise only a shifted one is.

    Raises:
        ConfigError: offsets that are not finite, or a gap without extent.
    """

    offsets: Float
    gap: tuple[float, float, float, float] | None = None
    turns: bool = False

    def __post_init__(self) -> None:
        if self.gap is not None and not (self.gap[0] < self.gap[2] and self.gap[1] < self.gap[3]):
            raise ConfigError(f"world.shape.gap must have xmin < xmax and ymin < ymax, got {self.gap} (metres)")

    def check(self, lanes: int, agents: int) -> None:
        """Raise a `ConfigError` if this is not for so many lanes and agents."""
        _expect("shape.offsets", self.offsets, (lanes, agents, 2), "metres")

    def select(self, pick: Any) -> Shape:
        """Some lanes."""
        return replace(self, offsets=self.offsets[pick])

    def outside(self, position: NDArray[np.floating]) -> Flags:
        """bool [...]: whether all agents of ``position`` [..., agent, 2] are outside of the gap."""
        if self.gap is None:
            return np.ones(position.shape[:-2], bool)
        x, y = position[..., 0], position[..., 1]
        inside = (x > self.gap[0]) & (x < self.gap[2]) & (y > self.gap[1]) & (y < self.gap[3])
        return np.asarray(~inside.any(-1))

    def error(self, lane: int, position: NDArray[np.floating]) -> Doubles:
        """Mean distance of agents from their places in the best-fit shape of a lane, float64 [...], metres.

        The fit is the least-squares one over shifts (and turns, where they count): centroids coincide, and the
        angle is that of ``Σ q·conj(p)`` with places as complex numbers (orthogonal Procrustes in the plane,
        without reflections: J. C. Gower and G. B. Dijksterhuis, "Procrustes problems", 2004, chapter 4).

        Args:
            position: float [..., agent, 2], metres.
        """
        place = self.offsets[lane].astype(np.float64)
        place = place[:, 0] + 1j * place[:, 1]
        spot = np.asarray(position[..., 0], np.float64) + 1j * np.asarray(position[..., 1], np.float64)
        place = place - place.mean()
        spot = spot - spot.mean(-1, keepdims=True)
        if self.turns:
            turn = (spot * place.conj()).sum(-1, keepdims=True)
            size = np.abs(turn)
            place = place * np.where(size > 1e-12, turn / np.maximum(size, 1e-12), 1.0)
        return np.asarray(np.abs(spot - place).mean(-1))
