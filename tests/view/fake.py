"""A made-up but plausible lane, for looking at pictures and testing them without a simulator."""

from __future__ import annotations

from collections import deque

import numpy as np

from agentsc.view.recording import Recorder, Recording, Scene, packet_rows


def warehouse(width: int, height: int) -> np.ndarray:
    """Racks of 1 x 5 cells with aisles between them, bool [height, width]."""
    blocked = np.zeros((height, width), bool)
    for y in range(2, height - 2, 3):
        for x in range(4, width - 8, 7):
            blocked[y, x : x + 5] = True
    return blocked


def boxes_of(blocked: np.ndarray) -> np.ndarray:
    """One box per run of blocked cells in a row, float32 [M, 5]."""
    rows = []
    for y, line in enumerate(blocked):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
        for a, b in edges.reshape(-1, 2).tolist():
            rows.append(((a + b) / 2, y + 0.5, (b - a) / 2, 0.5, 0.0))
    return np.array(rows, np.float32).reshape(-1, 5)


def _path(
    free: np.ndarray, start: tuple[int, int], goal: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """A shortest path through cell centres, float [N, 2] (x, y)."""
    back = {goal: goal}
    queue = deque([goal])
    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    while queue and start not in back:
        y, x = queue.popleft()
        for n in rng.permutation(4):
            to = (y + moves[n][0], x + moves[n][1])
            if 0 <= to[0] < free.shape[0] and 0 <= to[1] < free.shape[1] and free[to] and to not in back:
                back[to] = (y, x)
                queue.append(to)
    node, cells = start, [start]
    while node != goal and node in back:
        node = back[node]
        cells.append(node)
    return np.array(cells, np.float64)[:, ::-1] + 0.5


def fake_recording(
    agents: int = 16,
    blocked: np.ndarray | None = None,
    *,
    seed: int = 0,
    dt: float = 0.25,
    unit: bool = False,
    delay_s: float = 0.0,
    most_ticks: int = 400,
    samples: int = 8,
) -> Recording:
    """Agents on smooth shortest paths who wait for each other, over a bursty link.

    Args:
        blocked: bool [H, W]; a warehouse unless given.
        unit: scale the map to the square around the origin, with small discs, as in MMD's scenes.
    """
    rng = np.random.default_rng(seed)
    blocked = warehouse(46, 33) if blocked is None else blocked
    free = ~blocked
    cells = [tuple(c) for c in np.argwhere(free).tolist()]
    picks = rng.choice(len(cells), 2 * agents, replace=2 * agents > len(cells))
    routes = []
    for a in range(agents):
        path = _path(free, cells[picks[a]], cells[picks[agents + a]], rng)
        for _ in range(4):  # round the corners
            path[1:-1] = 0.25 * path[:-2] + 0.5 * path[1:-1] + 0.25 * path[2:]
        routes.append(path)
    progress = np.zeros(agents)
    lengths = np.array([np.hypot(*np.diff(r, axis=0).T).sum() for r in routes])

    def place(a: int, along: np.ndarray) -> np.ndarray:
        step = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(routes[a], axis=0).T))])
        along = np.clip(along, 0.0, step[-1])
        return np.stack([np.interp(along, step, routes[a][:, i]) for i in (0, 1)], axis=-1)

    height, width = blocked.shape
    factor = 2.0 / max(height, width) if unit else 1.0
    offset = np.array([width, height]) / 2 if unit else np.zeros(2)

    def world(points: np.ndarray) -> np.ndarray:
        return ((points - offset) * factor).astype(np.float32)

    radius = 0.3 * factor
    boxes = boxes_of(blocked)
    boxes[:, :2] = world(boxes[:, :2])
    boxes[:, 2:4] *= factor
    low, high = world(np.zeros(2)), world(np.array([width, height]))
    recorder = Recorder(
        Scene(
            bounds=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
            boxes=boxes,
            starts=world(np.stack([r[0] for r in routes])),
            goals=world(np.stack([r[-1] for r in routes])),
            radius=radius,
            separation=2 * radius,
            dt=dt,
            rounds_per_tick=2,
            meta={
                "scenario": "warehouse",
                "protocol": "intent",
                "link": "gilbert-elliott:p=0.05,r=0.2",
                "seed": seed,
                "episode": 0,
            },
        )
    )
    position = np.stack([r[0] for r in routes])
    bad = np.zeros((agents, agents), bool)
    age = rng.uniform(0, 1, agents)
    points, ahead = 16, np.linspace(0, 8.0, 16)
    for tick in range(most_ticks):
        before = position.copy()
        for a in range(agents):
            to = place(a, np.array(progress[a] + dt))
            others = np.delete(position, a, axis=0)
            near = np.linalg.norm(others - to, axis=1) if agents > 1 else np.array([9.0])
            closing = near < (np.linalg.norm(others - position[a], axis=1) if agents > 1 else near)
            if not ((near < 0.75) & closing).any():
                progress[a] += dt
                position[a] = to
        talks = (rng.random(agents) < dt * 1.5) | (age > 1.0)
        age = np.where(talks, 0.0, age + dt)
        moving = progress < lengths
        plans = np.stack([place(a, progress[a] + ahead * min(1, lengths[a])) for a in range(agents)])
        bend = rng.normal(size=(agents, samples, 1, 2)) * np.linspace(0, 1, points)[:, None] ** 1.5
        beliefs = plans[:, None] + bend * ((0.25 + 0.6 * age) * moving)[:, None, None, None]
        pending = moving & (rng.random(agents) < 0.15)
        swing = np.sin(np.linspace(0, np.pi, points))[None, :, None] * rng.normal(size=(agents, 1, 2)) * 0.5
        proposals = np.where(pending[:, None, None], plans + swing, np.nan)
        bad = np.where(bad, rng.random(bad.shape) > 0.2, rng.random(bad.shape) < 0.05)
        s, r = np.nonzero(talks[:, None] & ~np.eye(agents, dtype=bool))
        sent = tick * dt + rng.uniform(0, dt, agents)[s]
        sections = np.where(rng.random(agents) < 0.4, 7, 1)[s]
        bits = np.where(sections == 7, 226, 72)
        gaps = np.linalg.norm(position[:, None] - position[None], axis=-1) + 99 * np.eye(agents)
        pair = np.unravel_index(int(gaps.argmin()), gaps.shape)
        recorder.record(
            tick=tick,
            position=world(position),
            plans=world(plans),
            pending=pending,
            proposals=world(proposals),
            beliefs=world(beliefs),
            belief_age=age.astype(np.float32),
            packets=packet_rows(
                tick=tick,
                sender=s,
                receiver=r,
                sections=sections,
                bits=bits,
                sent_s=sent,
                arrival_s=np.where(bad[s, r], np.nan, sent + delay_s),
            ),
            bits=np.bincount(s, bits / max(agents - 1, 1), agents).round().astype(np.int32),
            closest=float(gaps.min() * factor) if agents > 1 else np.inf,
            pair=(int(pair[0]), int(pair[1])),
            brake=np.zeros(agents, bool),
            at_goal=~moving,
        )
        if (progress >= lengths).all() or (tick > 20 and np.array_equal(before, position)):
            break
    return recorder.finish()
