"""The prior of a regional server."""

from policies.trajectory import presets
from policies.trajectory.presets import PRIORS, Preset


@PRIORS.register("region")
class Region(Preset):
    """Trajectory prior of middle size: five DDIM steps, also trained without its condition."""

    maps: int = presets.maps(5000)
    condition_dropout: float = presets.condition_dropout(0.1)
