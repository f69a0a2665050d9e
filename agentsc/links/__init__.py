"""Radio links: what happens to one packet on its way from one agent to one other.

A link is a plug-in in ``agentsc/links/models``. Links compose with ``+``: a packet gets through
if every link lets it through, and its delays add up.
"""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from envs.registry import Plugin, Registry, parse_spec

Keys = NDArray[np.uint64]

LINKS = Registry("links", "agentsc.links.models")


class LinkModel(Plugin):
    """Base of every link: pure functions of the packets' random keys and the pairs' states."""

    @property
    def random(self) -> bool:
        """Whether it looks at the keys at all; if not, none are drawn for it."""
        return True

    omits: ClassVar[tuple[str, ...]] = (
        "distance, obstacles, fading and interference: loss does not depend on where agents are",
        "airtime and contention: a packet of any length fits into its round",
        "bit errors: a packet arrives whole or not at all",
    )
    """What a link does not simulate, for reports."""

    def initial(self, key: Keys) -> NDArray | None:
        """State in which every ordered pair starts; None for a link without memory.

        Args:
            key: uint64 [lane, sender, receiver], well-mixed.

        Returns:
            [lane, sender, receiver].
        """
        return None

    def loss(self, key: Keys, state: NDArray | None) -> tuple[NDArray[np.bool_] | None, NDArray | None]:
        """Which packets are lost.

        Args:
            key: uint64 [packet, receiver], well-mixed and never repeated.
            state: [packet, receiver], of each pair when its packet is sent; None without memory.

        Returns:
            bool [packet, receiver], or None when nothing is ever lost, and the pairs' states afterwards.
        """
        return None, None

    def delay_s(self, key: Keys) -> NDArray[np.float64] | float:
        """Seconds from sending to arrival: [packet, receiver], or one number for all."""
        return 0.0


def happens(key: Keys, probability: float) -> NDArray[np.bool_]:
    """True with that probability: ``keyed.uniform < probability`` on the same bits, without the floats."""
    if probability <= 0.0:
        return np.zeros(key.shape, bool)
    if probability >= 1.0:
        return np.ones(key.shape, bool)
    return np.asarray((key >> np.uint64(11)) < np.uint64(int(probability * (1 << 53))))


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
