"""A complete search for everybody's way on a coarse graph, for when planning one after the other fails.

The search runs over *configurations*: who is at which place. From a configuration a *round* leads to the next: one
agent after the other, longest on its way first, goes to its best place, and whoever is in the way is pushed out of it
before (priority inheritance with backtracking). A round is a sequence of single moves with everybody else at rest,
because that is what a course can order: agents that follow each other do, and a ring that turns does not.

Rounds are made lazily, as in LaCAM: a configuration first tries a free round, and only when the search comes back to
it, rounds in which one agent is told where to go, and then those in which all others stay. Depth first, and a known
configuration that is met again comes to the top. The last kind reaches all that single moves can reach, so the search
is complete: it finds a way on the graph if there is one, or has seen all configurations and says so, if it may make
enough rounds. After the first way it goes on for some rounds; links to known configurations keep all ways shortest,
as in LaCAM*.

Single moves lose nothing: whatever a course allows can also be made one step at a time, in the order of the steps.

All choices are keyed, all loops bounded by counts.

References: K. Okumura, "LaCAM: search-based algorithm for quick multi-agent pathfinding", AAAI 2023, and "Improving
LaCAM for scalable eventually optimal multi-agent pathfinding", IJCAI 2023. Theirs constrains agents one after the
other in a tree of exponential width; constraining one at a time, and at last all others to stay, is enough here.
K. Okumura et al., "Priority inheritance with backtracking for iterative multi-agent path finding", Artificial
Intelligence 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import perm
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agentsc.protocol.joint.graph import LENGTH_UNITS, UNREACHED, Graph, Numbers, apart
from agentsc.protocol.joint.moves import Moves
from envs import keyed

Verdict = Literal["found", "none", "unknown"]
VERDICTS: tuple[Verdict, ...] = ("found", "none", "unknown")
ROUNDS = 5_000_000
"""Rounds made at most, times agents: a few seconds."""
POLISH = 200_000
"""The same after the first way."""
SHARES = (16, 16, 16, 16, 4, 2)
"""A run that is unlucky early on seldom recovers: several are made, of these parts of all rounds."""


@dataclass(frozen=True)
class Answer:
    """What a search came to.

    Attributes:
        verdict: ``found``; ``none``: there is no way on this graph; ``unknown``: it ran out of rounds.
        moves: the way, if one was found. rounds: made in all. first: of the last run, until a way was found.
    """

    verdict: Verdict
    moves: Moves | None
    rounds: int = 0
    first: int = 0


def search(
    graph: Graph, start: Numbers, goal: Numbers, key: tuple[int, ...], rounds: int = ROUNDS, polish: int = POLISH
) -> Answer:
    """Single moves that lead everybody from start to goal.

    Args:
        start, goal: int32 [agent], places. key: words that all choices are keyed by.
        rounds, polish: rounds times agents, at most, in all and after the first way.
    """
    agents = len(start)
    if min(apart(graph.place, start), apart(graph.place, goal)) < graph.distance:
        return Answer("none", None)
    far = graph.lengths_to(goal)
    if (far[np.arange(agents), start] >= UNREACHED).any():
        return Answer("none", None)
    few = perm(len(graph.place), agents) <= rounds // agents // 2
    made = 0
    for number, share in enumerate((1,) if few else SHARES):
        luck = np.uint64(keyed.hash_words(*key, keyed.stream_id("complete"), number))
        answer = _search(graph, start, goal, far, luck, max(rounds // share // agents, 1), polish // agents, few)
        made += answer.rounds
        if answer.verdict != "unknown":
            break
    return replace(answer, rounds=made)


def _search(
    graph: Graph, start: Numbers, goal: Numbers, far: Numbers, luck: np.uint64, budget: int, polish: int, few: bool
) -> Answer:
    """One run of at most ``budget`` rounds.

    Args:
        far: int32 [agent, place], length to go. luck: what choices are keyed by. polish: rounds after the first way.
        few: whether all configurations can be seen, so that no round has to be a lucky one.
    """
    from agentsc.protocol.joint import _kernels_moves

    agents = len(start)
    from_each = agents * (2 * int(np.diff(graph.first).max(initial=0)) + 1) + 1
    budget = min(budget, perm(len(graph.place), agents) * from_each)
    config, link = np.empty((budget + 1, agents), np.int32), np.empty((budget, 3), np.int32)
    parent, rank = np.empty(budget + 1, np.int32), np.empty((budget, agents), np.uint16)
    outcome = np.zeros(4, np.int64)
    _kernels_moves.search(
        graph.first, graph.to, graph.by, graph.first_near, graph.near, graph.length, far, start, goal, LENGTH_UNITS,
        luck, budget, polish, few, config, link, parent, rank, outcome,
    )  # fmt: skip
    verdict, made, last, first = outcome.tolist()
    if last < 0:
        return Answer(VERDICTS[verdict], None, made)
    way: list[int] = []
    while parent[last] >= 0:
        way.append(int(parent[last]))
        last = int(link[way[-1], 0])
    way.reverse()
    return Answer("found", _moves(graph, start, config[link[way, 1]], rank[way]), made, first)


def _moves(graph: Graph, start: Numbers, then: Numbers, rank: NDArray[np.uint16]) -> Moves:
    """Moves of some rounds, from configurations after each [round, agent] and the rank of each move, 0 for none."""
    before = np.concatenate([start[None], then])[:-1]
    turn, agent = np.nonzero(rank)
    order = np.lexsort((rank[turn, agent], turn))
    turn, agent = turn[order], agent[order]
    origin, to = before[turn, agent].astype(np.int64), then[turn, agent].astype(np.int64)
    edge = np.array(
        [graph.by[graph.first[a] + np.searchsorted(graph.to[graph.first[a] : graph.first[a + 1]], b)]
         for a, b in zip(origin.tolist(), to.tolist(), strict=True)], np.int64,
    )  # fmt: skip
    return Moves(graph, start, agent.astype(np.int64), edge, to)
