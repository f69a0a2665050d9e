"""Radio links: what happens to one packet on its way from one agent to one other.

A link is a plug-in in ``agentsc/links/models``. Links compose with ``+``: a packet gets through
if every link lets it through, and its delays add up. ``docs/links.md`` describes them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links.hop import Draw, Hop, Ints, Keys, Mask, Pairs, happens, uniform
from agentsc.links.queue import SenderQueue
from envs.registry import Plugin, Registry, parse_spec

LINKS = Registry("links", "agentsc.links.models")


class Effect(NamedTuple):
    """What one link does to the N rows of a `Hop`.

    Attributes:
        lost: reason → bool [N], which packets it loses; the reasons are those that the link declares.
        delay_s: seconds that it adds, [N] or one number for all.
        state: [N], of the pairs, after these packets; None for a link without memory.
        copied: rows of which the receiver gets one more copy, in ascending order.
        copy_delay_s: seconds by which those copies come after their packets, one each.
    """

    lost: Mapping[str, Mask] = {}
    delay_s: NDArray[np.float64] | float = 0.0
    state: NDArray | None = None
    copied: NDArray[np.integer] | None = None
    copy_delay_s: NDArray[np.float64] | float = 0.0


class LinkModel(Plugin):
    """Base of every link: pure functions of what a hop holds, the packets' keys and the pairs' states."""

    reasons: ClassVar[tuple[str, ...]] = ()
    """Why it loses packets, as they are counted: columns ``lost_<reason>``."""

    restricts: ClassVar[bool] = False
    """Whether it decides who can hear whom at all; if so, `audience` is asked before anything else happens."""

    omits: ClassVar[tuple[str, ...]] = (
        "obstacles, fading and interference: a radio's surroundings do not change what it receives",
        "contention: senders do not disturb each other",
        "bit errors: a packet arrives whole or not at all",
    )
    """What a link does not simulate, for reports."""

    def sender_queue(self, lanes: int, agents: int) -> SenderQueue | None:
        """A queue in front of each sender's radio; None if packets leave at once."""
        return None

    def audience(self, lane: Ints, sender: Ints, position: NDArray[np.floating]) -> Pairs:
        """Who can hear each packet, asked if the link `restricts`; the others are lost for its first reason.

        Args:
            lane, sender: int32 [K]. position: float [lane, agent, 2], metres.
        """
        raise NotImplementedError

    def initial(self, draw: Draw) -> NDArray | None:
        """State [N] in which every ordered pair starts, from ``draw.pair``; None for a link without memory."""
        return None

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        """What becomes of packets.

        Args:
            hop: the packets and their receivers. draw: the link's random bits for them.
            state: [N], of each pair when its packet is sent; None without memory.
        """
        return Effect()


def parse_link(spec: str) -> list[LinkModel]:
    """Links from ``NAME[:key=value,…]``, joined by ``+``, e.g. ``erasure:p=0.2+delay:ms=150``.

    Raises:
        ConfigError: unknown link or parameter, a value out of bounds, or text that does not parse.
    """
    return [_parse_one(part.strip(), spec) for part in re.split(r"\+(?=\s*[A-Za-z])", spec)]


def _parse_one(part: str, spec: str) -> LinkModel:
    rule = f"link must be NAME:key=value,… joined by '+', got {spec!r}"
    name, values = parse_spec(part, rule, "link")
    model: LinkModel = LINKS.create(name, **values)
    return model


__all__ = [
    "LINKS", "Draw", "Effect", "Hop", "Ints", "Keys", "LinkModel", "Mask", "Pairs", "SenderQueue",
    "happens", "parse_link", "uniform",
]  # fmt: skip
