"""What receivers of images are: a decoder's choice of requests, served by the diffusion core."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from agentsc.semantic.channel import Heard, SymbolChannel
from envs import camera, keyed
from envs.registry import Plugin
from policies.core import DiffusionCore
from policies.networks.conditional import reception
from policies.scene.codec import ImageCodec, estimate
from policies.scene.model import Arrival, CodecRequest, Echoes, ImageReply, ImageRequest, SceneReply, SceneRequest
from policies.scene.refine import RefineRequest
from policies.scene.shipped import CODEC, PRIOR, REFINER, SEGMENTER

Floats = NDArray[np.float32]
NO_FACTS: Mapping[str, NDArray] = MappingProxyType({})
EXAMPLES = 512
"""Scenes of the training bank that a receiver may know."""


class Decoded(NamedTuple):
    """What a decoder makes of B images.

    Attributes:
        x: float32 [B, *shape] in [−1, 1]. calls: int64 [B], denoiser evaluations that each image took.
        gain: complex128 [B, n], for decoders that estimate gains themselves.
        facts: metric → [B], what else there is to tell.
        expected: float32 [B, H, W], the squared error to be expected of every pixel, see `expected_squared_error`.
    """

    x: Floats
    calls: NDArray[np.int64]
    gain: NDArray[np.complex128] | None = None
    facts: Mapping[str, NDArray] = NO_FACTS
    expected: Floats | None = None


class Receiver:
    """A diffusion core with a codec and a prior; knows of an image only what arrived.

    Args:
        core: that has the models ``jscc`` and ``scene-prior``, and those that decoders ask for.
        codec: as the sender's.
        examples: float32 [many, *shape] in [−1, 1], images such as senders send; by default scenes that training saw.
    """

    def __init__(self, core: DiffusionCore, codec: ImageCodec, examples: Floats | None = None) -> None:
        self.core, self.codec = core, codec
        self._examples = examples

    def encode(self, x: Floats, snr_db: float, count: int) -> NDArray[np.complex128]:
        """The sender's part: symbols [B, count] of images [B, *shape] in [−1, 1]."""
        told = np.full(len(x), snr_db, np.float32)
        pairs = self.core.sample(CodecRequest(CODEC, counted(x), "encode", x, told, count)).rows.astype(np.float64)
        return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])

    def decode(self, arrival: Arrival) -> Floats:
        """The codec's own decoder on linear estimates of the symbols: [B, *shape], clipped to [−1, 1]."""
        symbols, variance = self.estimates(arrival)
        request = CodecRequest(
            CODEC, counted(symbols), "decode", symbols, arrival.snr_db, symbols.shape[1], variance
        )
        made: Floats = self.core.sample(request).rows
        return np.clip(made, -1.0, 1.0)

    def estimates(self, arrival: Arrival) -> tuple[Floats, Floats]:
        """Linear estimates of the symbols [B, n, 2], and what is left of their variance [B, n]."""
        received, gain, noise = (
            torch.as_tensor(each) for each in (arrival.received, arrival.gain, arrival.noise_variance)
        )
        symbols, variance = (each.numpy() for each in estimate(received, gain, noise))
        return symbols, variance

    def cbr(self, arrival: Arrival) -> float:
        """Data symbols per number of an image."""
        return float(arrival.received.shape[1] / np.prod(self.codec.shape))

    @cached_property
    def examples(self) -> Floats:
        """Images such as senders send, which no sender sends."""
        if self._examples is not None:
            return self._examples
        return np.asarray(2.0 * camera.bank(0, EXAMPLES, self.codec.shape[-1]).rgb - 1.0, np.float32)


def arrival_of(heard: Heard, snr_db: float, link_snr_db: float | None = None) -> Arrival:
    """What a receiver gets to see of what arrived, in the arrays that the core takes.

    Args:
        snr_db: what the sender expects. link_snr_db: mean of the link; as expected if left out.
    """

    def pairs(values: NDArray[np.complexfloating]) -> Floats:
        return np.stack([values.real, values.imag], axis=-1).astype(np.float32)

    count = len(heard.received)
    belief = heard.belief
    echoes = Echoes(
        pairs(belief.mean), belief.variance.astype(np.float32), heard.true_noise.astype(np.float32), belief.carriers
    )
    return Arrival(
        pairs(heard.received), pairs(heard.gain), heard.noise_variance.astype(np.float32),
        np.full(count, snr_db, np.float32), echoes,
        np.full(count, snr_db if link_snr_db is None else link_snr_db, np.float32),
    )  # fmt: skip


class Decoder(Plugin):
    """A receiver of the human scenario."""

    analog: ClassVar[bool] = True
    """Whether what is sent is a function of the image that a receiver can compare with; else it is bits."""

    @property
    def models(self) -> tuple[str, ...]:
        """Models that it needs beside codec and prior."""
        return ()

    def send(
        self, receiver: Receiver, channel: SymbolChannel, x: Floats, count: int, first: int, snr_db: float
    ) -> tuple[Heard, Any]:
        """What its sender puts on the air, and what `decode` gets of it: the codec's symbols, as an `Arrival`.

        Args:
            x: float32 [B, *shape] in [−1, 1]. count: data symbols of an image. first: number of the first image.
            snr_db: what the sender expects.
        """
        heard = channel.send(receiver.encode(x, snr_db, count), first=first)
        return heard, arrival_of(heard, snr_db, channel.snr_db)

    @abstractmethod
    def decode(self, receiver: Receiver, arrival: Any, keys: NDArray[np.uint64]) -> Decoded:
        """Images from what arrived.

        Args:
            arrival: as `send` of this decoder makes it, most often an `Arrival`.
            keys: uint64 [B]; all randomness of an image comes from its key.
        """

    def kept(self, receiver: Receiver, arrival: Any, decoded: Decoded) -> Mapping[str, NDArray]:
        """Whether what was sent comes out again if the received images are sent in turn: metrics → [B], `code_facts`.

        Of analog decoders `transmit` tells how far symbols move; those that send bits say here what of them stays.

        Args:
            arrival: as `decode` had it. decoded: what came of it.
        """
        return NO_FACTS


def code_facts(share: NDArray[np.float64], lost: NDArray[np.bool_]) -> dict[str, NDArray]:
    """``code_kept``, the share of a code that an image gives again, and ``code_same``, whether all of it does.

    Args:
        share: [B]. lost: [B], images of which nothing arrived, and that therefore have no code; they get NaN.
    """
    whole = np.where(lost, np.nan, np.asarray(share, np.float64))
    return {"code_kept": whole, "code_same": np.where(lost, np.nan, whole == 1.0)}


def expected_squared_error(drawn: Floats) -> Floats:
    """Squared error [B, H, W] of the mean of K draws [K, B, C, H, W] in [−1, 1] if the truth is one more; of peak 1.

    (1 + 1/K) times their variance, mean over colours; over the real error it is the square of spread over skill, 1 for
    draws that differ as much as the truth does (Fortin et al., "Why should ensemble spread match the RMSE of the
    ensemble mean?", 2014).
    """
    variance = drawn.astype(np.float64).var(axis=0, ddof=1)
    return np.asarray(0.25 * (1.0 + 1.0 / len(drawn)) * variance.mean(axis=1), np.float32)


class DrawingDecoder(Decoder):
    """A decoder that draws images: with the mean of several draws, and the dial between distortion and perception."""

    steps: int = Field(20, ge=1, description="denoising steps, one network call each")
    samples: int = Field(1, ge=1, le=64, description="images drawn and averaged; 1 keeps a single draw")
    dial: float | None = Field(
        None, ge=0.0, le=1.0,
        description="0: least error, 1: a draw, between: a mixture of both; the former is the mean of the samples if"
        " there are several, else the codec's image. Without it: the mean of the samples",
    )  # fmt: skip

    @abstractmethod
    def draw(self, receiver: Receiver, arrival: Arrival, keys: Sequence[NDArray[np.uint64]]) -> list[ImageReply]:
        """One batch of images for each of ``keys``, uint64 [B] each."""

    def decode(self, receiver: Receiver, arrival: Arrival, keys: NDArray[np.uint64]) -> Decoded:
        again = keyed.stream_id("again")
        every = [keys if number == 0 else keyed.hash_words(keys, again, number) for number in range(self.samples)]
        replies = self.draw(receiver, arrival, every)
        drawn = [np.clip(reply.x, -1.0, 1.0) for reply in replies]
        x = np.mean(drawn, axis=0)
        if self.dial is not None:
            best = x if self.samples > 1 else self.least_error(receiver, arrival, replies[0])
            x = best + self.dial * (drawn[0] - best)
        gains = [reply.gain for reply in replies if reply.gain is not None]
        gain = np.mean([each[..., 0] + 1j * each[..., 1] for each in gains], axis=0) if gains else None
        expected = expected_squared_error(np.stack(drawn)) if self.samples > 1 and self.dial is None else None
        return Decoded(np.asarray(x, np.float32), replies[0].calls * self.samples, gain, expected=expected)

    def least_error(self, receiver: Receiver, arrival: Arrival, reply: ImageReply) -> Floats:
        """The image that ``dial`` 0 shows where there is a single draw."""
        return receiver.decode(arrival)


def refined(
    receiver: Receiver, arrival: Arrival, keys: Sequence[NDArray[np.uint64]], **options: Any
) -> list[ImageReply]:
    """The codec's images with what they lack, drawn by the model ``conditional``: one batch for each of ``keys``.

    Args:
        keys: uint64 [B] each. options: `RefineRequest`'s of how to sample.
    """
    symbols, left = receiver.estimates(arrival)
    cbr = np.full(len(left), receiver.cbr(arrival), np.float32)
    told = reception(*(torch.as_tensor(each) for each in (left.mean(axis=1), cbr, arrival.snr_db))).numpy()
    request = RefineRequest(REFINER, keys[0], receiver.decode(arrival), symbols, left, told, **options)
    return receiver.core.sample_many(replace(request, keys=each) for each in keys)


class SamplingDecoder(DrawingDecoder):
    """A decoder that draws from the prior, steered by what arrived."""

    steps: int = Field(20, ge=2, description="denoising steps, one network call each")
    start: Literal["decoder", "refined", "noise"] = Field(
        "decoder", description="around the codec's image, around a draw of the few-step decoder, or from noise"
    )

    @property
    def models(self) -> tuple[str, ...]:
        return (REFINER,) if self.start == "refined" else ()

    @abstractmethod
    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        """Fields of `ImageRequest` that this decoder chooses, at a rate and a mean SNR."""

    def draw(self, receiver: Receiver, arrival: Arrival, keys: Sequence[NDArray[np.uint64]]) -> list[ImageReply]:
        # A batch was sent at one SNR; what each image met is in its own gains.
        plan = self.plan(receiver.cbr(arrival), met_snr_db(arrival))
        request = ImageRequest(PRIOR, keys[0], arrival, steps=self.steps, **plan)
        starts, before = self._starts(receiver, arrival, keys)
        replies = receiver.core.sample_many(
            replace(request, keys=each, start=start) for each, start in zip(keys, starts, strict=True)
        )
        return [replace(reply, calls=reply.calls + before) for reply in replies]

    def _starts(
        self, receiver: Receiver, arrival: Arrival, keys: Sequence[NDArray[np.uint64]]
    ) -> tuple[list[Floats | None], NDArray[np.int64]]:
        """What each batch is drawn around, and the calls that an image of it took, int64 [B]."""
        if self.start == "refined":
            again = keyed.stream_id("refined")
            drawn = refined(receiver, arrival, [keyed.hash_words(each, again) for each in keys])
            return [np.clip(reply.x, -1.0, 1.0) for reply in drawn], drawn[0].calls
        image = receiver.decode(arrival) if self.start == "decoder" else None
        return [image] * len(keys), np.zeros(len(keys[0]), np.int64)


def met_snr_db(arrival: Arrival) -> float:
    """Mean signal-to-noise ratio of the link, as the receiver knows it."""
    return float((arrival.snr_db if arrival.link_snr_db is None else arrival.link_snr_db)[0])


def segmented(core: DiffusionCore, x: Floats) -> SceneReply:
    """Class maps, scores and features of images [B, *shape] in [−1, 1], as the segmenter sees them."""
    found: SceneReply = core.sample(SceneRequest(SEGMENTER, counted(x), x.astype(np.float32)))
    return found


def counted(rows: NDArray) -> NDArray[np.uint64]:
    """Keys of requests that draw nothing."""
    return np.arange(len(rows), dtype=np.uint64)
