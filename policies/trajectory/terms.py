"""What a plan is charged beside collisions: loads, cover, shape and prices, with gradients in closed form.

Every function is plain arithmetic over way-points and runs on numpy arrays and on torch tensors alike: the protocol
charges candidate plans with the first, the diffusion core steers clean estimates with the second. A charge is the
discounted mean over way-points, so that it is in units of its weight, however many way-points there are.

    J_R = Σ_c ⟨max(0, L_ch + κ_c(x_h) − C_c)² − max(0, L_ch − C_c)²⟩     loads beyond capacity
    J_C = −Σ_s v_s (1 − p_s) κ_s(x_H)                                      what the plan's end adds to soft cover
    J_F = ⟨w_h ‖x_h − f_h‖²⟩                                               distance from the place in the shape
    J_P = Σ_c ⟨π_c κ_c(x_h)⟩                                               prices of what is used

with ⟨·⟩ the mean over h with weights γ^h, and κ_c(x) = (1 − d²/ρ²)₊², d the distance from place c, which is a box or a
point. The cover of a site by a plan and its peers is 1 − (1 − p_s)(1 − κ_s); J_C is its negative, less a constant.
Reference: the consistency term of the seed paper's section V-C ("resource conflicts … task coverage, formation shape").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DISCOUNT = 0.98
"""Weight lost per way-point into the future, as in the consistency term."""


@dataclass(frozen=True)
class Places:
    """Places that plans may use, each a box with a soft rim, or a point with one.

    Attributes:
        centre: [batch, place, 2], metres. half: [batch, place, 2], half extents; 0 for points.
        rim: [batch, place], metres from the box at which the use has fallen to nothing.
    """

    centre: Any
    half: Any
    rim: Any

    def use(self, points: Any) -> tuple[Any, Any]:
        """κ [batch, sample, waypoint, place] of way-points [batch, sample, waypoint, 2], and its gradient [..., 2]."""
        centre, half, rim = self.centre[:, None, None], self.half[:, None, None], self.rim[:, None, None]
        apart = points[..., None, :] - centre
        over = apart - apart.clip(-half, half)
        inner = (1.0 - (over * over).sum(-1) / (rim * rim)).clip(0.0)
        return inner * inner, (-4.0 * inner / (rim * rim))[..., None] * over


@dataclass(frozen=True)
class Resources:
    """Places with a capacity, and how much of it peers are believed to use.

    Attributes:
        load: [batch, place, waypoint]. capacity: [batch, place], agents. decay: [batch, waypoint], weights of the mean.
    """

    places: Places
    load: Any
    capacity: Any
    decay: Any

    def charge(self, points: Any) -> tuple[Any, Any]:
        """J_R [batch, sample] and its gradient [batch, sample, waypoint, 2]."""
        use, slope = self.places.use(points)
        load = _waypoints_first(self.load)[:, None] - self.capacity[:, None, None]
        over, before = (load + use).clip(0.0), load.clip(0.0)
        total = ((over * over - before * before).sum(-1) * self.decay[:, None]).sum(-1)
        return total, ((2.0 * over)[..., None] * slope).sum(-2) * self.decay[:, None, :, None]


@dataclass(frozen=True)
class Coverage:
    """Sites of some worth, and how far peers are believed to cover them.

    Attributes:
        value: [batch, place]. covered: [batch, place], in [0, 1].
    """

    places: Places
    value: Any
    covered: Any

    def charge(self, points: Any) -> tuple[Any, Any]:
        """J_C [batch, sample] and its gradient [batch, sample, waypoint, 2], which acts on the last way-point."""
        use, slope = self.places.use(points[:, :, -1:])
        worth = (self.value * (1.0 - self.covered))[:, None]
        gradient = points * 0.0
        gradient[:, :, -1] = -(worth[..., None] * slope[:, :, 0]).sum(-2)
        return -(worth * use[:, :, 0]).sum(-1), gradient


@dataclass(frozen=True)
class Formation:
    """Places in a shape that moves.

    Attributes:
        place: [batch, waypoint, 2], metres. decay: [batch, waypoint], weights; 0 where the shape is given up.
        unit: [batch], metres: J_F is 1 for a plan that is so far off all the time.
    """

    place: Any
    decay: Any
    unit: Any

    def charge(self, points: Any) -> tuple[Any, Any]:
        """J_F [batch, sample] and its gradient [batch, sample, waypoint, 2]."""
        off = (points - self.place[:, None]) / self.unit[:, None, None, None]
        decay = self.decay[:, None]
        return ((off * off).sum(-1) * decay).sum(-1), (2.0 * decay / self.unit[:, None, None])[..., None] * off


@dataclass(frozen=True)
class Prices:
    """Places that cost something to be at.

    Attributes:
        price: [batch, place]. decay: [batch, waypoint], weights of the mean.
    """

    places: Places
    price: Any
    decay: Any

    def charge(self, points: Any) -> tuple[Any, Any]:
        """J_P [batch, sample] and its gradient [batch, sample, waypoint, 2]."""
        use, slope = self.places.use(points)
        price = self.price[:, None, None]
        total = ((use * price).sum(-1) * self.decay[:, None]).sum(-1)
        return total, (price[..., None] * slope).sum(-2) * self.decay[:, None, :, None]


def _waypoints_first(array: Any) -> Any:
    """[batch, place, waypoint] as [batch, waypoint, place]."""
    return array.swapaxes(1, 2)
