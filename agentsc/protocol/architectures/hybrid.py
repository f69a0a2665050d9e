"""Edge, region and cloud."""

from __future__ import annotations

from pydantic import Field

from agentsc.protocol.architectures import ARCHITECTURES, Hosted


@ARCHITECTURES.register("hybrid")
class Hybrid(Hosted):
    """Aggregators decide for their regions once a second, a cloud now and then; vehicles agree alone if one dies."""

    regions: int = Field(4, ge=1, le=64, description="equal parts of the arena, each with an aggregator in its middle")
    region_s: float = Field(1.0, gt=0.0, description="seconds between decisions of aggregators")
    cloud_every: int = Field(5, ge=1, description="every so many of these are made with the cloud's prior")
    edge_prior: str = Field("edge", description="trajectory prior of vehicles that agree among themselves")
    region_prior: str = Field("region", description="trajectory prior of aggregators, see agentsc list priors")
    cloud_prior: str = Field("cloud", description="trajectory prior of the cloud")
    backhaul_ms: float = Field(1.0, ge=0.0, allow_inf_nan=False, description="wire between aggregators, one way")
    patience_s: float = Field(4.0, gt=0.0, description="who has heard no hub for so long stops listening to any")

    @property
    def hubs(self) -> int:
        """One in every region."""
        return self.regions

    @property
    def minds(self) -> tuple[str, ...]:
        """See `Hosted.minds`."""
        return self.region_prior, self.cloud_prior

    @property
    def falls_back(self) -> bool:
        """See `Hosted.falls_back`."""
        return True
