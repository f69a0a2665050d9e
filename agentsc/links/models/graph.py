"""Radios that are wired up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from agentsc.links import LINKS, Held, LinkModel, Pairs, Surroundings
from agentsc.links.topology import generated, read
from envs.errors import ConfigError


@LINKS.register("graph")
class Graph(LinkModel):
    """Packets pass along the edges of a fixed graph over the agents, and nowhere else.

    The graph is made (``kind``) or read from a file (``path``): CSV with columns sender and receiver, GraphML, GEXF or
    node-link JSON, nodes being agents' numbers. What hostile stations send reaches everybody.
    """

    reasons: ClassVar[tuple[str, ...]] = ("topology",)

    kind: Literal[
        "ring", "line", "star", "complete", "grid", "tree", "erdos-renyi", "small-world", "random-regular"
    ] = Field("ring", description="what graph to make, without a path; of a star, agent 0 is the middle")
    path: str | None = Field(None, description="a file with the graph")
    directed: bool = Field(False, description="edges of the file lead from sender to receiver only")
    k: int = Field(2, ge=1, le=65535, description="neighbours (small-world, random-regular) or children (tree)")
    p: float = Field(0.2, ge=0.0, le=1.0, allow_inf_nan=False, description="of an edge, or of rewiring it")
    seed: int = Field(0, ge=0, le=2**31, description="of random graphs")
    _read: list[tuple[int, int, str]] = PrivateAttr(default_factory=list)
    _tables: dict[int, tuple[NDArray[np.int64], NDArray[np.int32]]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _file(self) -> Graph:
        if self.path is not None:
            self._read = read(Path(self.path))
        return self

    @property
    def restricts(self) -> bool:
        return True

    def check(self, agents: int, beside: Sequence[LinkModel] = ()) -> None:
        self._table(agents)

    def audience(self, packets: Held, agents: int, around: Surroundings) -> Pairs:
        begin, receivers = self._table(agents)
        # A node beyond the agents is a hostile station: the last row has everybody.
        row = np.minimum(packets.sender, agents)
        count = begin[row + 1] - begin[row]
        packet = np.repeat(np.arange(len(row), dtype=np.int32), count)
        place = np.arange(len(packet)) - np.repeat(np.cumsum(count) - count, count) + begin[row][packet]
        return Pairs(packet, receivers[place])

    def _table(self, agents: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Where each sender's receivers begin, and the receivers."""
        if agents not in self._tables:
            near = np.zeros((agents + 1, agents), bool)
            near[agents] = True
            for one, other, where in self._edges(agents):
                for end in (one, other):
                    if end >= agents:
                        raise ConfigError(
                            f"{where} must name agents 0 to {agents - 1}, got {end} (there are {agents} of them)"
                        )
                near[one, other] = True
                near[other, one] |= not (self.directed and self.path is not None)
            near[np.arange(agents), np.arange(agents)] = False
            begin = np.append(0, np.cumsum(near.sum(1)))
            self._tables[agents] = begin, np.nonzero(near)[1].astype(np.int32)
        return self._tables[agents]

    def _edges(self, agents: int) -> list[tuple[int, int, str]]:
        if self.path is not None:
            return self._read
        return [(a, b, self.kind) for a, b in generated(self.kind, agents, self.k, self.p, self.seed).edges()]
