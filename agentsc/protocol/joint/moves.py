"""Single moves made one after the other, and when they can be made if only those wait that have to.

Nobody is in the way of a move while it is made, everybody else being at rest. So moves that do not come too
close to each other may be made at the same time, and the others keep their order: routes made of them have an
order without ties (`agentsc.protocol.joint.order`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.graph import Graph, Numbers
from agentsc.protocol.joint.lattice import Floats, Ints

PASSES = 8
"""How often needless moves are looked for, at most."""


@dataclass(frozen=True)
class Moves:
    """A sequence of single moves along the edges of a graph.

    Attributes:
        start: int32 [agent], places. agent, edge, to: int64 [move], in the order in which they can be made.
    """

    graph: Graph
    start: Numbers
    agent: Ints
    edge: Ints
    to: Ints

    def __len__(self) -> int:
        return len(self.agent)

    def spared(self) -> Moves:
        """The same without the round trips of agents that nobody needed to give way."""
        moves = self
        for _ in range(PASSES):
            kept = moves._needed()
            if kept.all():
                break
            moves = Moves(self.graph, self.start, moves.agent[kept], moves.edge[kept], moves.to[kept])
        return moves

    def _needed(self) -> NDArray[np.bool_]:
        """bool [move]: False for round trips that can be left out.

        Who stays is in nobody's way if no move of others in the meantime comes too close: who rests near by
        would have had to come, and nobody does before it leaves, nor when it is back.
        """
        graph, kept = self.graph, np.ones(len(self), bool)
        passing: list[list[int]] = [[] for _ in graph.place]  # moves that come too close to a place
        for move, edge in enumerate(self.edge.tolist()):
            for place in graph.near[graph.first_near[edge] : graph.first_near[edge + 1]].tolist():
                passing[place].append(move)
        for agent in range(len(self.start)):
            own = np.flatnonzero(self.agent == agent)
            since = {int(self.start[agent]): -1}  # its move that led to each place it may be taken to have stayed at
            for step, move in enumerate(own.tolist()):
                place = int(self.to[move])
                if place in since:
                    left = own[since[place] + 1]
                    between = np.array([m for m in passing[place] if left < m < move], np.int64)
                    if (~kept[between] | (self.agent[between] == agent)).all():
                        kept[own[since[place] + 1 : step + 1]] = False
                        since = {p: k for p, k in since.items() if k <= since[place]}
                        continue
                since[place] = step
        return kept

    def routes(self, speed: float) -> Floats:
        """Positions float32 [T + 1, agent, 2] of everybody at units of time, each move made as soon as it may be.

        A move is cut into pieces of a unit each, and a piece waits for those before it that come too close, no more.

        Args:
            speed: metres in a unit of time.
        """
        from agentsc.protocol.joint import _kernels

        graph = self.graph
        used, edge = np.unique(self.edge, return_inverse=True)
        ends = graph.place[graph.ends[used]].astype(np.float64)
        count = np.ceil(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1) / speed - 1e-4).astype(np.int64)
        count = np.maximum(count, 1)
        first, whose = np.cumsum(count) - count, np.repeat(np.arange(len(used)), count)
        cut = (np.arange(len(whose)) - first[whose])[:, None] + (0, 1)
        share = (cut / count[whose, None])[..., None]
        pieces = (ends[whose, :1] * (1.0 - share) + ends[whose, 1:] * share).astype(np.float32)
        # Each move as its pieces in a row, backwards if it is made backwards.
        move = np.repeat(np.arange(len(self)), count[edge])
        place = np.arange(len(move)) - np.repeat(np.cumsum(count[edge]) - count[edge], count[edge])
        forward = (self.to == graph.ends[self.edge, 1])[move]
        piece = first[edge[move]] + np.where(forward, place, count[edge[move]] - 1 - place)
        slot = np.zeros(len(move), np.int64)
        agent, distance = np.ascontiguousarray(self.agent[move]), np.float32(graph.distance)
        _kernels.schedule(agent, piece, pieces, distance, slot)
        start = graph.place[self.start]
        spots = np.concatenate([start, pieces[piece, np.where(forward, 1, 0)]])
        latest = np.zeros((int(slot.max(initial=0)) + 2, len(start)), np.int64)
        latest[0] = np.arange(len(start))
        latest[slot + 1, agent] = len(start) + np.arange(len(move))
        return spots[np.maximum.accumulate(latest, axis=0)]
