"""What a peer will do, with calibrated doubt: it keeps the plan it told of for a while, then goes its own way.

A peer mostly drives the plan that it has committed to, and now and then replaces it by one that traffic has shaped.
The prior's samples know nothing of either: they say what a free agent would do from here. So each sample of a
calibrated belief keeps the known plan until a *departure*, then follows one of the prior's samples from the place
where it comes nearest, at a *tempo*, with some *drift*. When peers depart is counted offline by what the token says
(the sender's *certainty*, four bits), how much of the plan is left and whether it leads home; tempo is counted
likewise. The drift is what makes the 90 % region cover 90 %.

The sender's certainty is the probability that it keeps its plan for half a horizon, by a logistic regression on what it
knows: fitted offline, so that of the times when agents say .7, seven of ten keep their plans.

`experiments/belief_calibration.py` fits and measures all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs import keyed

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

STEPS = 8
"""Equal parts of the horizon in which departures are counted; the last column is for those who stay."""
LEVELS, LEFT = 8, (1e-9, 0.5)
"""Certainties are told apart in pairs of codes, plans by how much is left: nothing, up to half, more."""
CONTEXTS = LEVELS * (len(LEFT) + 1) * 2
FEATURES = 7
AT_HOME, MOVES = 0.03, 0.01
"""Reaches within which a plan ends at the goal, and beyond which it goes anywhere at all."""
SHIPPED = Path(str(files("agentsc.protocol"))) / "outlook.safetensors"


@dataclass(frozen=True)
class Known:
    """What is known of agents, by themselves or by peers that heard them.

    Attributes:
        path: float32 [n, H + 1, 2], metres; the known plan from now on. left: [n], share of the horizon until its end.
        goal: float32 [n, 2], metres. reach: metres at full speed over the horizon.
    """

    path: Floats
    left: Doubles
    goal: Floats
    reach: float

    @property
    def home(self) -> NDArray[np.bool_]:
        """bool [n]: the plan ends at the goal."""
        return np.linalg.norm(self.path[:, -1] - self.goal, axis=-1) < AT_HOME * self.reach

    def features(self, sure: Doubles, role: Ints, gap: Floats) -> Doubles:
        """What certainty is regressed on: float64 [n, FEATURES].

        Args:
            sure: [n] in [0, 1], how much an agent's own samples agree. role: [n]. gap: [n], metres to the nearest peer.
        """
        moves = np.linalg.norm(self.path[:, -1] - self.path[:, 0], axis=-1) > MOVES * self.reach
        near = np.minimum(2.0 * gap / self.reach, 1.0)
        return np.stack([np.ones(len(sure)), sure, self.home, self.left, role, near, moves], axis=1).astype(np.float64)


@dataclass(frozen=True)
class Outlook:
    """The tables; see the module.

    Attributes:
        weights: float64 [FEATURES], of the logistic regression. departures: float64 [CONTEXTS, STEPS + 1], shares.
        tempo: float64 [q], evenly spaced quantiles of the speed after a departure, in v_max. drift: reaches a horizon.
    """

    weights: Doubles
    departures: Doubles
    tempo: Doubles
    drift: float

    def __post_init__(self) -> None:
        if self.weights.shape != (FEATURES,) or self.departures.shape != (CONTEXTS, STEPS + 1) or len(self.tempo) < 2:
            raise ValueError("an outlook must have 7 weights, 48 × 9 departures and two quantiles of tempo or more")
        if not np.allclose(self.departures.sum(1), 1.0, atol=1e-6) or self.drift < 0.0:
            raise ValueError("departures must be shares that sum to 1, and drift must not be negative")

    def save(self, path: Path, card: str) -> None:
        """Write the tables."""
        from safetensors.numpy import save_file

        tensors = {"weights": self.weights, "departures": self.departures, "tempo": self.tempo}
        save_file({**tensors, "drift": np.array([self.drift])}, path, {"card": card})

    @classmethod
    def load(cls, path: Path = SHIPPED) -> Outlook:
        """Read tables; those that ship with the package by default."""
        return _load(path)

    def certainty(self, features: Doubles) -> Doubles:
        """Probability [n] that agents keep their plans for half a horizon."""
        return np.asarray(1.0 / (1.0 + np.exp(-(features * self.weights).sum(-1))))

    def foretell(self, known: Known, free: Floats, level: Ints, keys: NDArray[np.uint64]) -> Floats:
        """Samples of what peers will do.

        Args:
            known: of n peers. free: float32 [n, K, H + 1, 2], metres, the prior's samples from here on.
            level: [n], the code of the certainty that they told. keys: [n], of the draws.

        Returns:
            float32 [n, K, H + 1, 2].
        """
        count, horizon = free.shape[1], free.shape[2] - 1
        shares = self.departures[context(level, known.left, known.home)].cumsum(1)
        step = horizon / STEPS
        spot = _spread(keys, count, "departure")
        part = (spot[..., None] > shares[:, None, :-1]).sum(-1)
        within = keyed.uniform(keys[:, None], keyed.stream_id("within"), np.arange(count))
        leave = np.where(part < STEPS, (part + within) * step, horizon).astype(np.int64)
        marks = np.linspace(0.0, 1.0, len(self.tempo))
        speed = np.interp(_spread(keys, count, "tempo"), marks, self.tempo) * known.reach / horizon
        drift = keyed.normal(keys, (count, 1, 2), keyed.stream_id("drift"))
        since = np.maximum(np.arange(horizon + 1) - leave[..., None], 0)
        away = onward(free, np.take_along_axis(known.path, leave[..., None], axis=1), speed[..., None] * since)
        away += drift * (self.drift * known.reach * since[..., None] / horizon)
        return np.where(since[..., None] > 0, away, known.path[:, None]).astype(np.float32)


def onward(free: Floats, origin: Floats, metres: Doubles) -> Doubles:
    """Ways from ``origin`` on, shifted copies of ``free`` from where that comes nearest.

    Args:
        free: [n, K, H + 1, 2]. origin: [n, K, 2]. metres: [n, K, k], how far along; past its end it rests.

    Returns:
        float64 [n, K, k, 2].
    """
    step = np.linalg.norm(np.diff(free, axis=2), axis=-1)
    arc = np.concatenate([np.zeros_like(step[..., :1]), np.cumsum(step, axis=-1)], axis=-1).astype(np.float64)
    start = np.linalg.norm(free - origin[:, :, None], axis=-1).argmin(-1)[..., None]
    along = np.minimum(np.take_along_axis(arc, start, axis=2) + metres, arc[..., -1:])
    leg = np.clip((along[..., None] >= arc[:, :, None, :]).sum(-1) - 1, 0, arc.shape[-1] - 2)
    before, after = np.take_along_axis(arc, leg, axis=2), np.take_along_axis(arc, leg + 1, axis=2)
    share = np.clip((along - before) / np.maximum(after - before, 1e-9), 0.0, 1.0)[..., None]
    a, b = (np.take_along_axis(free, each[..., None], axis=2) for each in (leg, leg + 1))
    shift = origin - np.take_along_axis(free, start[..., None], axis=2)[:, :, 0]
    return np.asarray(a * (1.0 - share) + b * share + shift[:, :, None], np.float64)


def context(level: Ints, left: Doubles, home: NDArray[np.bool_]) -> Ints:
    """Row of the table of departures [n]."""
    plan = np.searchsorted(LEFT, left) * 2 + home
    return np.asarray(np.asarray(level) * LEVELS // 16 * (2 * (len(LEFT) + 1)) + plan, np.int64)


def _spread(keys: NDArray[np.uint64], count: int, name: str) -> Doubles:
    """Uniform draws [n, count] of which one lies in each part of [0, 1), in random order."""
    place = keyed.uniform(keys[:, None], keyed.stream_id(f"{name} order"), np.arange(count)).argsort(1)
    jitter = keyed.uniform(keys[:, None], keyed.stream_id(name), np.arange(count))
    return np.asarray((place + jitter) / count)


@lru_cache(maxsize=4)
def _load(path: Path) -> Outlook:
    from safetensors.numpy import load_file

    tables = load_file(path)
    drift = float(tables.pop("drift")[0])
    return Outlook(**tables, drift=drift)
