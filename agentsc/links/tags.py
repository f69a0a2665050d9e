"""Packets that prove who wrote them, and when: a tag behind every packet, made with a key that the fleet shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import STATUS
from agentsc.intent.siphash import siphash
from agentsc.links.bitwise import cut, read, write
from agentsc.links.flight import Deliveries
from agentsc.links.packets import Bytes, Held, Ints
from agentsc.links.parts import Seal, Site
from envs.keyed import hash_words


class TagSeal(Seal):
    """The first bits of SipHash-2-4 over author, round counter, length and contents, behind the packet's last bit.

    The round counter is the author's whole one. A receiver completes the low bits that a packet carries from its own
    clock, so a packet that is repeated after its counter has wrapped around does not pass.

    Args:
        bits: of the tag. site: whose seeds give every lane's key.
    """

    def __init__(self, bits: int, site: Site) -> None:
        self.bits = bits
        self._keys = np.stack([hash_words(site.seeds, -4), hash_words(site.seeds, -5)], 1)

    def close(self, packets: Held) -> Held:
        tag = self._tags(packets.lane, packets.sender, packets.clock, packets.data, packets.bits)
        data = write(packets.data, packets.bits, self.bits, tag)
        return packets._replace(data=data, bits=packets.bits + np.int32(self.bits))

    def open(self, found: Deliveries, clock: int) -> tuple[Deliveries, dict[str, NDArray[np.bool_]]]:
        # Every delivery of a packet names the same author and round, so one of each is looked at.
        packets, row = np.unique(found.packet, return_index=True)
        data, bits = found.payload[packets], found.payload_bits[packets] - self.bits
        long = bits > 0
        inner = np.where(long, bits, 0)
        claimed = read(data, np.minimum(inner, 8 * data.shape[1] - self.bits), self.bits)
        plain = cut(data, inner)
        modulus = np.where((plain[:, 0] >> 4) & STATUS, 1 << 16, 1 << 8)
        named = clock - (clock - found.sent_clock[row]) % modulus
        tag = self._tags(found.lane[row], found.sender[row], named, plain, inner)
        false = ~long | (tag != claimed)
        payload, payload_bits = found.payload.copy(), found.payload_bits.copy()
        payload[packets], payload_bits[packets] = plain, inner
        refused = np.zeros(len(found.payload), bool)
        refused[packets] = false
        opened = Deliveries(
            found.lane, found.sender, found.receiver, found.sent_clock, found.arrival_s, found.packet,
            payload, payload_bits, found.hops, found.forged,
        )  # fmt: skip
        return opened, {"forged": refused[found.packet]}

    def _tags(
        self, lane: Ints, author: Ints, clock: NDArray[np.integer], data: Bytes, bits: NDArray[np.integer]
    ) -> NDArray[np.uint64]:
        head = np.stack([author, clock, bits], 1).astype("<i4").view(np.uint8).reshape(len(lane), 12)
        text = np.concatenate([head, data], axis=1)
        length = 12 + (np.asarray(bits, np.int64) + 7) // 8
        return siphash(self._keys[lane], text, length) >> np.uint64(64 - self.bits)
