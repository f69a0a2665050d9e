"""The plain code: control points, rounded."""

from dataclasses import replace

from pydantic import Field

from agentsc.intent.codes import PLAN_CODES, PlanCode
from agentsc.intent.plan import PlanSpec


@PLAN_CODES.register("spline")
class Spline(PlanCode):
    """Rounded increments of control points, of a fixed size: nothing learned, any plan is met."""

    delta_bits: int = Field(6, ge=2, le=16, description="bits per coordinate of a control point's increment")

    def spec(self, plain: PlanSpec) -> PlanSpec:
        return replace(plain, delta_bits=self.delta_bits)
