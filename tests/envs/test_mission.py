"""Missions in words: the graph they make, its tokens, and the worlds that come of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentsc
from envs import scene_graph
from envs.errors import ConfigError
from envs.events import GOAL
from envs.scenarios import SCENARIOS
from envs.scenarios.mission import PLACES, STALLS

BOUNDS = (-2.0, 0.0, 6.0, 4.0)


def edges(graph: Any) -> list[tuple[int, int, str, int]]:
    return sorted((a, b, edge["verb"], edge["from_s"]) for a, b, edge in graph.edges(data=True))


@st.composite
def graphs(draw: Any) -> Any:
    graph = scene_graph.empty()
    count = draw(st.integers(0, 12))
    for _ in range(count):
        place = draw(st.floats(-2, 6)), draw(st.floats(0, 4))
        scene_graph.add_node(graph, draw(st.sampled_from(scene_graph.KINDS)), place)
    for _ in range(draw(st.integers(0, 8)) if count else 0):
        ends = draw(st.integers(0, count - 1)), draw(st.integers(0, count - 1))
        scene_graph.add_edge(
            graph, ends[0], draw(st.sampled_from(scene_graph.VERBS)), ends[1], draw(st.integers(0, 63))
        )
    return graph


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_a_graph_comes_back_from_its_tokens(graph: Any) -> None:
    data, bits = scene_graph.encode(graph, BOUNDS)
    assert len(data) == -(-bits // 8)
    back = scene_graph.decode(data, bits, BOUNDS)
    assert edges(back) == edges(graph)
    assert [kind for _, kind in back.nodes(data="kind")] == [kind for _, kind in graph.nodes(data="kind")]
    cell = np.array([8.0, 4.0]) / 2**scene_graph.PLACE_BITS
    for node in graph:
        moved = np.abs(np.subtract(back.nodes[node]["at"], graph.nodes[node]["at"]))
        assert (moved <= cell / 2 + 1e-9).all()
    assert scene_graph.encode(back, BOUNDS) == (data, bits)  # saying it again says the same
    short = (int.from_bytes(data, "big") >> 1).to_bytes(len(data), "big")
    with pytest.raises(ConfigError, match="whole"):
        scene_graph.decode(short, bits - 1, BOUNDS)


def test_words_become_acts() -> None:
    starts = [[1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]]
    places = {"here": (1.0, 0.0), "there": (-1.0, 0.0)}
    text = "agents 0,2 go to there; from 7 s odd go to HERE\nall circle Right; agent 0 cross"
    graph = scene_graph.parse(text, starts, places, (0.0, 0.0), "mission")
    here, there, block = 3, 4, 5
    assert scene_graph.of_kind(graph, "place") == [here, there] and scene_graph.of_kind(graph, "block") == [block]
    assert edges(graph) == sorted(
        [(0, there, "heads for", 0), (2, there, "heads for", 0), (1, here, "heads for", 7), (0, there, "heads for", 0)]
        + [(agent, block, "circles right", 0) for agent in range(3)]
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("fly", "must be sentences like"),
        ("agents 3-1 cross", "agents like 0-3,7"),
        ("agents 0-99 cross", "below 10, got 99"),
        ("all go to moon", "place 'moon' is not known"),
        ("odd circle left", "all circle the same way"),
        ("all circle left; all circle right", "all circle the same way"),
        ("from 3 s all circle left", "all circle the same way"),
        ("from 64 s all cross", "within 63 s"),
        ("all go to north", "at most 9 agents to one place"),
    ],
)
def test_what_cannot_be_done_is_refused(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        SCENARIOS.create("mission", mission=text).build(0, [0])


def test_a_mission_sends_agents_where_it_says() -> None:
    scenario = SCENARIOS.create("mission", agents=6, mission="agents 0-2 go to east; from 5 s agent 1 go to west")
    world = scenario.build(4, [0, 3])
    reach = np.abs(STALLS).max() * 1.01
    assert (np.abs(world.goals[:, :3] - PLACES["east"]) <= reach).all()
    assert np.array_equal(world.goals[:, 3:], world.starts[:, 3:])  # told nothing: they stay
    assert world.flow is None and world.events is not None
    events = world.events
    assert (events.kind == GOAL).all() and events.subject.tolist() == [1, 1] and (events.tick == 64).all()
    assert (np.abs(events.goal - PLACES["west"]) <= reach).all()
    gap = np.linalg.norm(world.goals[:, :, None] - world.goals[:, None], axis=-1) + 9 * np.eye(6)
    assert gap.min() > world.separation


@pytest.mark.parametrize(("way", "turn"), [("left", 1), ("right", -1)])
def test_which_way_around_is_a_motion_pattern(way: str, turn: int) -> None:
    world = SCENARIOS.create("mission", mission=f"all cross; all circle {way}").build(0, [0])
    assert world.flow is not None and world.adherence is not None
    np.testing.assert_allclose(world.flow(np.array([[0.5, 0.0]], np.float32)), [[0, turn]], atol=1e-6)
    angle = np.linspace(0, 2, 40)[:, None, None] * np.array([[1.0, -1.0]])[..., None]
    path = np.concatenate([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)
    assert world.adherence(path).tolist() == ([1, 0] if turn > 0 else [0, 1])


def test_orders_change_what_a_fleet_does() -> None:
    def shares(mission: str) -> dict[str, float]:
        run = agentsc.run(scenario={"name": "mission", "agents": 5, "mission": mission}, episodes=2, protocol="intent")
        return {name: value["mean"] for name, value in run.metrics.items()}

    left = shares("all cross; all circle left")
    assert left["success_rate"] == 1 and left["adherence"] == 1
    assert shares("all cross")["adherence"] < 1
