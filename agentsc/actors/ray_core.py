"""The diffusion core in a Ray actor, for any number of callers at once.

What arrives while a batch is being computed waits, and is computed together as soon as it ends:
the busier the core, the larger its batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from agentsc.actors.session import load

if TYPE_CHECKING:
    from policies.core import DiffusionCore

ray: Any = load()


@ray.remote(num_cpus=0)
class CoreActor:
    """A thin shell around a `policies.core.DiffusionCore`.

    Args:
        make: makes the core, in the actor's own process. arguments, options: what it is called with.
    """

    def __init__(self, make: Callable[..., DiffusionCore], *arguments: Any, **options: Any) -> None:
        self.core = make(*arguments, **options)
        # One thread that computes, with torch's own number of threads; the event loop goes on taking requests in.
        self._worker = ThreadPoolExecutor(1, initializer=_one_thread)

    async def sample(self, *requests: Any) -> Any:
        """Replies in the order of the requests, None for None; for one request just its reply.

        Each request may be a reference to one: its arrays then come straight from the actor that made it.

        Raises:
            ConfigError, RunError: as `DiffusionCore.sample_many`; requests of other callers are not affected.
        """
        replies = await self.sample_many(requests)
        return replies[0] if len(replies) == 1 else replies

    async def sample_many(self, requests: Sequence[Any]) -> list[Any]:
        """The same for requests that the caller holds itself: one message instead of many."""
        tickets = self.core.submit_many([request for request in requests if request is not None])
        if tickets:
            await asyncio.get_running_loop().run_in_executor(self._worker, self.core.flush, tickets)
        answers = iter([ticket.result() for ticket in tickets])
        return [None if request is None else next(answers) for request in requests]

    async def statistics(self) -> dict[str, Any]:
        """See `DiffusionCore.statistics`."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self.core.statistics)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
