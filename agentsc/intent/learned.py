"""A learned code for plans: a few symbols instead of rounded control points, decoded exactly by integer tables.

A plan is its start on the lattice, a *shape* and a *heading*. The shape is one of a codebook of increments, turned
to the heading, plus as many *refinements* from further codebooks as accuracy asks for (residual vector
quantisation). A plan that the codebooks do not meet is *spelled*: its increments are rounded as in
`agentsc.intent.plan`, and their differences are sent. Symbols cross the air as prefix codes, chosen by what the
token in the same packet says: where the goal is, and whether the sender gives way. A packet without a token has
tables of its own, so every packet can be read alone.

Whatever the symbols, increments are cut to what v_max allows and the plan ends at rest.

Reference: B.-H. Juang and A. Gray, "Multiple stage vector quantization for speech coding", 1982; P. Chou,
T. Lookabaugh and R. Gray, "Entropy-constrained vector quantization", 1989.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentsc.intent.fields import LATTICE_BITS, T0_BITS, goal_point
from agentsc.intent.plan import Hint, PlanSpec
from agentsc.intent.prefix import PrefixTables
from envs.errors import ConfigError
from policies.trajectory.spline import basis, spans

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]

FORMAT = "agentsc-plan-code/1"
NEAR = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Distances to the goal that tables differ by, in reaches of a plan."""
CONTEXTS = 1 + 2 * (len(NEAR) + 1)
"""No token; then by distance, not giving way and giving way."""
HEAD = 2
"""Columns of a plan's codes before its kind: the start."""


@dataclass(frozen=True, eq=False)
class Codebook:
    """Shapes, headings and prefix codes, all of them integers.

    Attributes:
        books: int16 [stage, symbol, I, 2], increments in 2^-12 of their reach; stage 0 holds kinds of shape, the
            others refinements. Symbol 0 is at rest, and the end of the refinements.
        turns: int16 [heading, 2], cosine and sine, 2^-14.
        kinds: uint8 [CONTEXTS, symbol + 1], code lengths; the last symbol is a spelled plan.
        headings: uint8 [CONTEXTS, heading], code lengths of headings, counted from the goal's bearing.
        refinements: uint8 [stage − 1, symbol], code lengths.
        spelled: uint8 [I, 4 top + 1], code lengths of differences between successive spelled increments.
        card: how it was made.
    """

    books: NDArray[np.int16]
    turns: NDArray[np.int16]
    kinds: NDArray[np.uint8]
    headings: NDArray[np.uint8]
    refinements: NDArray[np.uint8]
    spelled: NDArray[np.uint8]
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _TENSORS:  # kernels ask for contiguous arrays
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name)))
        stages, symbols, increments, _ = self.books.shape
        turns = len(self.turns)
        expected = {
            "books": (stages, symbols, increments, 2),
            "turns": (turns, 2),
            "kinds": (CONTEXTS, symbols + 1),
            "headings": (CONTEXTS, turns),
            "refinements": (stages - 1, symbols),
            "spelled": (increments, self.spelled.shape[1]),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {getattr(self, name).shape}")
        if self.spelled.shape[1] % 8 != 5 or self.books[:, 0].any():
            raise ValueError("spelled must have 4 top + 1 columns with an odd top, and symbol 0 of books must be zero")
        _ = self.tables  # raises where a code is not complete

    @property
    def stages(self) -> int:
        """Codebooks, the one of shapes included."""
        return len(self.books)

    @property
    def increments(self) -> int:
        """Increments of a plan, I."""
        return self.books.shape[2]

    @property
    def top(self) -> int:
        """Greatest code of a spelled increment."""
        return self.spelled.shape[1] // 4

    @cached_property
    def tables(self) -> PrefixTables:
        """All prefix codes, one after the other."""
        parts = (self.kinds, self.headings, self.refinements, self.spelled)
        widest = max(part.shape[1] for part in parts)
        return PrefixTables.of(np.concatenate([np.pad(p, ((0, 0), (0, widest - p.shape[1]))) for p in parts]))

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """Number of the first table of kinds, headings, refinements and spelled differences."""
        return np.array([0, CONTEXTS, 2 * CONTEXTS, 2 * CONTEXTS + self.stages - 1], np.int64)

    def save(self, path: Path) -> None:
        """Write the tables and the card."""
        from safetensors.numpy import save_file

        tensors = {name: getattr(self, name) for name in _TENSORS}
        save_file(tensors, path, {"format": FORMAT, "card": json.dumps(self.card)})

    @classmethod
    def load(cls, path: Path | str) -> Codebook:
        """Read a codebook.

        Raises:
            ConfigError: the file is missing, of another kind, or damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise ConfigError(
                f"plan_code.weights must be a safetensors file, got {str(path)!r}, which does not exist "
                "(leave it out to use the shipped one, or run experiments/intent_code.py --train)"
            )
        try:
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ValueError(f"format {metadata.get('format')!r}, not {FORMAT}")
                return cls(**{name: file.get_tensor(name) for name in _TENSORS}, card=json.loads(metadata["card"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            cause = str(error).splitlines()[0][:120]
            raise ConfigError(
                f"plan_code.weights must be an intact plan code, got {path.name!r}, which cannot be read ({cause}): "
                "train it again with experiments/intent_code.py --train"
            ) from None


_TENSORS = ("books", "turns", "kinds", "headings", "refinements", "spelled")


@dataclass(frozen=True)
class LearnedSpec(PlanSpec):
    """Plans in the learned code; see the module.

    Codes of a plan: start x, y; the kind of shape (0: at rest); then its heading and refinements, or the spelled
    increments; zeros behind them. All zeros are a plan that rests at its start.

    Attributes:
        book: codebooks. tolerance: greatest distance between a plan and its decoded one, in reaches (v_max ×
            horizon), that ends the refinements; what they cannot meet is spelled. beam: shapes followed at once.
    """

    book: Codebook = field(kw_only=True, repr=False, compare=False)
    tolerance: float = field(kw_only=True, default=0.01)
    beam: int = field(kw_only=True, default=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.increments != self.book.increments:
            raise ConfigError(
                f"plan_code learned needs plans of {self.book.increments + 2} control points, "
                f"got {self.control_points} (choose such a prior, or plan_code spline)"
            )
        if (1 << (self.delta_bits - 1)) - 1 != self.book.top:
            raise ConfigError(
                f"plan.delta_bits must be {self.book.top.bit_length() + 1} with this plan code, got {self.delta_bits}"
            )

    @classmethod
    def like(cls, plain: PlanSpec, book: Codebook, *, tolerance: float, beam: int = 4) -> LearnedSpec:
        """The learned code in the place of another one.

        Raises:
            ConfigError: plans of another number of control points than the book's.
        """
        same = {each.name: getattr(plain, each.name) for each in fields(PlanSpec)}
        bits = (book.top + 1).bit_length()
        return cls(**{**same, "delta_bits": bits}, book=book, tolerance=tolerance, beam=beam)

    @property
    def columns(self) -> int:
        """Integers per plan."""
        return HEAD + 1 + max(self.book.stages, 2 * self.increments)

    @property
    def fixed_widths(self) -> tuple[int, ...]:
        """None: a shape's bits vary, and stand at the packet's end."""
        return ()

    @property
    def bits(self) -> int:
        """Least size of a PLAN section."""
        return T0_BITS + 2 * LATTICE_BITS + int(self.book.kinds[0].min())

    # -- plans and symbols -------------------------------------------------------------------------

    @cached_property
    def _limit(self) -> NDArray[np.int64]:
        return np.floor(self.reach**2).astype(np.int64)

    @cached_property
    def _reach(self) -> NDArray[np.int64]:
        return np.floor(self.reach).astype(np.int64)

    @property
    def _whole(self) -> float:
        """Lattice steps covered at v_max over the horizon."""
        return self.v_max * self.horizon_s / self.step

    @cached_property
    def _ruler(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Metric [D, D] and basis [T, I] by which plans are compared."""
        return ruler(self.control_points, self.horizon_ticks)

    @cached_property
    def _flat(self) -> tuple[Floats, Floats]:
        """Shapes under the metric, and what their bits add to a squared distance."""
        shapes = self.book.books.reshape(self.book.stages, -1, 2 * self.increments) / 4096.0
        lengths = np.concatenate([self.book.kinds[:1, :-1], self.book.refinements]).astype(np.float64)
        price = 0.03 * self.tolerance**2 * lengths
        return (shapes @ self._ruler[0].T).astype(np.float32), price.astype(np.float32)

    def quantise(self, control: Floats, start: Ints | None = None) -> Ints:
        """See `PlanSpec.quantise`: the fewest symbols within the tolerance."""
        from agentsc.intent import _learned_kernels as kernels

        batch = control.shape[:-2]
        begin = self.lattice(control[..., 0, :]) if start is None else np.asarray(start, np.int32)
        begin = np.ascontiguousarray(np.broadcast_to(begin, (*batch, 2)).reshape(-1, 2))
        codes = np.zeros((len(begin), self.columns), np.int32)
        codes[:, :HEAD] = begin
        aim = self._units(control).reshape(-1, self.control_points, 2)[:, 1:-1] - begin[:, None]
        found = np.zeros(len(begin), bool)
        book, (metric, rows), (flat, price) = self.book, self._ruler, self._flat
        kernels.search(
            np.ascontiguousarray(aim), book.books, book.turns, self._reach, self._limit, self.scale, flat, price,
            metric, rows, self.tolerance * self._whole, self.beam, codes, found,
        )  # fmt: skip
        left = np.flatnonzero(~found)
        if len(left):
            plain = super().quantise(control.reshape(-1, self.control_points, 2)[left], begin[left])
            codes[left] = 0
            codes[left, : HEAD + 1] = np.concatenate([begin[left], np.full((len(left), 1), book.books.shape[1])], 1)
            codes[left, HEAD + 1 : HEAD + 1 + 2 * self.increments] = plain[:, HEAD:]
        return codes.reshape(*batch, self.columns)

    def dequantise(self, codes: NDArray[np.integer]) -> Floats:
        """See `PlanSpec.dequantise`; plans can be driven whatever the codes."""
        from agentsc.intent import _learned_kernels as kernels

        flat = np.ascontiguousarray(codes.reshape(-1, self.columns), np.int32)
        offset = np.zeros((len(flat), self.increments, 2), np.int64)
        kernels.offsets(flat, self.book.books, self.book.turns, self._reach, self._limit, self.scale, offset)
        begin = flat[:, None, :HEAD].astype(np.int64)
        inner = begin + offset
        points = self.point(np.concatenate([begin, inner, inner[:, -1:]], axis=1))
        return points.reshape(*codes.shape[:-1], self.control_points, 2)

    # -- symbols and bits --------------------------------------------------------------------------

    def write_shapes(
        self, codes: NDArray[np.integer], hint: Hint | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """See `PlanSpec.write_shapes`: prefix codes, from the tables for what the token says.

        Raises:
            ValueError: a code out of its range.
        """
        from agentsc.intent import _learned_kernels as kernels

        book, tables = self.book, self.book.tables
        self._check(codes)
        context, bearing = self._context(codes, hint)
        longest = int(tables.lengths.max()) * (2 + max(book.stages, 2 * self.increments))
        out, bits = np.zeros((len(codes), longest // 8 + 1), np.uint8), np.zeros(len(codes), np.int64)
        kernels.write(
            np.ascontiguousarray(codes, np.int32), context, bearing, book.books.shape[1], book.stages, book.top,
            tables.lengths, tables.words, book.table, out, bits,
        )  # fmt: skip
        return out[:, : -(-int(bits.max(initial=0)) // 8)], bits

    def read_shapes(
        self, data: NDArray[np.uint8], at: NDArray[np.int64], start: NDArray[np.integer], hint: Hint | None
    ) -> tuple[Ints, NDArray[np.int64]]:
        """See `PlanSpec.read_shapes`."""
        from agentsc.intent import _learned_kernels as kernels

        book, tables = self.book, self.book.tables
        codes, bits = np.zeros((len(data), self.columns), np.int32), np.zeros(len(data), np.int64)
        codes[:, :HEAD] = start
        context, bearing = self._context(codes, hint)
        kernels.read(
            np.ascontiguousarray(data), at, context, bearing, book.books.shape[1], book.stages, len(book.turns),
            book.top, tables.order, tables.first, tables.count, book.table, codes, bits,
        )  # fmt: skip
        return codes, bits

    def plan_bits(self, codes: NDArray[np.integer], hint: Hint | None = None) -> NDArray[np.int64]:
        """See `PlanSpec.plan_bits`."""
        return self.write_shapes(codes.reshape(-1, self.columns), hint)[1].reshape(codes.shape[:-1])

    def _check(self, codes: NDArray[np.integer]) -> None:
        kinds, spelled = self.book.books.shape[1], codes[:, HEAD] == self.book.books.shape[1]
        low, high = np.zeros((2, len(codes), self.columns - HEAD), np.int64)
        high[:, 0] = kinds
        high[:, 1], high[:, 2 : 1 + self.book.stages] = len(self.book.turns) - 1, kinds - 1
        spell = slice(1, 1 + 2 * self.increments)
        low[spelled, spell], high[spelled, spell] = -self.book.top, self.book.top
        bad = ((codes[:, HEAD:] < low) | (codes[:, HEAD:] > high)).any(1)
        if bad.any():
            raise ValueError(f"plan must hold codes of a learned shape, got {codes[bad.argmax()].tolist()}")

    def _context(self, codes: NDArray[np.integer], hint: Hint | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which tables each plan's symbols are written with, and from which heading headings are counted."""
        if hint is None:
            return np.zeros(len(codes), np.int64), np.zeros(len(codes), np.int64)
        away = self.lattice(goal_point(hint.goal, self.bounds)).astype(np.int64) - codes[:, :HEAD]
        square = (away**2).sum(1)
        edges = np.array([int(near * self._whole) ** 2 for near in NEAR])
        context = 1 + np.searchsorted(edges, square, side="right") + (len(NEAR) + 1) * (np.asarray(hint.role) > 0)
        return context.astype(np.int64), (away @ self.book.turns.astype(np.int64).T).argmax(1)


def ruler(control_points: int, horizon_ticks: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How plans of the same start are compared, in reaches.

    Returns:
        float64 [D, D]: increments (x, y of each, in units of their reach) times it are numbers whose squared sum is the
        mean squared distance over the ticks. float64 [ticks + 1, I]: distances at ticks from those of control points.
    """
    rows = basis(control_points, horizon_ticks + 1).astype(np.float64)
    rows = np.concatenate([rows[:, 1:-2], rows[:, -2:].sum(1, keepdims=True)], axis=1)
    paths = np.cumsum(rows[:, ::-1], axis=1)[:, ::-1] * spans(control_points)[:-1].astype(np.float64)
    triangle = np.linalg.cholesky(paths.T @ paths / len(rows))
    return np.kron(triangle.T, np.eye(2)), np.ascontiguousarray(rows)
