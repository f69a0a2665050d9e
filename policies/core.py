"""The diffusion core as a service: named models, requests joined into batches, and what it all cost.

    core = DiffusionCore({"maps": ArrayModel(...), "edge-prior": TrajectoryModel(...)})
    tickets = [core.submit(request) for request in requests]   # nothing is computed yet
    replies = [ticket.result() for ticket in tickets]          # the first call computes all

The core knows nothing of what models sample. It may be used from several threads. Results do not
depend on what rides together: every row's noise comes from the row's own key.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from threading import Lock, RLock
from typing import Any

import numpy as np

from envs.errors import ConfigError, RunError, unknown_name
from policies import rows
from policies.models import Meter, Model
from policies.requests import Report


class Ticket:
    """A request that waits for, or has got, its samples."""

    def __init__(self, core: DiffusionCore, request: Any, arrived: float) -> None:
        self.request, self.arrived = request, arrived
        self._core = core
        self._reply: Any = None
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether it has been served."""
        return self._reply is not None or self._error is not None

    def outcome(self) -> Any:
        """The reply, or the exception that this request ended with; computes whatever is waiting if need be."""
        if not self.done:
            self._core.flush()
        return self._reply if self._error is None else self._error

    def result(self) -> Any:
        """The reply.

        Raises:
            RunError: samples of this request are not finite.
        """
        outcome = self.outcome()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _settle(self, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            self._error = outcome
        else:
            self._reply = outcome


@dataclass
class Totals:
    """What a model has done so far.

    Attributes:
        requests, batches: served. rows: of all batches. max_batch_rows: of the largest.
        queue_s: seconds that requests waited, summed over requests. busy_s: seconds spent on batches.
        network_s: seconds of these inside network forward passes. network_calls: their number.
    """

    requests: int = 0
    batches: int = 0
    rows: int = 0
    max_batch_rows: int = 0
    queue_s: float = 0.0
    busy_s: float = 0.0
    network_s: float = 0.0
    network_calls: int = 0

    def summary(self) -> dict[str, Any]:
        """As plain values, with the mean batch."""
        return asdict(self) | {"mean_batch_rows": self.rows / self.batches if self.batches else None}

    def __add__(self, other: Totals) -> Totals:
        summed = {name: value + getattr(other, name) for name, value in asdict(self).items()}
        return Totals(**summed | {"max_batch_rows": max(self.max_batch_rows, other.max_batch_rows)})


class DiffusionCore:
    """Named models, sampled in batches.

    Args:
        models: name → model.
        max_rows: rows of a batch; more are cut into batches of nearly equal size, with the same results.

    Raises:
        ConfigError: no row fits a batch.
    """

    def __init__(self, models: Mapping[str, Model[Any, Any]], max_rows: int = 1024) -> None:
        if max_rows < 1:
            raise ConfigError(f"max_rows must be at least 1, got {max_rows} (rows of a batch)")
        self.models, self.max_rows = dict(models), max_rows
        self._totals = {name: Totals() for name in self.models}
        self._waiting: list[Ticket] = []
        self._queue = Lock()
        self._busy = RLock()

    def submit(self, request: Any) -> Ticket:
        """Check a request and queue it.

        Raises:
            ConfigError: an unknown model, or a request that its model cannot sample.
        """
        self._check(request)
        ticket = Ticket(self, request, time.perf_counter())
        with self._queue:
            self._waiting.append(ticket)
        return ticket

    def sample(self, request: Any) -> Any:
        """One request, now.

        Raises:
            ConfigError: as `submit`. RunError: samples that are not finite.
        """
        return self.submit(request).result()

    def sample_many(self, requests: Iterable[Any]) -> list[Any]:
        """Several requests, joined as far as they can be, in the order given.

        Raises:
            ConfigError: as `submit`; the message says which request, and nothing was computed.
            RunError: samples that are not finite.
        """
        return [ticket.result() for ticket in self.submit_many(requests)]

    def submit_many(self, requests: Iterable[Any]) -> list[Ticket]:
        """Queue several requests, or none of them.

        Raises:
            ConfigError: as `submit`; the message says which request.
        """
        asked = list(requests)
        for number, request in enumerate(asked):
            try:
                self._check(request)
            except ConfigError as error:
                if len(asked) == 1:
                    raise
                raise ConfigError(f"requests[{number}].{error}") from None
        now = time.perf_counter()
        tickets = [Ticket(self, request, now) for request in asked]
        with self._queue:
            self._waiting += tickets
        return tickets

    def flush(self, wanted: Sequence[Ticket] | None = None) -> None:
        """Serve what waits, urgent models first; returns when all that was submitted before has its outcome.

        Args:
            wanted: return as soon as these have theirs; what is less urgent goes on waiting for whoever wants that.
        """
        with self._busy:
            with self._queue:
                waiting, self._waiting = self._waiting, []
            groups: dict[Any, list[Ticket]] = {}
            for ticket in waiting:
                name = ticket.request.model
                groups.setdefault((name, self.models[name].key(ticket.request)), []).append(ticket)
            order = sorted(groups.items(), key=lambda group: -self.models[group[0][0]].urgency)
            for number, ((name, _), tickets) in enumerate(order):
                if wanted is not None and all(ticket.done for ticket in wanted):
                    with self._queue:  # in front of what has come meanwhile
                        self._waiting = [each for _, left in order[number:] for each in left] + self._waiting
                    return
                self._serve(name, tickets)

    def statistics(self) -> dict[str, Any]:
        """What was served so far: sums over all models, and ``models`` with those of each (see `Totals`)."""
        with self._busy:
            whole = sum(self._totals.values(), Totals())
            return whole.summary() | {"models": {name: each.summary() for name, each in self._totals.items()}}

    def _check(self, request: Any) -> None:
        if request.model not in self.models:
            raise unknown_name("model", request.model, self.models)
        with np.errstate(all="ignore"):  # numbers that are not finite are told of in words
            self.models[request.model].check(request)

    def _serve(self, name: str, tickets: Sequence[Ticket]) -> None:
        """One group of requests that can ride together."""
        model, totals = self.models[name], self._totals[name]
        sizes = [len(ticket.request.keys) for ticket in tickets]
        began = time.perf_counter()
        meter = Meter(model.device)
        batches = -(-sum(sizes) // self.max_rows)
        largest = -(-sum(sizes) // batches)
        try:
            joined = model.join([ticket.request for ticket in tickets])
            reply = rows.stack([_batch(model, part, meter) for part in _cut(joined, sum(sizes), batches)])
        except Exception as error:  # any: whoever waits for these requests must hear of it, others go on
            for ticket in tickets:
                ticket._settle(error)
            return
        finally:
            meter.close()
            took = time.perf_counter() - began
            waited = [began - ticket.arrived for ticket in tickets]
            self._totals[name] = totals + Totals(
                len(tickets), batches, sum(sizes), largest, sum(waited), took, meter.network_s, meter.calls
            )
        good = np.split(rows.finite(reply), np.cumsum(sizes)[:-1])
        parts = model.split(reply, sizes)
        for ticket, part, sound, queue_s in zip(tickets, parts, good, waited, strict=True):
            report = Report(queue_s, largest, meter.network_s)
            ticket._settle(replace(part, report=report) if sound.all() else _blown_up(name, sound))


def _cut(joined: Any, size: int, batches: int) -> list[Any]:
    if batches == 1:
        return [joined]
    edges = np.linspace(0, size, batches + 1).astype(int).tolist()
    return [rows.take(joined, slice(*pair)) for pair in zip(edges[:-1], edges[1:], strict=True)]


def _batch(model: Model[Any, Any], request: Any, meter: Meter) -> Any:
    """Samples of a batch, filled up with copies of its first row if it is too small."""
    size = len(request.keys)
    if size >= model.smallest:
        return model.sample(request, meter)
    filled = np.concatenate([np.arange(size), np.zeros(model.smallest - size, np.intp)])
    return rows.take(model.sample(rows.take(request, filled), meter), slice(size))


def _blown_up(name: str, sound: np.ndarray) -> RunError:
    bad = np.flatnonzero(~sound).tolist()
    shown = ", ".join(map(str, bad[:8])) + (", …" if len(bad) > 8 else "")
    return RunError(
        f"model {name!r} produced NaN or inf in row{'s' * (len(bad) > 1)} {shown} of a request of {len(sound)}: the "
        "conditions are finite, so a network or guidance step overflowed there (check the weights, and try more "
        "steps, a weaker guidance, or precision float32)"
    )
