"""Channel codes of the separation baseline: how many bits an image may have, and whether they arrive.

A code is chosen for the SNR that the sender expects, and carries all bits of an image as one block: they arrive
together or not at all.
"""

from __future__ import annotations

import importlib.util
import zlib
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.links.radio.link import LADDER
from agentsc.links.radio.modulation import BITS
from agentsc.links.radio.packet_error import SHIPPED, read_curves, tabulated
from agentsc.semantic.channel import Heard, mutual_information
from envs.errors import ConfigError

Code = Literal["capacity", "ldpc", "phy"]
"""The bound; measured block errors of 5G LDPC codes; or such a code itself, bit for bit (needs sionna)."""
CHECKSUM = 16
"""Bits by which a receiver tells whether a block is whole, as TS 38.212 has for blocks up to 3,824 bits."""
ITERATIONS = 20
"""Of belief propagation."""


class Format(NamedTuple):
    """How bits of an image go out: ``bits`` of the source, in a mode of the ladder; −1 for none, the bound."""

    bits: int
    mode: int


def ladder_errors(snr: float, bits: int) -> list[float]:
    """Block error of ``bits`` bits in every mode of the ladder at a flat E_s/N_0.

    The table holds blocks of 144 bits; longer ones count as so many of them, each of which must arrive. Real long codes
    do better, by a decibel or less.
    """
    curves = read_curves(SHIPPED)
    return [float(tabulated(curves[mode], np.array([snr]), max(bits, 1))[0]) for mode in range(len(LADDER))]


def plan(code: Code, uses: int, design_snr_db: float, target: float) -> Format:
    """What is sent over ``uses`` symbols at the SNR that is expected.

    Args:
        target: block error that is accepted there, with ``ldpc`` and ``phy``: the fastest mode below it is taken, the
            most robust one if there is none.
    """
    snr = 10.0 ** (0.1 * design_snr_db)
    if code == "capacity":
        return Format(int(np.floor(uses * np.log2(1.0 + snr) + 1e-9)), -1)
    room = [int(uses * BITS[name] * rate) for name, rate in LADDER]
    fit = [mode for mode, bits in enumerate(room) if ladder_errors(snr, bits)[mode] <= target]
    mode = max(fit, default=0)
    return Format(max(room[mode] - CHECKSUM, 0), mode)


def block_errors(chosen: Format, heard: Heard) -> NDArray[np.float64]:
    """Probability [B] that an image's block does not arrive.

    With the bound 0 or 1: a block arrives if what the channel carries, `mutual_information`, is at least what was
    planned. A receiver with the table sees the flat channel that carries as much.
    """
    carried = mutual_information(heard)
    if chosen.mode < 0:
        # What is planned for the very channel that is met must pass it.
        return np.where(chosen.bits <= carried * (1.0 + 1e-9) + 1e-6, 0.0, 1.0)
    flat = np.exp2(carried / heard.uses.data) - 1.0
    curve = read_curves(SHIPPED)[chosen.mode]
    return tabulated(curve, flat, np.full(len(flat), chosen.bits + CHECKSUM))


def require_phy() -> None:
    """Raises:
    ConfigError: sionna is not installed.
    """
    if importlib.util.find_spec("sionna") is None:
        raise ConfigError("code must be capacity or ldpc without sionna, got 'phy' (pip install -e .[phy])")


class Phy:
    """A 5G LDPC code with Gray-mapped symbols, encoder and decoder: the bits themselves.

    Args:
        chosen: what is sent. uses: symbols of an image.

    Reference: 3GPP TS 38.212, sections 5.1 and 5.3.2, as sionna implements it.
    """

    def __init__(self, chosen: Format, uses: int) -> None:
        from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
        from sionna.phy.mapping import Constellation, Demapper, Mapper

        name, _ = LADDER[chosen.mode]
        width = BITS[name]
        self.bits, self.uses = chosen.bits, uses
        points = Constellation("pam" if width == 1 else "qam", width)
        self._encoder = LDPC5GEncoder(chosen.bits + CHECKSUM, uses * width)
        self._decoder = LDPC5GDecoder(self._encoder, num_iter=ITERATIONS)
        self._mapper, self._demapper = Mapper(constellation=points), Demapper("app", constellation=points)

    def send(self, frames: NDArray[np.uint8]) -> NDArray[np.complex128]:
        """Symbols [B, uses] of mean energy 1 per image, of frames [B, bits // 8]."""
        import torch

        sums = np.array([_checksum(frame) for frame in frames], np.uint8).reshape(len(frames), CHECKSUM)
        filled = np.zeros((len(frames), self.bits), np.uint8)
        filled[:, : 8 * frames.shape[1]] = np.unpackbits(frames, axis=1)
        payload = torch.as_tensor(np.concatenate([filled, sums], axis=1).astype(np.float32))
        made = self._mapper(self._encoder(payload)).cpu().numpy().astype(np.complex128)
        return np.asarray(made / np.sqrt(np.mean(np.abs(made) ** 2, axis=1, keepdims=True)))

    def receive(self, heard: Heard) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Frames [B, bits // 8], and whether their checksums are right."""
        import torch

        power = np.maximum(np.abs(heard.gain) ** 2, 1e-12)
        equalised = torch.as_tensor((heard.received * heard.gain.conj() / power).astype(np.complex64))
        noise = torch.as_tensor((heard.noise_variance[:, None] / power).astype(np.float32))
        found = self._decoder(self._demapper(equalised, noise)).cpu().numpy().astype(np.uint8)
        whole = 8 * (self.bits // 8)
        frames = np.packbits(found[:, :whole], axis=1)
        good = [bool((found[n, self.bits :] == _checksum(frame)).all()) for n, frame in enumerate(frames)]
        return frames, np.asarray(good, bool)


def _checksum(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sixteen bits that hang on all of a frame."""
    value = zlib.crc32(frame.tobytes()) & 0xFFFF
    return np.unpackbits(np.array([value >> 8, value & 0xFF], np.uint8))
