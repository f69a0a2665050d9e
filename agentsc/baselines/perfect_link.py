"""Our protocol with the radio taken away as a problem: the upper bound of what better radio could buy.

An oracle: no radio that can be built delivers every packet at once. What `negotiated` loses against
this baseline over a given link is what that link costs; what both lack is not the radio's fault.
"""

from __future__ import annotations

from agentsc.protocol import PROTOCOLS
from agentsc.protocol.variants.negotiated import Negotiated


@PROTOCOLS.register("perfect-link")
class PerfectLink(Negotiated):
    """The protocol `negotiated`, every packet delivered in the next round whatever the link: an oracle."""

    @property
    def radio(self) -> str:
        """The configured link is ignored; what is sent is counted all the same."""
        return "perfect"

    @property
    def oracle(self) -> bool:
        """No radio is like this one."""
        return True
