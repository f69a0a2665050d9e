"""The prior that fits on a vehicle."""

from policies.trajectory.presets import PRIORS, Preset


@PRIORS.register("edge-prior")
class EdgePrior(Preset):
    """Trajectory prior for on-board use: 12 control points, residual MLP, five DDIM steps."""
