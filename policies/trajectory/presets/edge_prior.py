"""The first prior, of the size of `region`."""

from policies.trajectory.presets import PRIORS, Preset


@PRIORS.register("edge-prior")
class EdgePrior(Preset):
    """First trajectory prior, of region's size; the default, and what the published suites were run with."""
