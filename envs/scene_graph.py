"""Who acts on what: scene graphs, missions in words as scene graphs, and both as a few bits.

A graph has nodes with a kind and a place (an agent, a goal, a named place, a block) and edges with a verb (agent 3
heads for the east, and from when on). It crosses the air as tokens: `encode` and `decode`. A mission is text; `parse`
makes a graph of it. What a receiver makes of a graph is its own affair: goals and a motion pattern in
`envs.scenarios.mission`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    import networkx as nx

KINDS = ("agent", "goal", "place", "block")
VERBS = ("heads for", "circles left", "circles right", "is beside")
PLACE_BITS = 6
"""Of each coordinate of a node, over the bounds of the arena."""
TIME_BITS = 6
"""Seconds after the start from which on an edge holds."""
_KIND_BITS, _VERB_BITS, _COUNT_BITS = 2, 2, 8

Box = Sequence[float]


def empty() -> nx.MultiDiGraph:
    """A graph without nodes."""
    import networkx as nx

    return nx.MultiDiGraph()


def add_node(graph: nx.MultiDiGraph, kind: str, at: Sequence[float]) -> int:
    """Append a node of a kind at a place (x, y), metres; its number."""
    number = graph.number_of_nodes()
    graph.add_node(number, kind=kind, at=(float(at[0]), float(at[1])))
    return number


def add_edge(graph: nx.MultiDiGraph, actor: int, verb: str, thing: int, from_s: int = 0) -> None:
    """Node ``actor`` acts on node ``thing`` from so many seconds after the start on."""
    graph.add_edge(actor, thing, verb=verb, from_s=int(from_s))


def of_kind(graph: nx.MultiDiGraph, kind: str) -> list[int]:
    """Nodes of a kind, in their order."""
    return [node for node, have in graph.nodes(data="kind") if have == kind]


# -- tokens ----------------------------------------------------------------------------------------


def encode(graph: nx.MultiDiGraph, bounds: Box) -> tuple[bytes, int]:
    """A graph in as few bits as its size allows: places on a lattice over ``bounds``, edges by the nodes' numbers.

    Args:
        bounds: (xmin, ymin, xmax, ymax), metres, known to both sides.

    Returns:
        The bytes, and how many of their bits count.

    Raises:
        ConfigError: more than 255 nodes or edges, or a time beyond `TIME_BITS`.
    """
    nodes, edges = list(graph.nodes(data=True)), sorted(_edges(graph))
    most = (1 << _COUNT_BITS) - 1
    if len(nodes) > most or len(edges) > most:
        raise ConfigError(f"a scene graph must have at most {most} nodes and edges, got {len(nodes)} and {len(edges)}")
    width = _index_bits(len(nodes))
    fields = [(len(nodes), _COUNT_BITS), (len(edges), _COUNT_BITS)]
    for _, node in nodes:
        fields.append((KINDS.index(node["kind"]), _KIND_BITS))
        fields += [(step, PLACE_BITS) for step in _lattice(node["at"], bounds)]
    for actor, thing, verb, from_s in edges:
        if not 0 <= from_s < 1 << TIME_BITS:
            raise ConfigError(f"an act must begin within {(1 << TIME_BITS) - 1} s, got {from_s} s")
        fields += [(actor, width), (thing, width), (verb, _VERB_BITS), (from_s, TIME_BITS)]
    text = "".join(f"{value:0{bits}b}" for value, bits in fields if bits)
    return int(text, 2).to_bytes(-(-len(text) // 8), "big") if text else b"", len(text)


def decode(data: bytes, bits: int, bounds: Box) -> nx.MultiDiGraph:
    """The graph that `encode` wrote, its places rounded to the lattice.

    Raises:
        ConfigError: bits that are no graph.
    """
    text = f"{int.from_bytes(data, 'big'):0{bits}b}" if bits else ""
    at = 0

    def take(width: int) -> int:
        nonlocal at
        if at + width > len(text):
            raise ConfigError(f"a scene graph's tokens must be whole, got {len(text)} bits and need {at + width}")
        at += width
        return int(text[at - width : at] or "0", 2)

    graph = empty()
    nodes, edges = take(_COUNT_BITS), take(_COUNT_BITS)
    low, span = np.array(bounds[:2], float), np.array(bounds[2:], float) - bounds[:2]
    for _ in range(nodes):
        kind = KINDS[take(_KIND_BITS)]
        step = np.array([take(PLACE_BITS), take(PLACE_BITS)])
        add_node(graph, kind, (low + span * (step + 0.5) / (1 << PLACE_BITS)).tolist())
    width = _index_bits(nodes)
    for _ in range(edges):
        actor, thing, verb, from_s = take(width), take(width), take(_VERB_BITS), take(TIME_BITS)
        if max(actor, thing) >= nodes:
            raise ConfigError(f"a scene graph's edges must join its {nodes} nodes, got {actor} and {thing}")
        add_edge(graph, actor, VERBS[verb], thing, from_s)
    return graph


def _edges(graph: nx.MultiDiGraph) -> list[tuple[int, int, int, int]]:
    return [(a, b, VERBS.index(edge["verb"]), edge["from_s"]) for a, b, edge in graph.edges(data=True)]


def _index_bits(nodes: int) -> int:
    return max(nodes - 1, 0).bit_length()


def _lattice(at: Sequence[float], bounds: Box) -> list[int]:
    low, span = np.array(bounds[:2], float), np.array(bounds[2:], float) - bounds[:2]
    steps = np.floor((np.array(at) - low) / span * (1 << PLACE_BITS)).astype(int)
    return list(np.clip(steps, 0, (1 << PLACE_BITS) - 1).tolist())


# -- missions in words -----------------------------------------------------------------------------

GRAMMAR = "[from SECONDS s] all|odd|even|agents 0-3,7 go to PLACE|cross|circle left|circle right, joined by ';'"
_SENTENCE = re.compile(
    r"(?:from\s+(?P<when>\d+)\s*s\s+)?(?P<who>all|odd|even|agents?\s+[\d\s,-]+?)\s+"
    r"(?P<what>go\s+to\s+(?P<where>[\w-]+)|cross|circle\s+(?P<way>left|right))",
    re.IGNORECASE,
)


def parse(
    text: str, starts: Sequence[Sequence[float]], places: Mapping[str, Sequence[float]], block: Box, field: str
) -> nx.MultiDiGraph:
    """The graph of a mission: agents, then places, then the block, and who is to do what.

    *Circling left* keeps the block to the left, so it turns counter-clockwise; *crossing* is going to the place
    opposite to where one starts.

    Args:
        text: see `GRAMMAR`. starts: [agent, 2], metres. places: name → (x, y), metres. block: (x, y), what is circled.
        field: what to call the text in messages.

    Raises:
        ConfigError: a sentence that is none, an unknown place, an agent that there is not.
    """
    graph = empty()
    agents = [add_node(graph, "agent", start) for start in starts]
    there = {name: add_node(graph, "place", at) for name, at in places.items()}
    centre = add_node(graph, "block", block)
    spots = np.array(list(places.values()), float)
    for sentence in filter(None, (part.strip() for part in re.split(r"[;\n]", text))):
        match = _SENTENCE.fullmatch(sentence)
        if match is None:
            raise ConfigError(f"{field} must be sentences like {GRAMMAR}, got {sentence!r}")
        from_s = int(match["when"] or 0)
        for agent in _subjects(match["who"].lower(), len(agents), field):
            if match["way"]:
                add_edge(graph, agents[agent], f"circles {match['way'].lower()}", centre, from_s)
                continue
            name = (match["where"] or "").lower()
            if not name:
                opposite = 2 * np.array(block, float) - np.array(starts[agent], float)
                name = list(places)[int(np.argmin(np.linalg.norm(spots - opposite, axis=1)))]
            if name not in there:
                raise unknown_name(f"{field}: place", name, there)
            add_edge(graph, agents[agent], "heads for", there[name], from_s)
    return graph


def _subjects(who: str, agents: int, field: str) -> list[int]:
    if who in ("all", "odd", "even"):
        return [agent for agent in range(agents) if who == "all" or agent % 2 == (who == "odd")]
    found: set[int] = set()
    for part in filter(None, re.split(r"[,\s]+", who.split(maxsplit=1)[1])):
        ends = part.split("-")
        if len(ends) > 2 or not all(end.isdigit() for end in ends) or int(ends[0]) > int(ends[-1]):
            raise ConfigError(f"{field} must name agents like 0-3,7, got {part!r}")
        found |= set(range(int(ends[0]), int(ends[-1]) + 1))
    if max(found) >= agents:
        raise ConfigError(f"{field} must name agents below {agents}, got {max(found)}")
    return sorted(found)
