"""What an agent of the protocol `intent` may be up to, and how packets say so."""

from __future__ import annotations

from agentsc.protocol.joint.settle import DIGEST_BYTES

UNDER_WAY, GATHERING, AGREED, FREE, RALLYING, LOST = range(6)
"""On a course; telling a wish for the next one; agreed to that; left courses for good; in a rally; without a course."""

LEFT = (1 << 8 * DIGEST_BYTES) - 1
"""Stands for a digest in packets of those who have left."""
LEAVING = LEFT - 1
"""The same, of those who do not know yet that a majority has."""
URGENT, PATIENT = 3, 8
"""Rounds between repeats of a progress, if a peer is at a step that waits for it, and if one will be later."""
REMINDED = 2 * PATIENT
"""Rounds after which one that has said so already says it again."""
NUMBERS = 1 << 16
"""Courses are numbered in sixteen bits, as rounds are: none is agreed on in less than a round."""
MOST_LAG = (1 << 8) - 1
"""Ticks ahead that packets can speak of."""
