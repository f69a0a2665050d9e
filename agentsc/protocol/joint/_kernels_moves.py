"""Compiled loops of `agentsc.protocol.joint.complete`: rounds of pushes, and the search over configurations.

Helpers share three tuples and arrays. ``graph`` is (first, to, by, first_near, near), as in
`agentsc.protocol.joint.graph.Graph`. ``who`` [agent, column] and ``spot`` [place, column] are the state of a round,
``counts`` the number of its moves and how many more agents may be asked, ``wishes`` [agent, k, 2] the price and arc
of where an agent would go.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from envs.compiled import array, helper, kernel, result

_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S58 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(58)
FOUND, EXHAUSTED, OUT_OF_BUDGET = 0, 1, 2
ANY, NOBODY = -1, -1
# Columns of ``who``: its place; whether that is settled for this round; whether it has been asked to go and waits for
# others to clear its way; of that request, the number of wishes, the current one, the next place near its edge to be
# cleared, and the moves made before.
AT, SETTLED, ASKED, NUMBER, CURRENT, NEXT, BEFORE = range(7)
# The other columns have rows for other things: the k-th move's agent and the place it leaves, the k-th who waits.
MOVER, ORIGIN, WAITING = range(7, 10)
GUEST, CLAIMS = 0, 1
"""Columns of ``spot``: who is there, and how many of those that wait need it to be free."""


@helper
def _mix(x: Any) -> Any:
    """The finaliser of SplitMix64, as in `envs.keyed`."""
    x = (x ^ (x >> _S30)) * _B
    x = (x ^ (x >> _S27)) * _C
    return x ^ (x >> _S31)


@helper
def _hash(seed: Any, a: Any, b: Any) -> Any:
    return _mix((_mix((seed ^ np.uint64(a)) * _A + _A) ^ np.uint64(b)) * _A + _A)


@helper
def _ask(
    agent: Any, only: Any, may_stay: Any, graph: Any, who: Any, spot: Any, wishes: Any, far: Any, seed: Any
) -> None:
    """List an agent's wishes: arcs by distance to go, free places first, then by chance; -1 stands for staying."""
    first, to = graph[0], graph[1]
    here = who[agent, AT]
    number = 0
    for arc in range(first[here] - 1, first[here + 1]):
        place = here if arc < first[here] else np.int64(to[arc])
        if (not may_stay and place == here) or (only != ANY and place != only):
            continue
        price = np.int64(far[agent, place]) << 7
        price += np.int64(_hash(seed, agent, place) >> _S58)
        if place != here and spot[place, GUEST] != NOBODY:
            price += 64
        k = number
        while k > 0 and wishes[agent, k - 1, 0] > price:
            wishes[agent, k, 0] = wishes[agent, k - 1, 0]
            wishes[agent, k, 1] = wishes[agent, k - 1, 1]
            k -= 1
        wishes[agent, k, 0] = price
        wishes[agent, k, 1] = -1 if place == here else arc
        number += 1
    who[agent, ASKED], who[agent, NUMBER], who[agent, CURRENT] = 1, number, -1


@helper
def _may_clear(agent: Any, edge: Any, graph: Any, who: Any, spot: Any) -> Any:
    """Whether nobody in the way of an edge is settled in this round, or waits for this agent."""
    for q in range(graph[3][edge], graph[3][edge + 1]):
        j = spot[graph[4][q], GUEST]
        if j != NOBODY and j != agent and (who[j, SETTLED] or who[j, ASKED]):
            return False
    return True


@helper
def _claim(edge: Any, by: Any, graph: Any, spot: Any) -> None:
    """Ask for room along an edge (1), or no longer (-1)."""
    for q in range(graph[3][edge], graph[3][edge + 1]):
        spot[graph[4][q], CLAIMS] += by


@helper
def _go(agent: Any, place: Any, who: Any, spot: Any) -> None:
    spot[who[agent, AT], GUEST] = NOBODY
    spot[place, GUEST] = agent
    who[agent, AT] = place


@helper
def _push(
    told: Any, only: Any, may_stay: Any, graph: Any, who: Any, spot: Any, counts: Any, wishes: Any, far: Any, seed: Any
) -> Any:
    """Settle an agent for this round: at its best place that can be had, others being pushed out of the way first.

    Who is pushed moves first, so a round is a sequence of single moves. A place is not to be had where someone
    settled is in the way, or where an agent that waits for this one to clear its way needs the room.

    Args:
        told: the agent. only: the one place to go to, or `ANY`. may_stay: whether it may be settled where it is.

    Returns:
        Whether it is settled; if not, nothing has changed.
    """
    to, by, first_near, near = graph[1], graph[2], graph[3], graph[4]
    if counts[1] <= 0:
        return False
    who[0, WAITING] = told
    asked, asked_only, asked_stay = told, only, may_stay
    depth = 1
    failed = False  # whoever was asked last has nowhere to go
    while depth > 0:
        if asked != NOBODY:
            counts[1] -= 1
            _ask(asked, asked_only, asked_stay, graph, who, spot, wishes, far, seed)
            asked, asked_only, asked_stay = NOBODY, ANY, False
        agent = who[depth - 1, WAITING]
        k = who[agent, CURRENT]
        if k >= 0:
            edge = by[wishes[agent, k, 1]]
            q = who[agent, NEXT]
            while not failed and q < first_near[edge + 1]:
                j = spot[near[q], GUEST]
                if j != NOBODY and j != agent:
                    if who[j, SETTLED] or counts[1] <= 0:
                        failed = True
                    else:
                        asked = j
                        break
                q += 1
            who[agent, NEXT] = q
            if asked != NOBODY:
                who[depth, WAITING] = asked
                depth += 1
                continue
            _claim(edge, -1, graph, spot)
            if not failed:
                who[counts[0], MOVER], who[counts[0], ORIGIN] = agent, who[agent, AT]
                counts[0] += 1
                _go(agent, np.int64(to[wishes[agent, k, 1]]), who, spot)
                who[agent, SETTLED], who[agent, ASKED] = 1, 0
                depth -= 1
                continue
            while counts[0] > who[agent, BEFORE]:
                counts[0] -= 1
                j = who[counts[0], MOVER]
                _go(j, who[counts[0], ORIGIN], who, spot)
                who[j, SETTLED] = 0
        failed = True
        k += 1
        while k < who[agent, NUMBER]:
            arc = wishes[agent, k, 1]
            if arc < 0:
                who[agent, SETTLED] = 1
                break
            if spot[to[arc], CLAIMS] == 0 and _may_clear(agent, by[arc], graph, who, spot):
                _claim(by[arc], 1, graph, spot)
                who[agent, CURRENT], who[agent, NEXT], who[agent, BEFORE] = k, first_near[by[arc]], counts[0]
                failed = False
                break
            k += 1
        if who[agent, SETTLED] or failed:
            failed = not who[agent, SETTLED]
            who[agent, ASKED] = 0
            depth -= 1
    return who[told, SETTLED] == 1


@helper
def _round(
    turn: Any, place: Any, alone: Any, order: Any, graph: Any, who: Any, spot: Any, counts: Any, wishes: Any, far: Any,
    seed: Any,
) -> Any:  # fmt: skip
    """One round from the configuration in ``who``; False if nobody moves, or the agent on turn cannot do as told.

    Args:
        turn: who is told to go to ``place`` before all others, or `NOBODY`. alone: whether the others stay.
        order: [agent], who is settled first.
    """
    for agent in order:
        who[agent, SETTLED] = 1 if alone else 0
    counts[0], counts[1] = 0, 16 + 8 * len(order)
    for k in range(-1, len(order)):
        agent = turn if k < 0 else order[k]
        if agent == NOBODY or (k >= 0 and who[agent, SETTLED]):
            continue
        if k < 0 and place == who[agent, AT]:
            who[agent, SETTLED] = 1
            continue
        who[agent, SETTLED] = 0
        done = _push(agent, place if k < 0 else ANY, k >= 0, graph, who, spot, counts, wishes, far, seed)
        if k < 0 and not done:
            return False
    return counts[0] > 0


@helper
def _find(table: Any, config: Any, who: Any) -> Any:
    """Slot of a configuration in the table of numbers, or of the gap where it belongs."""
    mask = len(table) - 1
    code = np.uint64(len(who))
    for agent in range(len(who)):
        code = _mix((code ^ np.uint64(who[agent, AT])) * _A + _A)
    slot = np.int64(code & np.uint64(mask))
    while table[slot] >= 0:
        same = True
        for agent in range(len(who)):
            if config[table[slot], agent] != who[agent, AT]:
                same = False
                break
        if same:
            return slot
        slot = (slot + 1) & mask
    return slot


@helper
def _told(number: Any, at: Any, curt: Any, graph: Any, luck: Any) -> Any:
    """What to try as the ``number``-th round from a configuration: (who is told, where to go, others stay, any left).

    First a free round; then each arc (or staying) of each agent, the others free; then the others staying. The last
    ones alone reach all that can be reached.

    Args:
        at: [agent], places. curt: whether to leave out the second kind. luck: which agent comes first.
    """
    first, to = graph[0], graph[1]
    if number == 0:
        return np.int64(NOBODY), np.int64(ANY), False, True
    agents, moves = len(at), np.int64(0)
    for place in at:
        moves += first[place + 1] - first[place]
    number += moves + agents - 1 if curt else -1
    if number >= 2 * moves + agents:
        return np.int64(NOBODY), np.int64(ANY), False, False
    alone = number >= moves + agents
    if alone:
        number -= moves + agents
    agent = np.int64(luck % np.uint64(agents))
    while True:
        place = np.int64(at[agent])
        arcs = np.int64(first[place + 1] - first[place])
        if number < arcs + (0 if alone else 1):
            return agent, place if number == arcs else np.int64(to[first[place] + number]), alone, True
        number -= arcs + (0 if alone else 1)
        agent = (agent + 1) % agents


@helper
def _spread(
    node: Any, cost: Any, parent: Any, link: Any, last_link: Any, earlier: Any, queue: Any, queued: Any
) -> None:
    """A configuration is reached more cheaply than before: so is, maybe, whatever is reached from there."""
    head, tail, waiting = 0, 1, 1
    queue[0], queued[node] = node, True
    while waiting > 0:
        here = np.int64(queue[head])
        head = (head + 1) % len(queue)
        waiting -= 1
        queued[here] = False
        k = last_link[here]
        while k >= 0:
            there = np.int64(link[k, 1])
            if cost[here] + link[k, 2] < cost[there]:
                cost[there], parent[there] = cost[here] + link[k, 2], k
                if not queued[there]:
                    queued[there] = True
                    queue[tail] = there
                    tail = (tail + 1) % len(queue)
                    waiting += 1
            k = earlier[k]


@kernel(
    array("int32", 1), array("int32", 1), array("int32", 1), array("int32", 1), array("int32", 1), array("int32", 1),
    array("int32", 2), array("int32", 1), array("int32", 1), types.int64, types.uint64, types.int64, types.int64,
    types.boolean, result("int32", 2), result("int32", 2), result("int32", 1), result("uint16", 2), result("int64", 1),
)  # fmt: skip
def search(
    first: Any, to: Any, by: Any, first_near: Any, near: Any, length: Any, far: Any, start: Any, goal: Any,
    pause: Any, seed: Any, budget: Any, polish: Any, curt: Any, config: Any, link: Any, parent: Any, rank: Any,
    outcome: Any,
) -> None:  # fmt: skip
    """`agentsc.protocol.joint.complete.search` over the arrays of a graph.

    Args:
        far: [agent, place], length to go. pause: what a round costs who rests away from its goal.
        budget: rounds made at most. polish: rounds made at most after the first solution.
        curt: whether to leave out rounds in which one agent is told where to go and the others are free.
        config: [budget + 1, agent], places. link: [budget, 3], from, to and cost of a round that led somewhere.
        parent: [budget + 1], the link that a configuration is best reached by. rank: [budget, agent], a link's
            moves in their order, from 1; 0 for who stays.
        outcome: [4]: `FOUND`, `EXHAUSTED` or `OUT_OF_BUDGET`; rounds made; number of the goal; rounds until found.
    """
    agents, places, most = len(start), len(first) - 1, np.int64(0)
    graph = (first, to, by, first_near, near)
    for p in range(places):
        most = max(most, np.int64(first[p + 1] - first[p]))
    who, spot = np.zeros((agents, 10), np.int64), np.zeros((places, 2), np.int64)
    counts, wishes = np.zeros(2, np.int64), np.zeros((agents, most + 1, 2), np.int64)
    urgency, order = np.zeros(agents, np.int64), np.zeros(agents, np.int64)
    spot[:, GUEST] = NOBODY

    size = 1024
    while size < 2 * (budget + 2):
        size *= 2
    table, tried = np.full(size, -1, np.int32), np.zeros(budget + 1, np.int32)
    since = np.zeros((budget + 1, agents), np.int16)  # rounds since an agent was at home
    cost, to_go = np.zeros(budget + 1, np.int64), np.zeros(budget + 1, np.int64)
    last_link, earlier = np.full(budget + 1, -1, np.int32), np.zeros(budget, np.int32)
    stack, queue = np.zeros(budget + 2, np.int32), np.zeros(budget + 1, np.int32)
    queued = np.zeros(budget + 1, np.bool_)
    config[0] = start
    parent[0], stack[0] = -1, 0
    known, links, height, rounds, until = np.int64(1), np.int64(0), np.int64(1), np.int64(0), budget
    final = np.int64(0)
    for agent in range(agents):
        who[agent, AT] = start[agent]
        to_go[0] += far[agent, start[agent]]
        if start[agent] != goal[agent]:
            final = np.int64(-1)
    table[_find(table, config, who)] = 0
    outcome[3] = 0

    while height > 0 and rounds < until:
        here = np.int64(stack[height - 1])
        if here == final or (final >= 0 and cost[here] + to_go[here] >= cost[final]):
            height -= 1
            continue
        turn, target, alone, left = _told(np.int64(tried[here]), config[here], curt, graph, _hash(seed, here, 3))
        if not left:
            height -= 1
            continue
        tried[here] += 1
        rounds += 1
        for agent in range(agents):
            spot[who[agent, AT], GUEST] = NOBODY
        for agent in range(agents):
            place = config[here, agent]
            who[agent, AT], spot[place, GUEST] = place, agent
            # Longest on its way first, and among those the farthest; who is at home comes last.
            urgency[agent] = (np.int64(since[here, agent]) << 32) + far[agent, place]
            k = agent
            while k > 0 and urgency[order[k - 1]] < urgency[agent]:
                order[k] = order[k - 1]
                k -= 1
            order[k] = agent
        luck = _hash(seed, rounds, 7)
        if not _round(turn, target, alone, order, graph, who, spot, counts, wishes, far, luck):
            continue

        rank[links] = 0
        price = np.int64(0)
        for m in range(counts[0]):
            agent, place = who[m, MOVER], who[m, ORIGIN]
            rank[links, agent] = m + 1
            arc = first[place]
            while to[arc] != who[agent, AT]:
                arc += 1
            price += length[by[arc]]
        for agent in range(agents):
            if rank[links, agent] == 0 and who[agent, AT] != goal[agent]:
                price += pause
        slot = _find(table, config, who)
        there = np.int64(table[slot])
        link[links, 0], link[links, 2] = here, price
        earlier[links], last_link[here] = last_link[here], links
        if there < 0:
            there = known
            known += 1
            table[slot] = there
            cost[there], parent[there] = cost[here] + price, links
            home = True
            for agent in range(agents):
                place = who[agent, AT]
                config[there, agent] = place
                to_go[there] += far[agent, place]
                if place != goal[agent]:
                    home = False
                    since[there, agent] = min(since[here, agent] + 1, 32000)
            if home:
                final, outcome[3] = there, rounds
                until = min(budget, rounds + polish)
        link[links, 1] = there
        links += 1
        if cost[here] + price < cost[there]:
            cost[there], parent[there] = cost[here] + price, links - 1
            _spread(there, cost, parent, link, last_link, earlier, queue, queued)
        stack[height] = there
        height += 1
    outcome[0] = FOUND if final >= 0 else (EXHAUSTED if height == 0 else OUT_OF_BUDGET)
    outcome[1], outcome[2] = rounds, final
