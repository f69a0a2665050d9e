"""Scene graphs as prompts: what a sender puts in, what a receiver draws of it, and what it does to the picture."""

from __future__ import annotations

import numpy as np
import pytest

from agentsc.semantic import DECODERS
from agentsc.semantic.channel import SymbolChannel
from agentsc.semantic.decoders.prompted import drawn_into, prompt
from agentsc.semantic.receiver import Receiver
from envs import camera, scene_graph
from envs.errors import ConfigError
from envs.scenery import AGENT, CLASSES, GOAL, TRAIL
from policies.scene.paint import PAINTER
from policies.scene.shipped import scene_core

BOUNDS = (0.0, 0.0, 32.0, 32.0)


def painted() -> np.ndarray:
    """An agent with a trail to a goal, and another goal, uint8 [32, 32]."""
    labels = np.zeros((32, 32), np.uint8)
    labels[10, 6:24] = TRAIL
    labels[9:12, 4:7], labels[9:12, 23:26], labels[25:28, 25:28] = AGENT, GOAL, GOAL
    return labels


def test_a_prompt_says_what_is_there_and_who_heads_where() -> None:
    graph = scene_graph.decode(*prompt(painted(), BOUNDS, 200), BOUNDS)
    (agent,), goals = scene_graph.of_kind(graph, "agent"), scene_graph.of_kind(graph, "goal")
    assert len(goals) == 2 and len(graph) == 3
    np.testing.assert_allclose(graph.nodes[agent]["at"], [5.5, 10.5], atol=0.3)
    ((start, end, verb),) = graph.edges(data="verb")
    assert (start, verb) == (agent, "heads for")
    np.testing.assert_allclose(graph.nodes[end]["at"], [24.5, 10.5], atol=0.3)
    guide = np.full((len(CLASSES), 32, 32), 1 / len(CLASSES), np.float32)
    drawn_into(guide, graph, 1.6)
    drawn = guide.argmax(0)
    assert np.isin(drawn[9:12, 4:7], AGENT).mean() > 0.8 and np.isin(drawn[25:28, 25:28], GOAL).mean() > 0.8
    assert (drawn[10, 8:22] == TRAIL).all() and np.allclose(guide[:, 20, 10], 1 / len(CLASSES))
    np.testing.assert_allclose(guide.sum(0), 1.0, atol=1e-5)


def test_a_prompt_keeps_to_its_bits() -> None:
    whole = prompt(painted(), BOUNDS, 200)[1]
    for bits in range(0, whole):
        data, used = prompt(painted(), BOUNDS, bits)
        assert used <= bits
        if used:
            assert len(scene_graph.decode(data, used, BOUNDS)) < 3


def test_pictures_follow_their_prompts_where_these_arrive() -> None:
    core, codec = scene_core(also=(PAINTER,))
    receiver = Receiver(core, codec)
    scenes = camera.bank(2 * 10**9 + 50, 6, 32)
    x = (2.0 * scenes.rgb - 1.0).astype(np.float32)
    keys = np.arange(6, dtype=np.uint64)
    decoder = DECODERS.parse("prompted:steps=2")

    def made(spec: str, link: str) -> tuple[np.ndarray, list[int]]:
        channel = SymbolChannel(link, 3)
        told = DECODERS.parse(spec)
        heard, arrival = told.send(receiver, channel, x, 256, 0, channel.snr_db)
        assert heard.uses.data == 256 and arrival.arrival.received.shape[1] == 192
        return told.decode(receiver, arrival, keys).x, [bits for _, bits in arrival.prompts]

    with_, bits = made("prompted:steps=2", "awgn:snr_db=10")
    without, _ = made("prompted:steps=2,prompts=false", "awgn:snr_db=10")
    assert max(bits) > 16 and max(bits) <= 64 * np.log2(11.0)
    told = np.array(bits) > 16
    assert (np.abs(with_ - without).max((1, 2, 3)) > 0.02)[told].any()
    assert np.array_equal(with_[~told], without[~told])
    # Through deep fades the bits planned for the mean do not come; what does not come changes nothing.
    faded, bits = made("prompted:steps=2", "rayleigh:snr_db=10")
    plain, _ = made("prompted:steps=2,prompts=false", "rayleigh:snr_db=10")
    lost = np.array(bits) == 0
    assert lost.any() and not lost.all() and np.array_equal(faded[lost], plain[lost])
    with pytest.raises(ConfigError, match="one plane is for the prompt"):
        decoder.send(receiver, SymbolChannel("awgn:snr_db=10", 3), x, 64, 0, 10.0)
