"""Radios that are wired up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from agentsc.links import LINKS, Held, LinkModel, Pairs, Surroundings
from agentsc.links.graphs import Edges, Table, edges_of, generated, read, table


@LINKS.register("graph")
class Graph(LinkModel):
    """Packets pass along the edges of a fixed graph over the agents, and nowhere else.

    The graph is made (``kind``) or read from a file (``path``): CSV with columns sender and receiver, GraphML, GEXF or
    node-link JSON, nodes being agents' numbers. An agent without edges hears nobody. What hostile stations send
    reaches everybody.
    """

    reasons: ClassVar[tuple[str, ...]] = ("topology",)

    kind: Literal[
        "ring", "line", "star", "complete", "grid", "tree", "erdos-renyi", "small-world", "random-regular"
    ] = Field("ring", description="what graph to make, without a path; of a star, agent 0 is the middle")
    path: str | None = Field(None, description="a file with the graph; its name may hold no comma")
    directed: bool | None = Field(
        None, description="edges of the file lead from sender to receiver only; none: as the file says, CSV: no"
    )
    k: int = Field(2, ge=1, le=65535, description="neighbours (small-world, random-regular) or children (tree)")
    p: float = Field(
        0.2, ge=0.0, le=1.0, allow_inf_nan=False,
        description="probability of an edge (erdos-renyi), or of rewiring it (small-world)",
    )  # fmt: skip
    seed: int = Field(0, ge=0, le=2**31, description="of random graphs; the same one in every episode")
    _read: Edges | None = PrivateAttr(None)
    _tables: dict[int, Table] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _file(self) -> Graph:
        given = self.model_fields_set
        if self.path is None:
            if self.directed is not None:
                raise ValueError("directed goes with a path, got it without (graphs that are made have no direction)")
            if self.kind == "small-world" and self.k % 2:
                raise ValueError(f"k must be even, half of it on each side, got {self.k} (neighbours, small-world)")
            return self
        if given & {"kind", "k", "p", "seed"}:
            extra = next(name for name in type(self).model_fields if name in given - {"path", "directed"})
            raise ValueError(f"give either path or {extra}, got both (a graph is read or made)")
        found = read(Path(self.path))
        self._read = found if self.directed is None else found._replace(directed=self.directed)
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
        place = np.arange(len(packet)) + np.repeat(begin[row] - np.cumsum(count) + count, count)
        return Pairs(packet, receivers[place])

    def _table(self, agents: int) -> Table:
        """Who receives what each node sends, worked out once per size of the fleet."""
        if agents not in self._tables:
            found = self._read
            if found is None:
                found = edges_of(generated(self.kind, agents, self.k, self.p, self.seed))
            self._tables[agents] = table(found, agents)
        return self._tables[agents]
