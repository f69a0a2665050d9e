"""What the diffusion core asks of a model: which requests ride together, and how a batch is sampled."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np
import torch

from envs.errors import ConfigError
from policies import rows

Precision = Literal["float32", "bfloat16"]
Request = TypeVar("Request")
Reply = TypeVar("Reply")


@dataclass
class Meter:
    """What network forward passes cost in one batch.

    Attributes:
        network_s: seconds inside forward passes, on a GPU those of the GPU; known after `close`.
        calls: how often the denoiser was evaluated. samples: rows of all of these evaluations.
    """

    device: torch.device
    network_s: float = 0.0
    calls: int = 0
    samples: int = 0
    _marks: list[tuple[Any, Any]] = field(default_factory=list, repr=False)

    @contextmanager
    def forward(self, samples: int = 0) -> Iterator[None]:
        """Around a piece of a forward pass; give ``samples`` once per evaluation of the denoiser."""
        if samples:
            self.calls += 1
            self.samples += samples
        if self.device.type == "cuda":
            # Kernels are queued: only the GPU's own clock sees how long they take, read when all is done.
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            stream = torch.cuda.current_stream(self.device)
            begin.record(stream)
            yield
            end.record(stream)
            self._marks.append((begin, end))
            return
        started = time.perf_counter()
        yield
        self.network_s += time.perf_counter() - started

    def close(self) -> None:
        """Wait for the device and add up."""
        if self._marks:
            torch.cuda.synchronize(self.device)
            self.network_s += sum(begin.elapsed_time(end) for begin, end in self._marks) * 1e-3
            self._marks.clear()


class Model(ABC, Generic[Request, Reply]):
    """A named model of the core.

    Requests and replies are frozen data classes of numpy arrays (see `policies.rows`), so that they can
    be sent to an actor. A request has ``model``, the name that it is for, and ``keys``, uint64 [batch]:
    all noise of a row comes from its key, and a row's samples depend on that row alone. A reply has a
    field ``report``, which the core fills in.

    Attributes:
        device: where it computes.
        smallest: batches of fewer rows are filled up to this: below, matrix products take another kernel
            and differ in the last bit (measured: below 6 to 11 rows, depending on the processor).
    """

    device: torch.device = torch.device("cpu")
    smallest: int = 16
    urgency: int = 0
    """Of what waits together, more urgent models are served first: vehicles wait for plans, people for pictures."""

    @abstractmethod
    def check(self, request: Request) -> None:
        """Raises:
        ConfigError: the request cannot be sampled; nothing has been computed yet.
        """

    @abstractmethod
    def key(self, request: Request) -> Hashable:
        """Requests with equal keys can be sampled as one batch."""

    @abstractmethod
    def sample(self, request: Request, meter: Meter) -> Reply:
        """Samples of every row; NaN where sampling failed, in those rows only.

        Args:
            meter: to be put around forward passes.
        """

    def join(self, requests: Sequence[Request]) -> Request:
        """Requests of equal keys as one, in this order."""
        return rows.stack(requests)

    def split(self, reply: Reply, sizes: Sequence[int]) -> list[Reply]:
        """A joint reply shared out again: the inverse of `join`."""
        ends = np.cumsum(sizes).tolist()
        return [rows.take(reply, slice(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


def device_of(name: str) -> torch.device:
    """The torch device of that name.

    Raises:
        ConfigError: no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device must be cpu or cuda, got {name!r} (where the network runs)") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device must be one that is here, got {name!r} without a usable GPU (use cpu)")
    return device


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context that networks run in.

    Raises:
        ConfigError: an unknown precision.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise ConfigError(
            f"precision must be one of {known}, got {precision!r} (of the network's forward passes)"
        )
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def check_keys(keys: Any) -> None:
    """Raises:
    ConfigError: keys that are not uint64 [batch], or none.
    """
    if not (isinstance(keys, np.ndarray) and keys.dtype == np.uint64 and keys.ndim == 1 and len(keys)):
        got = f"{keys.dtype} {list(keys.shape)}" if isinstance(keys, np.ndarray) else type(keys).__name__
        raise ConfigError(f"keys must be uint64 [batch] with at least one row, got {got} (see envs.keyed)")


def check_rows(name: str, values: Any, batch: int, shape: tuple[int, ...] | None = None) -> None:
    """Raises:
    ConfigError: ``values`` is not [batch, *shape] (any shape if None) or not finite; names the first bad row.
    """
    if len(values) != batch or (shape is not None and values.shape[1:] != shape):
        wanted = f"[{batch}, …]" if shape is None else str([batch, *shape])
        raise ConfigError(f"{name} must have shape {wanted}, got {list(values.shape)} (a row per key)")
    # A sum of squares is finite only if all numbers are, and is much cheaper; it may overflow where they do not.
    flat = values.reshape(-1)
    if not math.isfinite(np.dot(flat, flat)) and not np.isfinite(flat).all():
        row = int(np.flatnonzero(~np.isfinite(values.reshape(batch, -1)).all(1))[0])
        raise ConfigError(f"{name} must be finite, got NaN or inf in row {row}")
