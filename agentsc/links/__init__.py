"""Radio links: what happens to one packet on its way from one agent to one other.

A link is a plug-in in ``agentsc/links/models``. Links compose with ``+``: a packet gets through
if every link lets it through, and its delays add up. ``docs/links.md`` describes them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links.hop import Draw, Hop, Ints, Keys, Mask, Pairs, Surroundings, happens, uniform
from agentsc.links.packets import Doubles, Held
from agentsc.links.parts import Relay, Seal, Site, Stage, Station
from agentsc.links.presets import PRESETS
from envs.errors import unknown_name
from envs.registry import Plugin, Registry, parse_spec


class Links(Registry):
    """Link models, listed together with the presets made of them."""

    def describe(self) -> list[dict[str, Any]]:
        """Name, description and parameters of each; see `Registry.describe`."""
        presets = [
            {"name": name, "description": f"{preset.description} It stands for {preset.spec}", "parameters": {}}
            for name, preset in PRESETS.items()
        ]
        return sorted([*super().describe(), *presets], key=lambda row: row["name"])


LINKS = Links("links", "agentsc.links.models")


class Effect(NamedTuple):
    """What one link does to the N rows of a `Hop`.

    Attributes:
        lost: reason → bool [N], which packets it loses; the reasons are those that the link declares.
        delay_s: seconds that it adds, [N] or one number for all.
        state: [N], of the pairs, after these packets; None for a link without memory.
        copied: rows of which the receiver gets one more copy, in ascending order.
        copy_delay_s: seconds by which those copies come after their packets, one each.
        error_rate: probability [N] with which each bit arrives wrong. A packet with wrong bits is delivered if
            its checksum happens to hold, and lost for the reason ``crc`` otherwise.
        interference_mw: power [N] that disturbs the receiver, added up for links behind.
        snr_db: ratio [N] of signal to noise and interference that the receiver measured.
    """

    lost: Mapping[str, Mask] = {}
    delay_s: NDArray[np.float64] | float = 0.0
    state: NDArray | None = None
    copied: NDArray[np.integer] | None = None
    copy_delay_s: NDArray[np.float64] | float = 0.0
    error_rate: NDArray[np.float64] | None = None
    interference_mw: NDArray[np.float64] | None = None
    snr_db: NDArray[np.float64] | None = None


class LinkModel(Plugin):
    """Base of every link: pure functions of what a hop holds, the packets' keys and the pairs' states."""

    reasons: ClassVar[tuple[str, ...]] = ()
    """Why it loses packets, as they are counted: columns ``lost_<reason>``."""

    omits: ClassVar[tuple[str, ...]] = (
        "obstacles, fading and interference: a radio's surroundings do not change what it receives",
        "contention: senders do not disturb each other",
        "bit errors: a packet arrives whole or not at all",
    )
    """What a link does not simulate, for reports."""

    @property
    def restricts(self) -> bool:
        """Whether it decides who can hear whom at all; if so, `audience` is asked before anything else happens."""
        return False

    @property
    def weighs_interference(self) -> bool:
        """Whether it decides itself what overlapping transmissions do to a packet; otherwise they destroy it."""
        return False

    @property
    def stations(self) -> int:
        """How many hostile radios it puts beside the agents."""
        return 0

    @property
    def sealed_bits(self) -> int:
        """Bits that its `seal` adds to every packet."""
        return 0

    @property
    def adapts(self) -> bool:
        """Whether its `mode` depends on how well radios have heard."""
        return False

    @property
    def sets_rate(self) -> bool:
        """Whether its `mode` says how fast radios send."""
        return False

    def check(self, agents: int, beside: Sequence[LinkModel] = ()) -> None:
        """Asked once, when it is known how many agents there are and which links are beside it.

        Raises:
            ConfigError: the link does not fit so many agents, or lacks a link beside it.
        """

    def stage(self, site: Site) -> Stage | None:
        """Something to pass before packets are out; None if they leave at once."""
        return None

    def relay(self, site: Site) -> Relay | None:
        """Something that sends received packets on."""
        return None

    def seal(self, site: Site) -> Seal | None:
        """Something that marks packets as genuine."""
        return None

    def station(self, site: Site, number: int) -> Station:
        """One of its ``stations``, the node of that number."""
        raise NotImplementedError

    def mode(self, packets: Held, heard_db: NDArray[np.float32] | None) -> tuple[Ints, Doubles] | None:
        """Mode and rate, bits per second, with which a radio sends each of K packets; None without a radio.

        Args:
            heard_db: float32 [L, A, N], signal-to-noise ratio of the newest packet that each agent has received
                of each node; NaN before the first. None if no link `adapts`.
        """
        return None

    def audience(self, packets: Held, agents: int, around: Surroundings) -> Pairs:
        """Who can hear each packet, asked if the link `restricts`; the others are lost for its first reason.

        Args:
            agents: A; receivers are numbered below it. around: where everybody is.
        """
        raise NotImplementedError

    def in_touch(self, hop: Hop, draw: Draw) -> Mask | None:
        """Which pairs [N] hear each other most of the time, for graph metrics; None if the link parts nobody."""
        return None

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
    rule = f"link must be NAME:key=value,… joined by '+', got {spec!r}"
    parts = [parse_spec(part.strip(), rule, "link") for part in _JOINED.split(spec)]
    whole = [link for name, values in parts for link in _expanded(name, values)]
    return [LINKS.create(name, **values) for name, values in whole]


_JOINED = re.compile(r"\+(?=\s*[0-9]*[A-Za-z][A-Za-z0-9-]*\s*(?:[:+]|$))")
"""The plus signs between links; others belong to numbers such as 1e+2."""


def _expanded(name: str, values: Mapping[str, float | str]) -> list[tuple[str, dict[str, float | str]]]:
    """The links that a name stands for; a parameter goes to the first one of a preset that has it."""
    if name not in PRESETS:
        return [(name, dict(values))]
    preset = PRESETS[name]
    parts = [parse_spec(part, preset.spec, "link") for part in _JOINED.split(preset.spec)]
    for key, value in values.items():
        owner = next((own for part, own in parts if key in LINKS.get(part).model_fields), None)
        if owner is None:
            known = {field: 0 for part, _ in parts for field in LINKS.get(part).model_fields}
            raise unknown_name(f"link.{name} parameter", key, known)
        owner[key] = value
    return parts


__all__ = [
    "LINKS", "Draw", "Effect", "Held", "Hop", "Ints", "Keys", "LinkModel", "Mask", "Pairs", "Relay", "Seal", "Site",
    "Stage", "Station", "Surroundings", "happens", "parse_link", "uniform",
]  # fmt: skip
