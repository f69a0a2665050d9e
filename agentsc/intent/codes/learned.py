"""The learned code with the codebook that ships with the package."""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from pydantic import Field

from agentsc.intent.codes import PLAN_CODES, PlanCode
from agentsc.intent.learned import Codebook, LearnedSpec
from agentsc.intent.plan import PlanSpec

WEIGHTS = Path(str(files("agentsc.intent.codes"))) / "learned.safetensors"
"""The shipped codebook."""


@PLAN_CODES.register("learned")
class Learned(PlanCode):
    """Shape, heading and refinements from learned codebooks, as prefix codes that the token's goal conditions."""

    tolerance: float = Field(
        0.01, gt=0.0, le=0.1, description="greatest distance between a plan and its decoded one, in reaches of a plan"
    )
    beam: int = Field(4, ge=1, le=64, description="shapes that the sender's search follows at once")
    weights: str | None = Field(None, description="safetensors file, null for the shipped codebook")

    def spec(self, plain: PlanSpec) -> LearnedSpec:
        book = _load(self.weights or str(WEIGHTS))
        return LearnedSpec.like(plain, book, tolerance=self.tolerance, beam=self.beam)


@lru_cache(maxsize=4)
def _load(path: str) -> Codebook:
    return Codebook.load(path)
