"""Pictures that both ends draw alike: what crosses, what a sender promises, what it tries, and what is delivered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentsc
from agentsc.semantic import DECODERS, channel_code, quality, seeded
from agentsc.semantic.channel import SymbolChannel
from agentsc.semantic.decoders.shared_seed import Checked, SharedSeed, ladder, look
from agentsc.semantic.receiver import Decoded, Receiver
from agentsc.semantic.seeded import Layout
from agentsc.semantic.simplify import restricted
from agentsc.semantic.source import of_scenes
from envs import keyed
from envs.errors import ConfigError
from policies.scene.map_code import MapCode, MapRequest
from policies.scene.paint import PAINTER
from policies.scene.shipped import MAPS, TRANSFORM, scene_core

ROOM = 885
"""Bits of 256 symbols at 10 dB."""


@pytest.fixture(scope="module")
def receiver() -> Receiver:
    return Receiver(*scene_core(also=(PAINTER, MAPS, TRANSFORM)))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return (2.0 * of_scenes(600, 32, 32, "birds-eye").rgb - 1.0).astype(np.float32)


@pytest.fixture(scope="module")
def code() -> MapCode:
    return MapCode.load()


def crossed(
    spec: str, receiver: Receiver, x: np.ndarray, link: str = "awgn:snr_db=10", count: int = 256
) -> tuple[SharedSeed, Checked, Decoded]:
    decoder = DECODERS.parse(spec)
    channel = SymbolChannel(link, 3)
    _, arrival = decoder.send(receiver, channel, x, count, 0, channel.snr_db)
    return decoder, arrival, decoder.decode(receiver, arrival, keyed.hash_words(3, np.arange(len(x))))


@settings(deadline=None, max_examples=8)
@given(
    st.integers(0, 31), st.integers(1, 40), st.integers(0, 8), st.booleans(), st.integers(60, 900), st.integers(0, 99)
)
def test_frames_keep_to_their_bits_and_say_what_was_put_in(
    row: int, seeds: int, depth: int, falls_back: bool, room: int, seed: int
) -> None:
    code, scenes = MapCode.load(), of_scenes(600 + row, 1, 32, "birds-eye")
    assert scenes.labels is not None
    labels, image = scenes.labels[0], (2.0 * scenes.rgb[0] - 1.0).astype(np.float32)
    layout = Layout(seeds, depth, falls_back)
    packed = seeded.pack(code, layout, labels, image, room - layout.head_bits)
    if packed is None:
        assert room < 300
        return
    assert layout.head_bits + len(packed.bits) <= room
    frames = seeded.frame(layout, packed.bits, seed % seeds, -(-room // 8))[None]
    assert not seeded.is_plain(layout, frames)[0]
    read = seeded.read(lambda packets: np.stack([code.decode(each.tobytes()) for each in packets]), layout, frames)
    assert read.seed[0] == seed % seeds
    if packed.whole:
        assert np.array_equal(read.labels[0], labels)
    for number in np.unique(read.labels[0]) if depth else []:
        there = read.labels[0] == number
        assert np.abs(read.palette[0, number] - image[:, there].mean(axis=1)).max() <= 1.01 / (2**depth - 1)
        assert np.array_equal(read.flat[0][:, there].T, np.tile(read.palette[0, number], (there.sum(), 1)))


def test_colours_of_classes_that_are_left_out_make_room_for_the_map(code: MapCode, x: np.ndarray) -> None:
    labels = of_scenes(600, 3, 32, "birds-eye").labels
    assert labels is not None
    assert set(np.unique(restricted(labels[0], [1]))) <= {0, 1}
    assert np.array_equal(restricted(labels[1], range(6)), labels[1])
    layout, room = Layout(4, 5, False), 110
    taken = [seeded.pack(code, layout, each, image, room) for each, image in zip(labels, x, strict=False)]
    assert np.mean([len(each.bits) for each in taken if each is not None]) > 0.75 * room
    assert all(each is not None and len(each.bits) <= room and not each.whole for each in taken)


def test_any_bytes_are_some_picture_and_a_code_of_its_own_comes_back(code: MapCode) -> None:
    frames = keyed.hash_words(1, np.arange(12)[:, None], np.arange(40)[None]).astype(np.uint8)
    for layout in (Layout(5, 5, True), Layout(1, 0, False)):
        drafts = seeded.read(lambda p: np.stack([code.decode(each.tobytes()) for each in p]), layout, frames)
        assert drafts.labels.max() < 6 and (drafts.seed < layout.seeds).all() and np.abs(drafts.flat).max() <= 1.0
    inside = frames[0, :39]
    whole = seeded.plain_frame(inside, 40)[None]
    assert seeded.is_plain(Layout(5, 5, True), whole)[0] and not seeded.is_plain(Layout(5, 5, False), whole)[0]
    assert np.array_equal(seeded.plain_code(whole)[0], inside)


def test_the_core_reads_packets_as_the_code_does(receiver: Receiver, code: MapCode) -> None:
    packets = np.zeros((3, 80), np.uint8)
    labels = of_scenes(0, 3, 32, "birds-eye").labels
    assert labels is not None
    for row, each in enumerate(labels):
        packet = np.frombuffer(code.encode(each), np.uint8)
        packets[row, : len(packet)] = packet
    assert np.array_equal(receiver.core.sample(MapRequest(MAPS, np.arange(3, dtype=np.uint64), packets)).labels, labels)
    with pytest.raises(ConfigError, match="packets"):
        receiver.core.sample(MapRequest(MAPS, np.arange(2, dtype=np.uint64), packets))


@pytest.mark.parametrize("options", ["", ",criterion=pixels,colours=0", ",threshold=0.7,first=0.4", ",criterion=code"])
def test_a_receiver_draws_bit_by_bit_what_the_sender_saw(options: str, receiver: Receiver, x: np.ndarray) -> None:
    decoder, arrival, decoded = crossed(f"shared-seed:seeds=3,steps=2{options}", receiver, x[:5])
    shown = decoded.x
    wanted = look(receiver, x[:5])
    if decoder.criterion == "pixels":
        score = quality.psnr_db(0.5 * (shown + 1.0), 0.5 * (x[:5] + 1.0))
    else:
        if decoder.criterion == "code":
            wanted = decoder.drafts(receiver, arrival.frames).labels
        score = quality.miou(look(receiver, shown), wanted, 6)
    assert np.array_equal(arrival.told["promised"], score), "exactly"
    # One by one, in another order, and with a channel that has nothing to do with it.
    for row in (4, 2):
        alone = Checked(arrival.frames[[row]], arrival.error[[row]], arrival.spent[[row]])
        again = decoder.decode(receiver, alone, np.array([9], np.uint64))
        assert np.array_equal(again.x[0], shown[row])


def test_looking_first_gives_better_pictures_at_the_same_bits(receiver: Receiver, x: np.ndarray) -> None:
    x = x[:16]
    one, four = (crossed(f"shared-seed:seeds={count},steps=2,first=1", receiver, x) for count in (1, 4))
    assert "promised" not in one[1].told and (one[1].told["sender_calls"] == 0).all()
    assert (one[1].told["seeds_tried"] == 0).all() and (four[1].told["seeds_tried"] == 4).all()
    assert (four[1].told["sender_calls"] == 4 * four[2].calls).all() and (four[2].calls == 4).all()
    assert (four[1].spent == one[1].spent + 2).all(), "the seed's number"
    own = look(receiver, x)
    first = quality.miou(look(receiver, one[2].x), own, 6)
    assert four[1].told["promised"].mean() > first.mean() + 0.02
    assert (four[1].told["promised"] >= first).all(), "the first seed was among those tried"
    maps = [each[0].drafts(receiver, each[1].frames) for each in (one, four)]
    assert np.array_equal(maps[0].labels, maps[1].labels) and np.array_equal(maps[0].labels, own)
    assert len(np.unique(maps[1].seed)) == 4 and (maps[0].seed == 0).all()
    other = crossed("shared-seed:seeds=1,steps=2,first=1,bank=1", receiver, x)[2]
    assert not np.array_equal(other.x, one[2].x), "another bank, other pictures"


def test_without_a_check_the_sender_draws_nothing(receiver: Receiver, x: np.ndarray) -> None:
    before = receiver.core.statistics()["models"][PAINTER]["rows"]
    decoder = DECODERS.parse("shared-seed:seeds=1")
    decoder.send(receiver, SymbolChannel("awgn:snr_db=10", 1), x[:3], 256, 0, 10.0)
    assert receiver.core.statistics()["models"][PAINTER]["rows"] == before


def test_a_sender_raises_until_it_is_content(receiver: Receiver, x: np.ndarray) -> None:
    spec = "shared-seed:seeds=2,steps=2,first=0.45"
    plain, content, never, maps = (
        crossed(spec + more, receiver, x[:4])[1]
        for more in ("", ",threshold=0", ",threshold=1", ",threshold=1,fallback=none")
    )
    assert ladder(ROOM, 0.2) == [177, 354, 708, ROOM] and ladder(ROOM, 1.0) == [ROOM]
    assert ladder(0, 0.5) == [0] and ladder(3, 0.1) == [0, 1, 2, 3]
    for each in (plain, content):
        assert (each.told["raises"] == 0).all() and (each.told["fell_back"] == 0).all() and (each.spent <= 397).all()
    layout = DECODERS.parse(spec + ",threshold=1").layout
    fell = seeded.is_plain(layout, never.frames)
    assert np.array_equal(fell, never.told["fell_back"] > 0)
    assert (never.told["raises"] >= 1).all() and maps.told["raises"].any()
    assert (maps.told["fell_back"] == 0).all() and (never.spent <= ROOM).all()
    assert (maps.told["promised"] >= plain.told["promised"]).all(), "the best of all tries is sent"
    assert (never.told["promised"] >= content.told["promised"]).all()
    assert maps.told["promised"].mean() > plain.told["promised"].mean()
    # By pixels, a code of the picture itself is far better than a drawing; and the receiver is told so.
    spec = "shared-seed:seeds=1,steps=2,criterion=pixels,threshold=22"
    decoder, arrival, decoded = crossed(spec, receiver, x[:8])
    back = arrival.told["fell_back"] > 0
    assert back.any() and (decoded.calls[back] == 0).all() and (decoded.calls[~back] == 4).all()
    error = np.mean((decoded.x - x[:8]) ** 2, axis=(1, 2, 3))
    assert -10.0 * np.log10(0.25 * error[back]).mean() > 22.0


def test_what_does_not_fit_is_raised_or_lost(receiver: Receiver, x: np.ndarray) -> None:
    _, arrival, decoded = crossed("shared-seed:seeds=1,steps=2,first=0.05", receiver, x[:2], count=64)
    assert (arrival.told["raises"] > 0).all() and (decoded.facts["outage"] == 0.0).all(), "eleven bits are too few"
    for link in ("awgn:snr_db=-9", "awgn:snr_db=-30"):
        _, arrival, decoded = crossed("shared-seed:seeds=2,threshold=0.9", receiver, x[:4], link, count=64)
        assert (decoded.facts["outage"] == 1.0).all() and (arrival.spent == 0).all()
        assert np.isnan(arrival.told["promised"]).all() and np.ptp(decoded.x, axis=(0, 2, 3)).max() == 0.0


def test_only_what_is_delivered_counts(receiver: Receiver, x: np.ndarray) -> None:
    decoder, arrival, decoded = crossed("shared-seed:seeds=2,steps=2,threshold=0.5", receiver, x[:6])
    keys = keyed.hash_words(3, np.arange(6))
    assert set(vars(arrival)) == {"frames", "error", "spent", "told"}
    alone = Checked(arrival.frames.copy(), arrival.error.copy(), np.zeros(6, np.int64), {})
    assert np.array_equal(decoder.decode(receiver, alone, keys).x, decoded.x)
    gone = [
        decoder.decode(receiver, Checked(frames, np.ones(6), arrival.spent), keys)
        for frames in (arrival.frames, arrival.frames[::-1].copy())
    ]
    assert np.array_equal(gone[0].x, gone[1].x) and (gone[0].calls == 0).all()
    kept = decoder.kept(receiver, arrival, gone[0])
    assert np.isnan(kept["code_kept"]).all() and np.isnan(kept["code_same"]).all()


@pytest.mark.parametrize("code", ["capacity", "ldpc"])
def test_blocks_are_lost_as_those_of_separation(code: channel_code.Code) -> None:
    options: dict[str, Any] = {"scene": 600, "images": 8, "link": "rayleigh:snr_db=10", "cbr": "1/24"}
    drawn, coded = (
        agentsc.transmit(decoder=spec, **options)
        for spec in (f"shared-seed:seeds=1,steps=2,first=1,code={code}", f"separation:code={code}")
    )
    assert np.array_equal(drawn.rows["outage"], coded.rows["outage"])
    lost = drawn.rows["outage"] > 0
    assert lost.any() and not lost.all() and np.isnan(drawn.rows["code_kept"][lost]).all()
    assert np.array_equal(drawn.received[lost], coded.received[lost])


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("shared-seed:threshold=2", "mIoU"), ("shared-seed:seeds=0", "seeds"), ("shared-seed:first=0", "first"),
        ("shared-seed:criterion=beauty", "criterion"), ("separation:source=webp,idempotent=2", "ntc has it"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(spec: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        DECODERS.parse(spec)
