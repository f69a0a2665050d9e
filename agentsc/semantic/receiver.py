"""What receivers of images are: a decoder's choice of requests, served by the diffusion core."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from agentsc.semantic.channel import Heard
from envs import keyed
from envs.registry import Plugin
from policies.core import DiffusionCore
from policies.scene.codec import ImageCodec, estimate
from policies.scene.model import Arrival, CodecRequest, ImageRequest
from policies.scene.shipped import CODEC, PRIOR

Floats = NDArray[np.float32]


class Decoded(NamedTuple):
    """x: float32 [B, *shape] in [−1, 1]. calls: int64 [B], denoiser evaluations that each image took."""

    x: Floats
    calls: NDArray[np.int64]


class Receiver:
    """A diffusion core with a codec and a prior; knows of an image only what arrived.

    Args:
        core: that has the models ``jscc`` and ``scene-prior``. codec: as the sender's.
    """

    def __init__(self, core: DiffusionCore, codec: ImageCodec) -> None:
        self.core, self.codec = core, codec

    def encode(self, x: Floats, snr_db: float, count: int) -> NDArray[np.complex128]:
        """The sender's part: symbols [B, count] of images [B, *shape] in [−1, 1]."""
        told = np.full(len(x), snr_db, np.float32)
        pairs = self.core.sample(CodecRequest(CODEC, _counted(x), "encode", x, told, count)).rows.astype(np.float64)
        return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])

    def decode(self, arrival: Arrival) -> Floats:
        """The codec's own decoder on linear estimates of the symbols: [B, *shape], clipped to [−1, 1]."""
        received, gain, noise = (
            torch.as_tensor(each) for each in (arrival.received, arrival.gain, arrival.noise_variance)
        )
        symbols, variance = (each.numpy() for each in estimate(received, gain, noise))
        request = CodecRequest(
            CODEC, _counted(symbols), "decode", symbols, arrival.snr_db, symbols.shape[1], variance
        )
        made: Floats = self.core.sample(request).rows
        return np.clip(made, -1.0, 1.0)

    def cbr(self, arrival: Arrival) -> float:
        """Data symbols per number of an image."""
        return float(arrival.received.shape[1] / np.prod(self.codec.shape))


def arrival_of(heard: Heard, snr_db: float) -> Arrival:
    """What a receiver gets to see of what arrived, in the arrays that the core takes."""

    def pairs(values: NDArray[np.complexfloating]) -> Floats:
        return np.stack([values.real, values.imag], axis=-1).astype(np.float32)

    count = len(heard.received)
    return Arrival(
        pairs(heard.received), pairs(heard.gain), heard.noise_variance.astype(np.float32),
        np.full(count, snr_db, np.float32),
    )  # fmt: skip


class Decoder(Plugin):
    """A receiver of the human scenario."""

    @abstractmethod
    def decode(self, receiver: Receiver, arrival: Arrival, keys: NDArray[np.uint64]) -> Decoded:
        """Images from what arrived.

        Args:
            keys: uint64 [B]; all randomness of an image comes from its key.
        """


class SamplingDecoder(Decoder):
    """A decoder that draws from the prior, steered by what arrived."""

    steps: int = Field(20, ge=2, description="denoising steps, one network call each")
    samples: int = Field(1, ge=1, le=64, description="images drawn and averaged; 1 keeps a single draw")
    start: Literal["decoder", "noise"] = Field("decoder", description="around the codec's image, or from noise")

    @abstractmethod
    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        """Fields of `ImageRequest` that this decoder chooses, at a rate and an expected SNR."""

    def decode(self, receiver: Receiver, arrival: Arrival, keys: NDArray[np.uint64]) -> Decoded:
        # A batch was sent at one SNR; what each image met is in its own gains.
        plan = self.plan(receiver.cbr(arrival), float(arrival.snr_db[0]))
        start = receiver.decode(arrival) if self.start == "decoder" else None
        request = ImageRequest(PRIOR, keys, arrival, start=start, steps=self.steps, **plan)
        replies = receiver.core.sample_many(
            request if number == 0 else _again(request, number) for number in range(self.samples)
        )
        x = np.mean([np.clip(reply.x, -1.0, 1.0) for reply in replies], axis=0)
        return Decoded(np.asarray(x, np.float32), replies[0].calls * self.samples)


def _again(request: ImageRequest, number: int) -> ImageRequest:
    return replace(request, keys=keyed.hash_words(request.keys, keyed.stream_id("again"), number))


def _counted(rows: NDArray) -> NDArray[np.uint64]:
    """Keys of requests that draw nothing."""
    return np.arange(len(rows), dtype=np.uint64)
