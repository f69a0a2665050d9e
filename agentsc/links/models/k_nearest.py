"""Radios that reach their nearest neighbours."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agentsc.links import LINKS, Ints, LinkModel, Pairs


@LINKS.register("k-nearest")
class KNearest(LinkModel):
    """Packets reach the k agents nearest to their sender, and nobody else; hearing need not be mutual."""

    reasons: ClassVar[tuple[str, ...]] = ("topology",)
    restricts: ClassVar[bool] = True

    k: int = Field(ge=1, le=65535, examples=[2], description="number of agents that a packet reaches")

    def audience(self, lane: Ints, sender: Ints, position: NDArray[np.floating]) -> Pairs:
        from scipy.spatial import cKDTree

        agents = position.shape[1]
        reached = min(self.k, agents - 1)
        heard = np.empty((len(lane), reached), np.int32)
        for own in np.unique(lane).tolist():  # lanes, not packets: a tree serves all of its lane
            mine = np.flatnonzero(lane == own)
            who = sender[mine]
            tree = cKDTree(position[own], balanced_tree=False, compact_nodes=False)  # asked once per agent
            near = tree.query(position[own, who], k=np.arange(1, reached + 2))[1]
            # Usually the sender is its own nearest; at one spot with others it may come later, or not at all.
            strange = near != who[:, None]
            strange[strange.all(1), -1] = False
            heard[mine] = np.sort(near[strange].reshape(len(mine), reached), axis=1)
        packet = np.repeat(np.arange(len(lane), dtype=np.int32), reached)
        return Pairs(packet, heard.ravel())
