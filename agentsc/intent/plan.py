"""How a plan becomes a few integers, and back to exactly the same curve everywhere.

This is the plain code, a rounded spline; `agentsc.intent.learned` has another one with the same interface.

Control points live on a square lattice over the world. A packet holds the first one and then
signed increments, each a multiple of that increment's own power to move: v_max times its knot
span. The last control point repeats the one before it, so every plan ends at rest.

Sender and receivers alike use the dequantised plan; rounding is fed back, so errors do not add
up along the plan, and no increment is ever rounded to more than v_max allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import LATTICE_BITS, T0_BITS, Bounds
from envs.errors import ConfigError
from policies.trajectory.spline import spans

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]


class Hint(NamedTuple):
    """What the token of the same packet says. goal: int [n, 2], codes. role: [n], not 0 for giving way."""

    goal: NDArray[np.integer]
    role: NDArray[np.integer] | NDArray[np.bool_]


@dataclass(frozen=True)
class PlanSpec:
    """Everything that sender and receivers must agree on to read each other's plans.

    Attributes:
        bounds: (xmin, ymin, xmax, ymax) of the world, metres. v_max: m/s.
        dt: seconds per tick. horizon_ticks: ticks that a plan spans.
        control_points: P of the clamped cubic spline. delta_bits: bits per coordinate of an increment.
    """

    bounds: Bounds
    v_max: float
    dt: float
    horizon_ticks: int = 32
    control_points: int = 10
    delta_bits: int = 6

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.bounds
        if not (np.isfinite(self.bounds).all() and x1 > x0 and y1 > y0):
            raise ConfigError(
                f"plan.bounds must be finite with xmin < xmax and ymin < ymax, got {self.bounds} "
                "(the world that positions on the air are relative to)"
            )
        if not 2 <= self.delta_bits <= 16:
            raise ConfigError(
                f"plan.delta_bits must be in [2, 16], got {self.delta_bits} "
                "(bits per coordinate of a control point's increment)"
            )
        if not (self.v_max > 0.0 and self.dt > 0.0 and self.horizon_ticks >= 1):
            raise ConfigError(
                f"plan.v_max, dt and horizon_ticks must be positive, got {self.v_max}, {self.dt} "
                f"and {self.horizon_ticks} (they set how far a plan can reach)"
            )
        spans(self.control_points)  # raises when there are too few

    @property
    def increments(self) -> int:
        """Increments on the air, P − 2."""
        return self.control_points - 2

    @property
    def columns(self) -> int:
        """Integers per plan: start x, y and the increments' x, y."""
        return 2 + 2 * self.increments

    @property
    def fixed_widths(self) -> tuple[int, ...]:
        """Bits of each signed integer behind the start, all of them inside the PLAN section; none if sizes vary."""
        return (self.delta_bits,) * (2 * self.increments)

    @property
    def bits(self) -> int:
        """Size of a PLAN section."""
        return T0_BITS + 2 * LATTICE_BITS + sum(self.fixed_widths)

    def plan_bits(self, codes: NDArray[np.integer], hint: Hint | None = None) -> NDArray[np.int64]:
        """Bits [...] of the shapes of plans ``codes`` [..., columns], without start tick and start."""
        return np.full(codes.shape[:-1], sum(self.fixed_widths), np.int64)

    def write_shapes(
        self, codes: NDArray[np.integer], hint: Hint | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """What follows all other sections of packets with plans: here nothing, all bits are inside the PLAN section.

        Args:
            codes: [n, columns]. hint: of the token in the same packets; None where there is none.

        Returns:
            uint8 [n, bytes], zeros behind, and int64 [n], bits.
        """
        return np.zeros((len(codes), 0), np.uint8), np.zeros(len(codes), np.int64)

    def read_shapes(
        self, data: NDArray[np.uint8], at: NDArray[np.int64], start: NDArray[np.integer], hint: Hint | None
    ) -> tuple[Ints, NDArray[np.int64]]:
        """The reverse of `write_shapes`, of plans whose shapes begin at bit ``at`` [n] of ``data`` [n, bytes].

        Args:
            start: [n, 2], lattice points.

        Returns:
            int32 [n, columns], in range whatever the bits, and int64 [n], bits read; missing ones read as zeros.
        """
        return np.zeros((len(data), self.columns), np.int32), np.zeros(len(data), np.int64)

    @property
    def horizon_s(self) -> float:
        """Seconds that a plan spans."""
        return self.horizon_ticks * self.dt

    @cached_property
    def step(self) -> float:
        """Metres between neighbouring lattice points (the same in x and y)."""
        x0, y0, x1, y1 = self.bounds
        return max(x1 - x0, y1 - y0) / ((1 << LATTICE_BITS) - 1)

    @cached_property
    def reach(self) -> NDArray[np.float64]:
        """Longest length of each increment in lattice steps [P − 2]: v_max times its knot span."""
        span = spans(self.control_points)[:-1].astype(np.float64)
        return span * (self.v_max * self.horizon_s / self.step)

    @cached_property
    def scale(self) -> NDArray[np.int64]:
        """Lattice steps per unit of each increment [P − 2], so that its codes come nearest to its reach."""
        fine = np.maximum(np.floor(self.reach / self._top), 1)
        coarse = np.maximum(np.ceil(self.reach / self._top), 1)

        def covered(scale: NDArray[np.float64]) -> NDArray[np.float64]:
            return scale * np.minimum(np.floor(self.reach / scale), self._top)

        return np.where(covered(fine) >= covered(coarse), fine, coarse).astype(np.int64)

    @property
    def _top(self) -> int:
        return (1 << (self.delta_bits - 1)) - 1

    def lattice(self, points: Floats) -> Ints:
        """Nearest lattice points, int32 [..., 2]; points outside the world go to its edge."""
        units = np.rint(self._units(points))
        return np.clip(units, 0, (1 << LATTICE_BITS) - 1).astype(np.int32)

    def point(self, lattice: NDArray[np.integer]) -> Floats:
        """Where lattice points are: float32 [..., 2], metres."""
        return (np.array(self.bounds[:2]) + lattice.astype(np.float64) * self.step).astype(np.float32)

    def _units(self, points: Floats) -> NDArray[np.float64]:
        return (points.astype(np.float64) - np.array(self.bounds[:2])) / self.step

    def quantise(self, control: Floats, start: Ints | None = None) -> Ints:
        """The integers of the representable plan that follows each given one.

        Args:
            control: float32 [..., P, 2], metres; the last control point is ignored.
            start: int32 [..., 2], the lattice point to start on; nearest to the first control point if None.

        Returns:
            int32 [..., 2 + 2(P − 2)]. Every increment is within v_max, so ``dequantise`` of it can be
            driven, and quantising that again gives the same integers.
        """
        from agentsc.intent import _kernels

        batch = control.shape[:-2]
        begin = self.lattice(control[..., 0, :]) if start is None else np.asarray(start, np.int32)
        columns = 2 + 2 * self.increments
        codes = np.empty((*batch, columns), np.int32)
        target = self._units(control).reshape(-1, self.control_points, 2)
        scale = self.scale.astype(np.float64)
        _kernels.quantise(
            target, np.ascontiguousarray(begin.reshape(-1, 2)), scale, self.reach / scale, self._top,
            codes.reshape(-1, columns),
        )  # fmt: skip
        return codes

    def dequantise(self, codes: NDArray[np.integer]) -> Floats:
        """The plan that integers stand for, the same floats on every machine.

        Args:
            codes: [..., 2 + 2(P − 2)] as from `quantise` or a packet.

        Returns:
            float32 [..., P, 2] control points, metres; the last two are equal.
        """
        batch = codes.shape[:-1]
        steps = codes.astype(np.int64).reshape(*batch, self.increments + 1, 2)
        steps[..., 1:, :] *= self.scale[:, None]
        inner = np.cumsum(steps, axis=-2)
        return self.point(np.concatenate([inner, inner[..., -1:, :]], axis=-2))
