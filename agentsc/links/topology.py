"""Who can reach whom as a graph: fixed graphs, and what a graph is worth to a fleet."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.errors import ConfigError

if TYPE_CHECKING:
    import networkx as nx

KINDS = ("ring", "line", "star", "complete", "grid", "tree", "erdos-renyi", "small-world", "random-regular")
"""Graphs that can be made for any number of agents."""
_READERS = {".graphml": "read_graphml", ".gexf": "read_gexf"}


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
        raise ConfigError(f"link.graph: no {kind} graph over {agents} agents with k={k} ({error})") from None
    return graph


def read(path: Path) -> list[tuple[int, int, str]]:
    """Edges of a file, with where each of them stands: from the suffix a CSV, GraphML, GEXF or JSON node-link file.

    A CSV file has the columns sender and receiver.

    Raises:
        ValueError: what is wrong, and where.
    """
    try:
        if path.suffix in _READERS:
            import networkx as nx

            return _edges(path, getattr(nx, _READERS[path.suffix])(path))
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "not a text file"
        raise ValueError(f"path must be a readable file, got {str(path)!r} ({cause})") from None
    except ValueError:
        raise
    except Exception as error:  # parsers of XML raise what they like
        raise ValueError(f"{path} must be a {path.suffix[1:]} file, got one with a mistake ({error})") from None
    if path.suffix == ".json":
        import networkx as nx

        try:
            tree = json.loads(text)
            return _edges(path, nx.node_link_graph(tree, edges="edges" if "edges" in tree else "links"))
        except (ValueError, KeyError, TypeError, nx.NetworkXError) as error:
            if str(path) in str(error):
                raise
            raise ValueError(f"{path} must be a node-link JSON file, got one with a mistake ({error!r})") from None
    lines = list(csv.reader(text.splitlines()))
    header = [cell.strip() for cell in lines[0]] if lines else []
    for column in ("sender", "receiver"):
        if column not in header:
            raise ValueError(f"{path} line 1 must have a column {column}, got {','.join(header) or 'nothing'!r}")
    found = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise ValueError(f"{path} line {number} must have {len(header)} columns, got {len(cells)}")
        row = dict(zip(header, cells, strict=True))
        ends = [_agent(row[column], f"{path} line {number} column {column}") for column in ("sender", "receiver")]
        found.append((ends[0], ends[1], f"{path} line {number}"))
    return found


def _edges(path: Path, graph: Any) -> list[tuple[int, int, str]]:
    where = {node: f"{path} node {node}" for node in graph.nodes}
    ends = {node: _agent(node, place) for node, place in where.items()}
    return [(ends[one], ends[other], f"{path} edge {one} – {other}") for one, other in graph.edges()]


def _agent(name: object, where: str) -> int:
    """An agent's number."""
    text = str(name).strip()
    if not text.isdecimal():
        raise ValueError(f"{where} must be an agent's number, from 0, got {text!r}")
    return int(text)


class Metrics(NamedTuple):
    """What a graph over a fleet is worth.

    connected: 1 if everybody reaches everybody, directly or not. algebraic_connectivity: second smallest
    eigenvalue of the Laplacian. diameter: hops across the largest component. mean_degree: neighbours of an agent.
    """

    connected: float
    algebraic_connectivity: float
    diameter: float
    mean_degree: float


MOST_AGENTS = 256
"""Up to so many agents, graphs are measured; the eigenvalue of a larger one takes longer than its world."""


class OverTime:
    """Graph metrics of every lane, averaged over the moments at which they were taken.

    Args:
        lanes: L.
    """

    def __init__(self, lanes: int) -> None:
        self._sum, self._count = np.zeros((lanes, len(Metrics._fields))), np.zeros(lanes)

    def take(self, graphs: NDArray[np.bool_], active: NDArray[np.bool_]) -> None:
        """Measure graphs [L, A, A] of the lanes that still run."""
        for lane in np.flatnonzero(active):
            self._sum[lane] += metrics(graphs[lane])
            self._count[lane] += 1

    @property
    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Name → [L], NaN where nothing was taken."""
        mean = self._sum / np.where(self._count > 0, self._count, np.nan)[:, None]
        return {f"graph_{name}": mean[:, i] for i, name in enumerate(Metrics._fields)}


def metrics(adjacency: NDArray[np.bool_]) -> Metrics:
    """Of an undirected graph [A, A]; a pair is an edge if both hear each other.

    Reference: M. Fiedler, Algebraic connectivity of graphs, Czechoslovak Mathematical Journal 23 (1973).
    """
    import networkx as nx

    mutual = adjacency & adjacency.T
    agents = len(mutual)
    degree = mutual.sum(1)
    if agents < 2:
        return Metrics(1.0, 0.0, 0.0, 0.0)
    laplacian = np.diag(degree.astype(np.float64)) - mutual
    second = float(max(np.linalg.eigvalsh(laplacian)[1], 0.0))
    graph = nx.from_numpy_array(mutual)
    largest = max(nx.connected_components(graph), key=len)
    across = nx.diameter(graph.subgraph(largest)) if len(largest) > 1 else 0
    whole = len(largest) == agents
    return Metrics(float(whole), second if whole else 0.0, float(across), float(degree.mean()))
