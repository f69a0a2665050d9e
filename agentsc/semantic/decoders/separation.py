"""Separation: an image as bits, the bits behind a channel code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agentsc.semantic import DECODERS, channel_code, stills
from agentsc.semantic.channel import Heard, SymbolChannel
from agentsc.semantic.channel_code import Code
from agentsc.semantic.receiver import Decoded, Decoder, Floats, Receiver, counted
from envs import keyed
from policies.scene.digital import CodeRequest, TransformModel
from policies.scene.shipped import TRANSFORM


@dataclass(frozen=True)
class Delivered:
    """What arrives of B images as bits.

    Attributes:
        frames: uint8 [B, bytes], as they are where they arrive. error: probability [B] that they do not.
        spent: bits in use [B], for the record.
    """

    frames: NDArray[np.uint8]
    error: NDArray[np.float64]
    spent: NDArray[np.int64]


@DECODERS.register("separation")
class Separation(Decoder):
    """A source code with an entropy coder, then a channel code: the classical rival, with its cliff.

    The sender takes the best quality whose bits fit the channel uses at the SNR that it expects. A block that does not
    arrive, and an image that fits at no quality, leaves a plain image of the mean colour of scenes.
    Reference: Shannon, 1948; Ballé et al., "Nonlinear transform coding", 2021 (``ntc``).
    """

    analog: ClassVar[bool] = False
    source: Literal["ntc", "webp", "jpeg"] = Field(
        "ntc", description="source code: learned transform code, or files without the parts that receivers know"
    )
    code: Code = Field(
        "capacity", description="channel code: the bound, measured errors of 5G LDPC codes, or such a code (sionna)"
    )
    design_snr_db: float | None = Field(
        None, allow_inf_nan=False, description="SNR that the rate is chosen for; what senders expect if left out"
    )
    target: float = Field(
        0.01, gt=0.0, lt=1.0, description="block error accepted at that SNR, with ldpc and phy; it decides the mode"
    )

    @model_validator(mode="after")
    def _check(self) -> Separation:
        if self.code == "phy":
            channel_code.require_phy()
        return self

    @property
    def models(self) -> tuple[str, ...]:
        return (TRANSFORM,)

    def send(
        self, receiver: Receiver, channel: SymbolChannel, x: Floats, count: int, first: int, snr_db: float
    ) -> tuple[Heard, Any]:
        design = snr_db if self.design_snr_db is None else self.design_snr_db
        chosen = channel_code.plan(self.code, count, design, self.target)
        frames, length = self.write(receiver, x, chosen.bits)
        spent, nothing = 8 * np.maximum(length, 0), length < 0
        if self.code == "phy":
            phy = channel_code.Phy(chosen, count)
            heard = channel.send(phy.send(frames), first=first)
            frames, good = phy.receive(heard)
            error = np.where(good, 0.0, 1.0)
        else:
            # Whether a block arrives hangs on gains and noise alone: any symbols of that energy show it.
            heard = channel.send(np.ones((len(x), count), np.complex128), first=first)
            error = channel_code.block_errors(chosen, heard)
        return heard, Delivered(frames, np.where(nothing, 1.0, error), spent)

    def write(self, receiver: Receiver, x: Floats, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Frames uint8 [B, bits // 8], and the bytes in use [B]; −1 where nothing fits."""
        if self.source != "ntc":
            return stills.fit(x, self.source, bits)
        reply = receiver.core.sample(CodeRequest(TRANSFORM, counted(x), "encode", x, bits))
        return reply.rows, np.where(reply.level < 0, -1, reply.length)

    def read(self, receiver: Receiver, frames: NDArray[np.uint8]) -> Floats:
        """Images [B, *shape] of frames; of none that are no code."""
        if self.source == "ntc":
            request = CodeRequest(TRANSFORM, counted(frames), "decode", frames, 8 * frames.shape[1])
            made: Floats = receiver.core.sample(request).rows
            return made
        images = self._plain(receiver, len(frames))
        size = receiver.codec.shape[-1]
        for row, frame in enumerate(frames):
            try:
                images[row] = stills.read(frame.tobytes(), self.source, (size, size))
            except ValueError:
                continue
        return images

    def decode(self, receiver: Receiver, arrival: Delivered, keys: NDArray[np.uint64]) -> Decoded:
        lost = keyed.uniform(keys, keyed.stream_id("block")) < arrival.error
        whole = np.where(lost[:, None], np.uint8(0), arrival.frames)
        x = np.where(lost[:, None, None, None], self._plain(receiver, len(keys)), self.read(receiver, whole))
        facts = {"outage": lost.astype(np.float64), "coded_bits": arrival.spent.astype(np.float64)}
        return Decoded(x.astype(np.float32), np.zeros(len(keys), np.int64), facts=facts)

    def _plain(self, receiver: Receiver, count: int) -> Floats:
        model = receiver.core.models[TRANSFORM]
        assert isinstance(model, TransformModel)
        return np.broadcast_to(model.codec.mean[:, None, None], (count, *receiver.codec.shape)).astype(np.float32)
