"""A class map and the number of a seed: both ends draw the same picture of them, and the sender looks first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agentsc.semantic import DECODERS, channel_code, quality, seeded
from agentsc.semantic.channel import Heard, SymbolChannel
from agentsc.semantic.channel_code import Code
from agentsc.semantic.decoders.separation import Delivered, Separation, plain
from agentsc.semantic.perceiver import one_hot
from agentsc.semantic.receiver import Decoded, Decoder, Floats, Receiver, code_facts, counted, segmented
from agentsc.semantic.seeded import Drafts, Layout, Packed
from envs import keyed
from envs.scenery import CLASSES
from policies.scene.map_code import MapModel, MapRequest
from policies.scene.model import ImageReply
from policies.scene.paint import PAINTER, PaintRequest
from policies.scene.shipped import MAPS, TRANSFORM

PLAIN = Separation.model_validate({})
"""The code that is fallen back on."""
BLANK = 20.0
"""Noise-to-signal ratio σ/α that pictures without colours start at: nothing of a start is left."""
AT_A_TIME = 128
"""Pictures that a sender draws in one batch: more are no faster. What is drawn does not depend on it."""
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Checked(Delivered):
    """As of `separation`. told: what the sender did, metric → [B], for the record."""

    told: Mapping[str, NDArray] = field(default_factory=dict)


class Offer(NamedTuple):
    """What a sender might send of B images, and what it knows of that.

    Attributes:
        frames: uint8 [B, bytes]. bits: in use [B], −1 where nothing fits. score: [B], of the picture that the receiver
            will make of it; −inf where it is not known. final: [B], more bits would not change it.
    """

    frames: Bytes
    bits: NDArray[np.int64]
    score: NDArray[np.float64]
    final: NDArray[np.bool_]

    def or_better(self, other: Offer, where: NDArray[np.intp]) -> Offer:
        """With the rows ``where`` replaced by those of ``other`` that score higher, or that fit where nothing did."""
        better = (other.bits >= 0) & ((other.score > self.score[where]) | (self.bits[where] < 0))
        rows = where[better]
        frames, bits, score, final = self.frames.copy(), self.bits.copy(), self.score.copy(), self.final.copy()
        frames[rows], bits[rows] = other.frames[better], other.bits[better]
        score[rows], final[rows] = other.score[better], other.final[better]
        return Offer(frames, bits, score, final)


@DECODERS.register("shared-seed")
class SharedSeed(Decoder):
    """A class map, its colours and a seed's number; the sender draws what the receiver will draw, and picks the seed.

    Both ends hold a bank of K seeds and the same generator. The sender segments its picture, codes the map with the
    mean colour of each class, runs the receiver's generator from every seed of the bank, and sends the number of the
    best. Is even that worse than ``threshold``, it tries again with twice the bits for the map, and at last sends the
    picture by `separation`'s code, if that is better. All of this comes before anything is on the air.

    Reference: Wijesinghe et al., "Diff-GO: diffusion goal-oriented communications to achieve ultra-high spectrum
    efficiency", 2023 (local generative feedback, finite noise).
    """

    analog: ClassVar[bool] = False

    seeds: int = Field(16, ge=1, le=1024, description="K, seeds of the bank; one is not chosen, but may be checked")
    bank: int = Field(0, ge=0, description="number of the bank, which both ends know")
    criterion: Literal["task", "pixels", "code"] = Field(
        "task",
        description="what the sender looks at: mIoU of the drawn picture, segmented, with its own map (task) or with"
        " the map that it sends (code: what is drawn gives the same code again), or PSNR in dB (pixels)",
    )  # fmt: skip
    threshold: float | None = Field(
        None, allow_inf_nan=False, description="score, in the criterion's unit, below which more is sent; none: never"
    )
    first: float = Field(
        0.5, gt=0.0, le=1.0,
        description="share of the bits that the channel carries for the first try; then twice as many, up to all",
    )  # fmt: skip
    fallback: Literal["ntc", "none"] = Field(
        "ntc", description="what is sent if no map will do: the picture in all bits as by separation, or the best map"
    )
    colours: int = Field(5, ge=0, le=8, description="bits of each primary of a class's mean colour; 0 sends no colours")
    steps: int = Field(6, ge=2, description="denoising steps of a picture; two network calls each, one with weight 1")
    weight: float = Field(2.0, ge=0.0, description="of classifier-free guidance by the map")
    strength: float = Field(
        0.5, gt=0.0, description="noise-to-signal ratio σ/α that the map in its colours is brought to, before steps"
    )
    code: Code = Field("capacity", description="channel code, as of separation")
    design_snr_db: float | None = Field(
        None, allow_inf_nan=False, description="SNR that the rate is chosen for; what senders expect if left out"
    )
    target: float = Field(0.01, gt=0.0, lt=1.0, description="block error accepted at that SNR, with ldpc and phy")

    @model_validator(mode="after")
    def _check(self) -> SharedSeed:
        if self.code == "phy":
            channel_code.require_phy()
        if self.criterion != "pixels" and self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise ValueError(
                f"threshold must be in [0, 1] with criterion {self.criterion}, got {self.threshold:g} (mIoU)"
            )
        return self

    @property
    def models(self) -> tuple[str, ...]:
        return (PAINTER, MAPS, TRANSFORM)

    @property
    def layout(self) -> Layout:
        """Of frames."""
        return Layout(self.seeds, self.colours, self.threshold is not None and self.fallback == "ntc")

    @property
    def checks(self) -> bool:
        """Whether the sender looks at what will be drawn."""
        return self.seeds > 1 or self.threshold is not None

    def send(
        self, receiver: Receiver, channel: SymbolChannel, x: Floats, count: int, first: int, snr_db: float
    ) -> tuple[Heard, Any]:
        design = snr_db if self.design_snr_db is None else self.design_snr_db
        chosen = channel_code.plan(self.code, count, design, self.target)
        offer, told = Sender(self, receiver, x, chosen.bits // 8).choose()
        heard, frames, error = channel_code.cross(self.code, chosen, offer.frames, channel, count, first)
        return heard, Checked(frames, np.where(offer.bits < 0, 1.0, error), np.maximum(offer.bits, 0), told)

    def decode(self, receiver: Receiver, arrival: Checked, keys: NDArray[np.uint64]) -> Decoded:
        lost = keyed.uniform(keys, keyed.stream_id("block")) < arrival.error
        x, calls = plain(receiver, len(keys)), np.zeros(len(keys), np.int64)
        come = np.flatnonzero(~lost)
        if len(come):
            x[come], calls[come] = self.show(receiver, arrival.frames[come])
        facts = {"outage": lost.astype(np.float64), "coded_bits": arrival.spent.astype(np.float64), **arrival.told}
        return Decoded(x, calls, facts=facts)

    def kept(self, receiver: Receiver, arrival: Checked, decoded: Decoded) -> Mapping[str, NDArray]:
        share, own = np.zeros(len(decoded.x)), seeded.is_plain(self.layout, arrival.frames)
        for rows, of in ((np.flatnonzero(own), self._code_again), (np.flatnonzero(~own), self._map_again)):
            if len(rows):
                share[rows] = of(receiver, arrival.frames[rows], decoded.x[rows])
        return code_facts(share, decoded.facts["outage"] > 0.0)

    def show(self, receiver: Receiver, frames: Bytes) -> tuple[Floats, NDArray[np.int64]]:
        """What a receiver shows of frames [B, bytes], and its calls [B]; a sender that checks does the same."""
        x, calls = np.empty((len(frames), *receiver.codec.shape), np.float32), np.zeros(len(frames), np.int64)
        own = seeded.is_plain(self.layout, frames)
        coded, drawn = np.flatnonzero(own), np.flatnonzero(~own)
        if len(coded):
            x[coded] = PLAIN.read(receiver, seeded.plain_code(frames[coded]))
        if len(drawn):
            reply = self.paint(receiver, self.drafts(receiver, frames[drawn]))
            x[drawn], calls[drawn] = reply.x, reply.calls
        return x, calls

    def drafts(self, receiver: Receiver, frames: Bytes) -> Drafts:
        """What frames say is to be drawn."""

        def maps(packets: Bytes) -> NDArray[np.uint8]:
            found: NDArray[np.uint8] = receiver.core.sample(MapRequest(MAPS, counted(packets), packets)).labels
            return found

        return seeded.read(maps, self.layout, frames)

    def paint(self, receiver: Receiver, drafts: Drafts) -> ImageReply:
        """The generator: pictures in [−1, 1], of a draft and its seed alone."""
        keys = keyed.hash_words(keyed.stream_id("noise bank"), self.bank, drafts.seed)
        start, ratio = (drafts.flat, self.strength) if self.colours else (None, BLANK)
        request = PaintRequest(
            PAINTER, keys, one_hot(drafts.labels), self.weight, steps=self.steps, start=start, start_ratio=ratio
        )
        reply: ImageReply = receiver.core.sample(request)
        return ImageReply(np.clip(reply.x, -1.0, 1.0), reply.calls)

    def _map_again(self, receiver: Receiver, frames: Bytes, x: Floats) -> NDArray[np.float64]:
        """Share of the cells of the maps in frames that segmenting the pictures gives."""
        return np.asarray((look(receiver, x) == self.drafts(receiver, frames).labels).mean(axis=(1, 2)))

    def _code_again(self, receiver: Receiver, frames: Bytes, x: Floats) -> NDArray[np.float64]:
        return PLAIN.again(receiver, seeded.plain_code(frames), x)


class Sender:
    """The sender's half of `shared-seed`: offers, each judged by what the receiver will make of it.

    Args:
        decoder: what both ends agreed on. x: float32 [B, *shape] in [−1, 1]. size: bytes of a frame.
    """

    def __init__(self, decoder: SharedSeed, receiver: Receiver, x: Floats, size: int) -> None:
        self.decoder, self.receiver, self.x, self.size = decoder, receiver, x, size
        self.own = look(receiver, x)
        model = receiver.core.models[MAPS]
        assert isinstance(model, MapModel)
        self.code = model.code
        names = ("seeds_tried", "raises", "fell_back", "sender_calls")
        self.told = {name: np.zeros(len(x), np.int64) for name in names}

    def choose(self) -> tuple[Offer, Mapping[str, NDArray]]:
        """What is sent of every image, and what it took: metric → [B]."""
        every = np.arange(len(self.x))
        budgets = ladder(8 * self.size, self.decoder.first)
        best = self.maps(every, budgets[0])
        for budget in budgets[1:]:
            waiting = np.flatnonzero(self._poor(best) & ~best.final)
            if len(waiting):
                self.told["raises"][waiting] += 1
                best = best.or_better(self.maps(waiting, budget), waiting)
        waiting = np.flatnonzero(self._poor(best))
        if len(waiting) and self.decoder.layout.falls_back and self.size:
            self.told["raises"][waiting] += 1
            best = best.or_better(self.pictures(waiting), waiting)
            self.told["fell_back"][waiting] = seeded.is_plain(self.decoder.layout, best.frames)[waiting]
        if not self.decoder.checks:
            return best, self.told
        return best, {**self.told, "promised": np.where(best.bits < 0, np.nan, best.score)}

    def maps(self, rows: NDArray[np.intp], budget: int) -> Offer:
        """The best map in ``budget`` bits for some of the images, with the best seed."""
        layout = self.decoder.layout
        room = budget - layout.head_bits
        packed = [seeded.pack(self.code, layout, self.own[row], self.x[row], room) for row in rows.tolist()]
        nothing = np.asarray([each is None for each in packed])
        offer = Offer(
            np.zeros((len(rows), self.size), np.uint8),
            np.asarray([-1 if each is None else layout.head_bits + len(each.bits) for each in packed], np.int64),
            np.full(len(rows), -np.inf), np.asarray([each is not None and each.whole for each in packed]),
        )  # fmt: skip
        place = np.flatnonzero(~nothing)
        if not len(place):
            return offer
        seeds = np.zeros(len(place), np.int64)
        if self.decoder.checks:
            fitting = [packed[each] for each in place.tolist()]
            scores = self._audition(rows[place], [each for each in fitting if each is not None])
            seeds = scores.argmax(axis=1)
            offer.score[place] = scores.max(axis=1)
        for each, seed in zip(place.tolist(), seeds.tolist(), strict=True):
            chosen = packed[each]
            assert chosen is not None
            offer.frames[each] = seeded.frame(layout, chosen.bits, seed, self.size)
        return offer

    def pictures(self, rows: NDArray[np.intp]) -> Offer:
        """Some of the images by the plain code, in all bits but the first."""
        frames, length = PLAIN.write(self.receiver, self.x[rows], 8 * (self.size - 1))
        whole = np.stack([seeded.plain_frame(each, self.size) for each in frames])
        score = self._score(rows, whole)
        return Offer(whole, np.where(length < 0, -1, 8 * length + 1), score, np.ones(len(rows), bool))

    def _audition(self, rows: NDArray[np.intp], packed: list[Packed]) -> NDArray[np.float64]:
        """Scores [images, K] of maps drawn from every seed of the bank, by the very frames that would be sent."""
        decoder, count = self.decoder, self.decoder.seeds
        frames = np.stack([
            seeded.frame(decoder.layout, each.bits, seed, self.size) for each in packed for seed in range(count)
        ])  # fmt: skip
        self.told["seeds_tried"][rows] += count
        return self._score(rows.repeat(count), frames).reshape(len(rows), count)

    def _score(self, rows: NDArray[np.intp], frames: Bytes) -> NDArray[np.float64]:
        """How good what the receiver will show of frames [n, bytes] is for the images ``rows`` [n]."""
        parts = [slice(start, start + AT_A_TIME) for start in range(0, len(rows), AT_A_TIME)]
        return np.concatenate([self._score_some(rows[part], frames[part]) for part in parts])

    def _score_some(self, rows: NDArray[np.intp], frames: Bytes) -> NDArray[np.float64]:
        made, calls = self.decoder.show(self.receiver, frames)
        np.add.at(self.told["sender_calls"], rows, calls)
        if self.decoder.criterion == "pixels":
            return quality.psnr_db(0.5 * (made + 1.0), 0.5 * (self.x[rows] + 1.0))
        wanted = self.own[rows]
        if self.decoder.criterion == "code":
            drawn = np.flatnonzero(~seeded.is_plain(self.decoder.layout, frames))
            if len(drawn):
                wanted[drawn] = self.decoder.drafts(self.receiver, frames[drawn]).labels
        return quality.miou(look(self.receiver, made), wanted, len(CLASSES))

    def _poor(self, best: Offer) -> NDArray[np.bool_]:
        """Where more is to be sent: below the threshold, or nothing yet."""
        least = -np.inf if self.decoder.threshold is None else self.decoder.threshold
        return (best.score < least) | (best.bits < 0)


def ladder(bits: int, first: float) -> list[int]:
    """Budgets of the tries: a share of all bits, then twice as many each, up to all."""
    made = [min(int(bits * first), bits)]
    while made[-1] < bits:
        made.append(min(max(2 * made[-1], 1), bits))
    return made


def look(receiver: Receiver, x: Floats) -> NDArray[np.uint8]:
    """The maps [B, size, size] of images in [−1, 1] as the segmenter sees them."""
    found: NDArray[np.uint8] = segmented(receiver.core, x).labels
    return found
