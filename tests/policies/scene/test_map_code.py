"""The code of class maps: lossless, read from bytes alone, whole numbers that follow the network, short."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from envs import camera, keyed
from envs.errors import ConfigError
from envs.scenery import AGENT, FLOOR, GOAL, TRAIL
from policies.networks.context_net import SCALES, ContextNet
from policies.scene.map_code import MapCode, coarser, finer

HELD_OUT = 1_200_000_000


def code_of(seed: int, size: int = 16) -> MapCode:
    torch.manual_seed(seed)
    network = ContextNet(reach=2, width=12, hidden=8)
    network.rounded()
    return MapCode(network, size)


def random_map(seed: int, classes: int, size: int = 16) -> np.ndarray:
    drawn = keyed.uniform(seed, np.arange(size * size)) ** 2
    return (drawn * classes).astype(np.uint8).reshape(size, size)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 3))
def test_any_map_comes_back_from_its_bytes_alone(seed: int, classes: int, network: int) -> None:
    sender, receiver = code_of(network), code_of(network)
    labels = random_map(seed, classes)
    packet, bits = sender.encode_bits(labels)
    assert np.array_equal(receiver.decode(packet), labels)
    assert 8 * (len(packet) - 1) < bits <= 8 * len(packet), "as many bytes as its bits take"
    for halvings in range(1, SCALES):
        small = coarser(labels, halvings)
        assert np.array_equal(receiver.decode(sender.encode(labels, halvings)), finer(small, 16))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=40))
def test_any_bytes_are_the_packet_of_some_map(packet: bytes) -> None:
    made = code_of(1).decode(packet)
    assert made.shape == (16, 16) and made.max() < 6
    assert np.array_equal(made, code_of(1).decode(packet + b"\0\0")), "zeros follow a packet"


def test_a_cell_costs_what_the_network_thinks_of_it() -> None:
    """The coder's whole numbers are the network's floats, but for scores that adapt."""
    torch.manual_seed(4)
    network = ContextNet(width=24, hidden=16)
    network.rounded()
    code, maps = MapCode(network), camera.bank(7, 12).labels
    thought = torch.as_tensor(maps.astype(np.int64))
    with torch.no_grad():
        nats = torch.nn.functional.cross_entropy(math.log(2.0) * network(thought, 0), thought, reduction="none")
    static = nats.sum((1, 2)).numpy() / math.log(2.0)
    took = np.asarray([code.encode_bits(each)[1] for each in maps])
    assert (took < static).all(), "an untrained network is soon corrected by what was coded"
    # Sixteen cells are too few to adapt to. Classes are turned around, as the end of a code of zeros need not be sent.
    maps = finer(5 - coarser(maps, 3), 32)
    tiny = torch.as_tensor(coarser(maps, 3).astype(np.int64))
    with torch.no_grad():
        nats = torch.nn.functional.cross_entropy(math.log(2.0) * network(tiny, 3), tiny, reduction="none")
    static = nats.sum((1, 2)).numpy() / math.log(2.0)
    took = np.asarray([code.encode_bits(each, 3)[1] for each in maps])
    assert np.abs(took - 2 - static).max() < 8.0


def test_the_shipped_code_is_far_shorter_than_lossless_pictures() -> None:
    code, maps = MapCode.load(), camera.bank(HELD_OUT, 48).labels
    ours = np.mean([len(code.encode(each)) for each in maps])
    assert ours <= 55.0
    sizes = []
    for each in maps:
        palette = Image.new("P", (32, 32))
        palette.putdata(each.ravel().tolist())
        palette.putpalette([40 * k for k in range(6) for _ in range(3)])
        found = []
        for image, options in (
            (palette, {"format": "PNG", "optimize": True, "bits": 4}),
            (Image.fromarray(each).convert("RGB"), {"format": "WEBP", "lossless": True, "quality": 100, "method": 6}),
        ):
            file = io.BytesIO()
            image.save(file, **options)
            found.append(len(file.getvalue()))
        sizes.append(found)
    png, webp = np.mean(sizes, axis=0)
    assert ours < 0.25 * png and ours < 0.4 * webp


def test_merged_cells_take_the_class_that_counts_most() -> None:
    labels = np.full((4, 4), FLOOR, np.uint8)
    labels[0, 0] = AGENT  # one of four: 3 against 3 of the floor, and the first number wins
    labels[0, 2:4] = GOAL  # two of four: 4 against 2
    labels[2, 0:2] = TRAIL  # two of four: 2 against 2
    labels[2:4, 2:4] = [[AGENT, AGENT], [FLOOR, FLOOR]]
    assert coarser(labels, 1).tolist() == [[FLOOR, GOAL], [FLOOR, AGENT]]
    assert np.array_equal(finer(coarser(labels, 2), 4), np.full((4, 4), coarser(labels, 2)[0, 0]))


def test_what_is_no_map_is_refused() -> None:
    code = code_of(0)
    for labels, halvings, word in (
        (np.zeros((8, 8), np.uint8), 0, "labels"), (np.full((16, 16), 6, np.uint8), 0, "labels"),
        (np.zeros((16, 16), np.uint8), SCALES, "halvings"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=word):
            code.encode(labels, halvings)
    with pytest.raises(ConfigError, match="width"):
        ContextNet(width=0)
