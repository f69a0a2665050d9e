"""The prior of a cloud replanner, for plans that are made rarely and must be good."""

from policies.trajectory import presets
from policies.trajectory.presets import PRIORS, Preset


@PRIORS.register("cloud")
class Cloud(Preset):
    """Largest trajectory prior: many steps at a low rate, also trained without its condition."""

    width: int = presets.width(384)
    blocks: int = presets.blocks(4)
    maps: int = presets.maps(5000)
    steps: int = presets.steps(24000)
    condition_dropout: float = presets.condition_dropout(0.1)
