"""Notes to single peers, behind the verdicts of a packet: whose fork it is, and "show me your plan".

A GRANTS section is a list of twelve-bit entries, a peer's number and four more bits. The entry that names the sender
itself ends the verdicts; in those behind it the four bits are a word to that peer. So notes cost nothing while nobody
has anything to note.

| word  | says                                                                                        |
|-------|---------------------------------------------------------------------------------------------|
| 0 … 3 | version of the fork between us, the last two bits (`agentsc.protocol.forks`)                 |
| 8     | I was restarted and know nothing of you: show me your plan (`agentsc.protocol.restart`)      |
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.codec import Message

Ints = NDArray[np.int64]

FORKS = 4
"""Words below this one are versions of forks."""
SHOW = 8
NO_ENTRIES = np.zeros((0, 4), np.int64)


class Notes(NamedTuple):
    """Notes as received, int64 [n] each: row, peer, who is told by whom; word; at, the place of its delivery."""

    row: Ints
    peer: Ints
    word: Ints
    at: Ints


def verdicts_of(message: Message) -> Ints:
    """How many entries of each packet are verdicts: int64 [K]."""
    entry = np.arange(message.grant_peer.shape[1])
    count = message.grant_count.astype(np.int64)
    ends = (entry < count[:, None]) & (message.grant_peer == message.id[:, None])
    return np.where(ends, entry, count[:, None]).min(1, initial=count.max(initial=0))


def notes_to(message: Message, verdict_count: Ints, packet: Ints, row: Ints, sender: Ints, own: Ints) -> Notes:
    """Notes in deliveries of ``packet`` [n] from ``sender`` [n] to rows ``row`` [n], agents ``own`` [n].

    Args:
        verdict_count: [K], as from `verdicts_of`.
    """
    entry = np.arange(message.grant_peer.shape[1])
    noted = (entry > verdict_count[packet, None]) & (entry < message.grant_count[packet, None])
    at, which = np.nonzero(noted & (message.grant_peer[packet] == own[:, None]))
    word = 2 * message.grant_seq[packet[at], which] + message.grant_verdict[packet[at], which]
    return Notes(row[at], sender[at], word.astype(np.int64), at)


def entries(row: Ints, peer: Ints, word: Ints, ids: Ints) -> Ints:
    """Notes of rows [n] to peers [n] as entries [m, 4]: row, peer, seq, verdict; the end of verdicts before each row's.

    Args:
        ids: [row], the agents that rows are.
    """
    if not len(row):
        return NO_ENTRIES
    mine = np.unique(row)
    ends = np.stack([mine, ids[mine], np.zeros_like(mine), np.zeros_like(mine)], -1)
    notes = np.stack([row, peer, word >> 1, word & 1], -1)
    both = np.concatenate([ends, notes])
    return both[np.argsort(both[:, 0], kind="stable")]
