"""What a graph is worth to a fleet: components, algebraic connectivity, diameter, degree; pure functions.

A graph is a symmetric bool matrix [..., A, A] without self-loops.

Reference: M. Fiedler, Algebraic connectivity of graphs, Czechoslovak Mathematical Journal 23 (1973).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Graphs = NDArray[np.bool_]
Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]

MOST_AGENTS = 256
"""Up to so many agents, graphs are measured; the eigenvalue of a larger one takes longer than its world."""


class Metrics(NamedTuple):
    """What graphs [..., A, A] are worth: float64 [...] each.

    connected: 1 if everybody reaches everybody, over others or not. algebraic_connectivity: λ₂, the second smallest
    eigenvalue of the Laplacian; 0 exactly if it is not connected. diameter: hops across the largest component.
    mean_degree: neighbours of an agent.
    """

    connected: Doubles
    algebraic_connectivity: Doubles
    diameter: Doubles
    mean_degree: Doubles


def mutual(reach: Graphs) -> Graphs:
    """The graph of those who hear each other, from who hears whom [..., A, A]: one direction alone is no edge."""
    graph = reach & np.swapaxes(reach, -1, -2)
    agents = np.arange(reach.shape[-1])
    graph[..., agents, agents] = False
    return graph


def distances(graph: Graphs) -> Doubles:
    """Hops between any two agents [A, A]: float64 [A, A], inf where there is no path."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import shortest_path

    return np.asarray(shortest_path(csr_array(graph), method="D", unweighted=True))


def components(graph: Graphs) -> Counts:
    """The component of each agent of a graph [A, A]: int64 [A], numbered from 0."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    return np.asarray(connected_components(csr_array(graph), directed=False)[1], np.int64)


def diameter(graph: Graphs) -> int:
    """Hops across the largest component of a graph [A, A]; of equally large ones, the wider."""
    label = components(graph)
    size = np.bincount(label)
    across = [0]
    for largest in np.flatnonzero(size == size.max()).tolist():
        if size[largest] > 1:
            members = np.flatnonzero(label == largest)
            across.append(int(distances(graph[np.ix_(members, members)]).max()))
    return max(across)


def laplacian(graph: Graphs) -> Doubles:
    """Degrees on the diagonal, −1 for every edge: float64 [..., A, A]."""
    found = -graph.astype(np.float64)
    agents = np.arange(graph.shape[-1])
    found[..., agents, agents] = graph.sum(-1)
    return found


def algebraic_connectivity(graph: Graphs) -> Doubles:
    """λ₂ of graphs [..., A, A]: float64 [...], at least 0; 0 for a single agent. A rounding error off 0 if in parts."""
    if graph.shape[-1] < 2:
        return np.zeros(graph.shape[:-2])
    return np.maximum(np.linalg.eigvalsh(laplacian(graph))[..., 1], 0.0)


def metrics(reach: Graphs) -> Metrics:
    """Of who hears whom, [L, A, A], as the graphs of those who hear each other."""
    graphs = mutual(reach)
    connected = np.array([components(graph).max(initial=0) == 0 for graph in graphs], bool)
    return Metrics(
        connected.astype(np.float64),
        np.where(connected, algebraic_connectivity(graphs), 0.0),
        np.array([diameter(graph) for graph in graphs], np.float64),
        graphs.sum(-1).mean(-1),
    )


class OverTime:
    """Graph metrics of every lane, averaged over the moments at which they were taken.

    Args:
        lanes: L.
    """

    def __init__(self, lanes: int) -> None:
        self._sum, self._count = np.zeros((lanes, len(Metrics._fields))), np.zeros(lanes)

    def take(self, reach: Graphs, active: NDArray[np.bool_]) -> None:
        """Measure who hears whom [L, A, A] in the lanes [L] that still run."""
        self._sum[active] += np.stack(metrics(reach[active]), axis=1)
        self._count += active

    @property
    def columns(self) -> dict[str, Doubles]:
        """Name → [L], NaN where nothing was taken."""
        mean = self._sum / np.where(self._count > 0, self._count, np.nan)[:, None]
        return {f"graph_{name}": mean[:, i] for i, name in enumerate(Metrics._fields)}
