"""Losses that follow a Markov chain."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, field_validator, model_validator

from agentsc.links import LINKS, Draw, Effect, Hop, LinkModel, uniform
from envs.keyed import hash_words


def numbers(value: object) -> object:
    """``0.1/0.9`` → [0.1, 0.9]; lists stay as they are."""
    if isinstance(value, float | int):
        return [value]
    return value.split("/") if isinstance(value, str) else value


def table(value: object) -> object:
    """``0.9/0.1:0.5/0.5`` → [[0.9, 0.1], [0.5, 0.5]]; lists stay as they are."""
    if isinstance(value, float | int):
        return [[value]]
    return [numbers(row) for row in value.split(":")] if isinstance(value, str) else value


Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Row = Annotated[tuple[Share, ...], BeforeValidator(numbers)]
Matrix = Annotated[tuple[Row, ...], BeforeValidator(table)]


@LINKS.register("markov")
class Markov(LinkModel):
    """Losses of every ordered pair follow a chain of k states, each with a loss probability of its own.

    The chain of a pair starts in its stationary law π (π P = π) and steps once per packet on that pair, after
    the packet. The loss is π · loss; losses n packets apart have the covariance Σ_ij π_i l_i (Pⁿ)_ij l_j − (π · l)²,
    a sum of powers λⁿ of the eigenvalues of P other than 1. Gilbert–Elliott is the case k = 2.

    Reference: M. Zorzi, R. R. Rao and L. B. Milstein, Error statistics in data transmission over fading
    channels, IEEE Transactions on Communications 46 (1998).
    """

    reasons: ClassVar[tuple[str, ...]] = ("burst",)

    matrix: Matrix = Field(
        examples=["0.9/0.1:0.5/0.5"],
        description="transition probabilities, row by row: from each state to each; '/' in a row, ':' between rows",
    )
    loss: Row = Field(examples=["0/1"], description="loss probability in each state, separated by '/'")

    @field_validator("matrix")
    @classmethod
    def _stochastic(cls, matrix: Matrix) -> Matrix:
        if not 1 <= len(matrix) <= 255:
            raise ValueError(f"must have 1 to 255 rows, got {len(matrix)}")
        for number, row in enumerate(matrix, 1):
            if len(row) != len(matrix):
                raise ValueError(
                    f"row {number} must have {len(matrix)} numbers like the others, got {len(row)}"
                )
            if abs(sum(row) - 1.0) > 1e-9:
                raise ValueError(
                    f"row {number} must sum to 1, got {sum(row):.10g} (probabilities of the next state)"
                )
        p = np.array(matrix)
        if np.linalg.matrix_rank(p - np.eye(len(p)), tol=1e-10) < len(p) - 1:
            raise ValueError("must be one chain, got parts that never meet (no single stationary law)")
        return matrix

    @model_validator(mode="after")
    def _sizes(self) -> Markov:
        if len(self.loss) != len(self.matrix):
            raise ValueError(
                f"loss must have one number for each of the {len(self.matrix)} states, got {len(self.loss)}"
            )
        return self

    @property
    def stationary(self) -> NDArray[np.float64]:
        """π, float64 [k]."""
        p = np.array(self.matrix)
        system = np.vstack([p.T - np.eye(len(p)), np.ones(len(p))])
        law = np.linalg.lstsq(system, np.append(np.zeros(len(p)), 1.0), rcond=None)[0]
        law = np.maximum(law, 0.0)
        return np.asarray(law / law.sum())

    def initial(self, draw: Draw) -> NDArray[np.uint8]:
        return _steps(uniform(draw.pair), np.cumsum(self.stationary))

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        now, key = np.asarray(state), draw.packet
        after = _steps(uniform(key), np.cumsum(self.matrix, axis=1)[now].T)
        loss = np.array(self.loss)
        fresh = hash_words(key, 1)  # the loss is drawn apart from the step
        return Effect({"burst": uniform(fresh) < loss[now]}, state=after)


def _steps(draw: NDArray[np.float64], cumulative: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The state [N] that each draw falls into, from cumulative probabilities [k] or [k, N]."""
    found = np.zeros(len(draw), np.uint8)
    for bound in cumulative[:-1]:  # the last one is 1, whatever rounding says
        found += draw >= bound
    return found
