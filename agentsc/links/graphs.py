"""Fixed graphs over a fleet: made by networkx, or read from a file. Nodes are agents' numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.errors import ConfigError

if TYPE_CHECKING:
    import networkx as nx

KINDS = ("ring", "line", "star", "complete", "grid", "tree", "erdos-renyi", "small-world", "random-regular")
"""Graphs that can be made for any number of agents."""
SUFFIXES = (".csv", ".graphml", ".gexf", ".json")
"""Of files that can be read."""
_TABLES = {".graphml": "read_graphml", ".gexf": "read_gexf"}


class Edges(NamedTuple):
    """A graph. ends: int64 [E, 2]. directed: they lead from the first to the second only.

    named: every agent that a file names, and where it does.
    """

    ends: NDArray[np.int64]
    directed: bool = False
    named: Sequence[tuple[int, str]] = ()


class Table(NamedTuple):
    """Receivers of every node, one behind the other (CSR): those of node i are receiver[begin[i] : begin[i + 1]].

    begin: int64 [N + 1]. receiver: int32 [M], ascending for every node.
    """

    begin: NDArray[np.int64]
    receiver: NDArray[np.int32]


def table(edges: Edges, agents: int) -> Table:
    """Who receives what each agent sends. One node is added behind them, of which everybody receives.

    Raises:
        ConfigError: a file names an agent that is not there.
    """
    for agent, where in edges.named:
        if agent >= agents:
            raise ConfigError(
                f"link.graph: {where} must be one of the {agents} agents, 0 to {agents - 1}, got {agent} "
                "(change the file or the number of agents)"
            )
    one, other = edges.ends.T
    if not edges.directed:
        one, other = np.concatenate([one, other]), np.concatenate([other, one])
    apart = one != other
    place = np.unique(one[apart] * agents + other[apart])  # ascending, and every edge once
    count = np.bincount(place // agents, minlength=agents)
    begin = np.concatenate([[0], np.cumsum(count), [len(place) + agents]])
    receiver = np.concatenate([place % agents, np.arange(agents)])
    return Table(begin, receiver.astype(np.int32))


def generated(kind: str, agents: int, k: int, p: float, seed: int) -> nx.Graph:
    """A graph of one of the `KINDS` over agents 0 … agents − 1.

    Args:
        k: neighbours, of small-world and random-regular; children, of tree. p: probability of an edge
            (erdos-renyi), or of rewiring one (small-world). seed: of the random ones.

    Raises:
        ConfigError: there is no such graph over so many agents.
    """
    import networkx as nx

    if kind == "grid":
        side = int(np.ceil(np.sqrt(agents)))
        lattice = nx.grid_2d_graph(-(-agents // side), side)
        return nx.convert_node_labels_to_integers(lattice, ordering="sorted").subgraph(range(agents))
    makers: dict[str, Any] = {
        "ring": lambda: nx.cycle_graph(agents) if agents > 2 else nx.path_graph(agents),
        "line": lambda: nx.path_graph(agents),
        "star": lambda: nx.star_graph(agents - 1),
        "complete": lambda: nx.complete_graph(agents),
        "tree": lambda: nx.full_rary_tree(k, agents),
        "erdos-renyi": lambda: nx.gnp_random_graph(agents, p, seed=seed),
        "small-world": lambda: nx.watts_strogatz_graph(agents, k, p, seed=seed),
        "random-regular": lambda: nx.random_regular_graph(k, agents, seed=seed),
    }
    try:
        graph: nx.Graph = makers[kind]()
    except nx.NetworkXError as error:
        raise ConfigError(f"link.graph: there is no {kind} graph over {agents} agents with k={k} ({error})") from None
    return graph


def edges_of(graph: nx.Graph) -> Edges:
    """Of a graph whose nodes are integers."""
    return Edges(np.array(graph.edges, np.int64).reshape(-1, 2), graph.is_directed())


def read(path: Path) -> Edges:
    """From a file, by its suffix: CSV with the columns sender and receiver, GraphML, GEXF, or node-link JSON.

    Raises:
        ValueError: what is wrong, and where.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"path must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, got {str(path)!r}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "not a text file"
        raise ValueError(f"path must be a readable file, got {str(path)!r} ({cause})") from None
    if suffix == ".csv":
        return _from_csv(path, text)
    return _from_json(path, text) if suffix == ".json" else _from_xml(path, _TABLES[suffix])


def _from_csv(path: Path, text: str) -> Edges:
    lines = csv.reader(text.splitlines())
    header = [cell.strip() for cell in next(lines, [])]
    for column in ("sender", "receiver"):
        if column not in header:
            raise ValueError(f"{path} line 1 must have a column {column}, got {','.join(header) or 'nothing'!r}")
    named: list[tuple[int, str]] = []
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        line = f"{path} line {lines.line_num}"
        if len(cells) != len(header):
            raise ValueError(f"{line} must have {len(header)} columns, got {len(cells)}")
        for column in ("sender", "receiver"):
            where = f"{line} column {column}"
            named.append((_agent(cells[header.index(column)], where), where))
    return Edges(np.array([agent for agent, _ in named], np.int64).reshape(-1, 2), False, named)


def _from_json(path: Path, text: str) -> Edges:
    try:
        tree = json.loads(text)
        nodes = [node["id"] for node in tree["nodes"]]
        edges = tree["edges"] if "edges" in tree else tree["links"]
        ends = [(edge["source"], edge["target"]) for edge in edges]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} line {error.lineno} must be JSON, got a mistake ({error.msg})") from None
    except KeyError as error:
        raise ValueError(f"{path} must be node-link JSON, got one without {error} (nodes, edges or links)") from None
    except TypeError:
        raise ValueError(f"{path} must be node-link JSON, got other JSON (nodes, edges or links)") from None
    return _of_nodes(path, nodes, ends, bool(tree.get("directed", False)))


def _from_xml(path: Path, reader: str) -> Edges:
    import networkx as nx

    try:
        graph = getattr(nx, reader)(path)
    except Exception as error:  # parsers of XML raise what they like
        raise ValueError(f"{path} must be a {path.suffix[1:]} file, got one with a mistake ({error})") from None
    return _of_nodes(path, list(graph.nodes), list(graph.edges()), graph.is_directed())


def _of_nodes(path: Path, nodes: Sequence[Any], ends: Sequence[tuple[Any, Any]], directed: bool) -> Edges:
    """From names of nodes."""
    where = {str(node): f"{path} node {node}" for node in nodes}
    for one, other in ends:
        for end in (one, other):
            where.setdefault(str(end), f"{path} edge {one} – {other}")
    number = {name: _agent(name, place) for name, place in where.items()}
    pairs = [(number[str(one)], number[str(other)]) for one, other in ends]
    named = [(number[name], place) for name, place in where.items()]
    return Edges(np.array(pairs, np.int64).reshape(-1, 2), directed, named)


def _agent(name: str, where: str) -> int:
    """An agent's number."""
    text = name.strip()
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{where} must be an agent's number, from 0, got {text!r}")
    return int(text)
