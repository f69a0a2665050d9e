"""Fitting the learned plan code to examples: codebooks by entropy-constrained clustering, prefix codes by counting.

Everything is a function of the examples, the sizes and the seed.

Reference: P. Chou, T. Lookabaugh and R. Gray, "Entropy-constrained vector quantization", 1989.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import goal_code
from agentsc.intent.learned import CONTEXTS, HEAD, Codebook, LearnedSpec, ruler
from agentsc.intent.plan import Hint, PlanSpec
from agentsc.intent.prefix import code_lengths
from policies.trajectory.spline import spans

Floats = NDArray[np.float64]
Report = Callable[[str], None]

SHRINK = 200.0
"""Examples' worth of trust in counts over all tokens, against those of one kind of token."""
SCALE = 4096.0
"""Units of a codebook per reach of an increment."""


@dataclass(frozen=True)
class Sizes:
    """What a codebook is made of.

    Attributes:
        symbols: per stage. stages: shapes and refinements. headings: a power of two. delta_bits: of spelled increments.
        rounds: of clustering. seed: of its starting points.
    """

    symbols: int = 512
    stages: int = 6
    headings: int = 256
    delta_bits: int = 5
    rounds: int = 25
    seed: int = 1


@dataclass(frozen=True)
class Examples:
    """Plans as they cross the air, in reaches (v_max × horizon) from where they start.

    Attributes:
        control: float64 [n, P, 2]. goal: float64 [n, 2]. role: bool [n], giving way.
        told: bool [n], the packet has a token; only then goal and role mean something.
    """

    control: Floats
    goal: Floats
    role: NDArray[np.bool_]
    told: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.control)

    def take(self, rows: NDArray) -> Examples:
        """Some of them."""
        return Examples(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def join(cls, parts: list[Examples]) -> Examples:
        """All of ``parts``."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @property
    def increments(self) -> Floats:
        """float64 [n, P − 2, 2], in units of the longest that v_max allows, and not longer than that."""
        steps = np.diff(self.control, axis=1)[:, :-1] / spans(self.control.shape[1])[:-1, None]
        return np.asarray(steps / np.maximum(np.linalg.norm(steps, axis=-1, keepdims=True), 1.0))


def unit_spec(control_points: int, delta_bits: int = 6, horizon_ticks: int = 32) -> PlanSpec:
    """A world in which lengths are reaches: [−4, 4]², a plan covers 1 at most."""
    return PlanSpec((-4.0, -4.0, 4.0, 4.0), 1.0, 1.0 / horizon_ticks, horizon_ticks, control_points, delta_bits)


def fit(examples: Examples, sizes: Sizes, tolerance: float, card: dict[str, Any], report: Report) -> Codebook:
    """A codebook for plans that must be met within ``tolerance`` reaches.

    Args:
        card: what to write down about it. report: told of progress.
    """
    angle = 2.0 * np.pi * np.arange(sizes.headings) / sizes.headings
    turns = np.rint(16384.0 * np.stack([np.cos(angle), np.sin(angle)], -1)).astype(np.int16)
    shapes = _turned(examples, turns / 16384.0)
    increments, points = shapes.shape[1] // 2, examples.control.shape[1]
    metric, rows = ruler(points, 32)
    rng = np.random.default_rng(sizes.seed)
    left, books, counts = shapes @ metric.T, [], []
    for stage in range(sizes.stages):
        centres, count = cluster(left, sizes.symbols, 0.03 * tolerance**2, sizes.rounds, rng)
        whole = np.rint(SCALE * np.linalg.solve(metric, centres.T).T)
        books.append(np.clip(whole, -32768, 32767).astype(np.int16).reshape(-1, increments, 2))
        counts.append(count)
        kept = books[-1].reshape(len(centres), -1) / SCALE @ metric.T
        left = left - kept[nearest(left, kept, np.zeros(len(kept)))]
        # Later stages serve those plans only that are not met yet.
        miss = _miss(np.linalg.solve(metric, left.T).T.reshape(len(left), -1, 2), points, rows)
        report(f"stage {stage}: {np.mean(miss > tolerance):.3f} of {len(left)} plans not within the tolerance")
        rest = left[miss > tolerance]
        left = rest if len(rest) >= 4 * sizes.symbols else left
    top = (1 << (sizes.delta_bits - 1)) - 1
    book = Codebook(
        books=np.stack(books),
        turns=turns,
        kinds=np.tile(code_lengths(np.append(counts[0] + 0.5, 1.0)), (CONTEXTS, 1)),
        headings=np.tile(code_lengths(np.ones(sizes.headings)), (CONTEXTS, 1)),
        refinements=np.stack([code_lengths(count + 0.5) for count in counts[1:]]),
        spelled=np.tile(code_lengths(np.ones(4 * top + 1)), (increments, 1)),
    )
    for _ in range(2):  # which symbols are used depends on what they cost, and the other way round
        book = count_codes(examples, book, tolerance, card)
    return book


def _turned(examples: Examples, turns: Floats) -> Floats:
    """Increments [n, D] seen from the nearest heading of each plan."""
    along = examples.control[:, -1] - examples.control[:, 0]
    cos, sin = turns[(along @ turns.T).argmax(1)].T[..., None]
    x, y = examples.increments[..., 0], examples.increments[..., 1]
    return np.stack([x * cos + y * sin, y * cos - x * sin], -1).reshape(len(examples), -1)


def _miss(gap: Floats, control_points: int, rows: Floats) -> Floats:
    """Greatest distance [n] of plans whose increments differ by ``gap`` [n, I, 2]."""
    offset = np.cumsum(gap * spans(control_points)[:-1, None], axis=1)
    return np.asarray(np.linalg.norm(rows @ offset, axis=-1).max(1))


def nearest(points: Floats, centres: Floats, price: Floats) -> NDArray[np.int64]:
    """Index [n] of the centre that is cheapest for each point: squared distance plus price."""
    found = np.empty(len(points), np.int64)
    for part in np.array_split(np.arange(len(points)), len(points) // 8192 + 1):
        found[part] = ((centres**2).sum(1) + price - 2.0 * points[part] @ centres.T).argmin(1)
    return found


def cluster(points: Floats, symbols: int, trade: float, rounds: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Entropy-constrained k-means; centre 0 stays at zero.

    Args:
        points: [n, D]. trade: squared distance that a bit is worth.

    Returns:
        centres [symbols, D] and how many points each has [symbols].
    """
    centres = points[rng.choice(len(points), symbols, replace=False)]
    price, count = np.zeros(symbols), np.zeros(symbols)
    for number in range(rounds):
        centres[0] = 0.0
        mine = nearest(points, centres, price)
        count = np.bincount(mine, minlength=symbols).astype(np.float64)
        sums = np.stack([np.bincount(mine, column, minlength=symbols) for column in points.T], -1)
        centres = np.where(count[:, None] > 0, sums / np.maximum(count, 1.0)[:, None], centres)
        idle = np.flatnonzero(count == 0)
        if number < rounds - 5:  # centres that nobody wants start again elsewhere
            centres[idle] = points[rng.choice(len(points), len(idle))]
        price = -trade * np.log2((count + 0.5) / (count.sum() + 0.5 * symbols))
    centres[0] = 0.0
    return centres, count


def count_codes(examples: Examples, book: Codebook, tolerance: float, card: dict[str, Any]) -> Codebook:
    """The same codebooks with prefix codes for how often their symbols are used on the examples."""
    points = examples.control.shape[1]
    spec = LearnedSpec.like(unit_spec(points), book, tolerance=tolerance)
    codes = spec.quantise(examples.control.astype(np.float32))
    kinds, stages, turns = book.books.shape[1], book.stages, len(book.turns)
    hint = Hint(goal_code(examples.goal, spec.bounds), examples.role)
    context, bearing = spec._context(codes, hint)
    kind, moving = codes[:, HEAD], (codes[:, HEAD] > 0) & (codes[:, HEAD] < kinds)
    turn = (codes[:, HEAD + 1] - bearing) % turns
    # Plans that are not told occur in packets with tokens at other times: they count towards both.
    by_kind = _by_context(context, kind, kinds + 1)
    by_turn = _by_context(context[moving], turn[moving], turns)
    by_turn[0] = 1.0  # without a token every heading is as good as any other
    refined = np.zeros((stages - 1, kinds))
    going = moving
    for stage in range(1, stages):
        symbol = codes[:, HEAD + 1 + stage]
        refined[stage - 1] = np.bincount(symbol[going], minlength=kinds) + 0.05
        going = going & (symbol > 0)
    plain = PlanSpec.quantise(spec, examples.control.astype(np.float32))[:, HEAD:].reshape(len(codes), -1, 2)
    change = np.concatenate([plain[:, :1], np.diff(plain, axis=1)], axis=1) + 2 * book.top
    weight = np.where(kind == kinds, 1.0, 0.02)[:, None] * np.ones(2)
    spelled = np.stack([
        np.bincount(each.ravel(), weight.ravel(), minlength=4 * book.top + 1) for each in np.moveaxis(change, 1, 0)
    ])  # fmt: skip
    return Codebook(
        books=book.books,
        turns=book.turns,
        kinds=np.stack([code_lengths(row) for row in by_kind]),
        headings=np.stack([code_lengths(row) for row in by_turn]),
        refinements=np.stack([code_lengths(row) for row in refined]),
        spelled=np.stack([code_lengths(row + 0.02) for row in spelled]),
        card=card,
    )


def _by_context(context: NDArray[np.int64], symbol: NDArray[np.integer], symbols: int) -> Floats:
    """How often symbols occur in each context [CONTEXTS, symbols], shrunk towards all; context 0 is all."""
    counts = np.zeros((CONTEXTS, symbols))
    np.add.at(counts, (context, symbol), 1.0)
    everywhere = counts.sum(0) + 0.1
    counts += SHRINK * everywhere / everywhere.sum()
    counts[0] = everywhere
    return counts
