"""What of a map crosses the air: changed cells, block by block, as bytes.

| part | bits |
|---|---|
| 0, kind (UP or DOWN) | 4 + 4 |
| sender, round | 8 + 16 |
| coding; whether levels are told | 2 + 1 |
| blocks and cells | as the coding has it |
| checksum | 16 |

`tokens`: an arithmetic code of which blocks are told, which of their cells, and what these are, each in the context of
its neighbours. `occupancy`: a bit for each block, and two for each cell of those told. `picture`: a bit for each block,
and an RGB pixel for each cell of those told, as a camera would have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from agentsc.links.framing import intact, with_checksum

Cells = NDArray[np.int8]
Flags = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

Coding = Literal["tokens", "occupancy", "picture"]
UP, DOWN = 1, 2
BLOCK = 8
"""Cells of a block's side."""
LEVELS = np.array([0.02, 0.07, 0.15, 0.28, 0.45, 0.65, 0.82, 0.95], np.float32)
"""Chances that a cell is filled which can be told of a cell that nobody has seen."""
EDGES = np.sqrt(LEVELS[1:] * LEVELS[:-1])
_HEAD = 35
_CHECKSUM = 16
_COLOURS = np.array([(0, 0, 0), (214, 206, 188), (92, 70, 60)], np.uint8)
"""Of pixels: not told, free, filled."""


class Damaged(ValueError):
    """A packet that is not one of a map, or does not hold what it should."""


@dataclass(frozen=True)
class Part:
    """Some of a map.

    Attributes:
        cells: int8 [row, column], −1 not told, 0 free, 1 filled. blocks: bool [block], which are told.
        level: int8 [row, column], index into `LEVELS` where cells of told blocks are not told; None without.
    """

    cells: Cells
    blocks: Flags
    level: Cells | None = None


def block_count(shape: tuple[int, int]) -> int:
    """Blocks of a map of so many rows and columns."""
    return -(-shape[0] // BLOCK) * -(-shape[1] // BLOCK)


def block_of(shape: tuple[int, int]) -> NDArray[np.int64]:
    """int64 [row, column]: the block of each cell."""
    row, column = np.indices(shape)
    return np.asarray(row // BLOCK * -(-shape[1] // BLOCK) + column // BLOCK, np.int64)


def level_of(chance: NDArray[np.floating]) -> Cells:
    """The level nearest to each chance, on a scale of ratios."""
    return np.searchsorted(EDGES, chance).astype(np.int8)


@lru_cache(maxsize=1)
def _start() -> NDArray[np.int64]:
    """Chances that a question is answered by 1 before anything is known, in 65536."""
    from agentsc.mapping._coder_kernels import BLOCK as BLOCKS
    from agentsc.mapping._coder_kernels import CONTEXTS, FILLED, LEVEL, TOLD

    table = np.full(CONTEXTS, 0.5)
    # Told cells come in patches, and walls in lines; counted roughly over looks at the trained families.
    for west in range(2):
        for north in range(2):
            for corner in range(2):
                table[TOLD + west + 2 * north + 4 * corner] = (0.12, 0.55, 0.55, 0.93)[west + north + (west & north)]
    for west in range(3):
        for north in range(3):
            filled = (west == 2) + (north == 2)
            free = (west == 1) + (north == 1)
            table[FILLED + 3 * west + north] = (0.2, 0.1, 0.06)[free] if not filled else (0.5, 0.35)[min(free, 1)]
    for last in range(9):
        weight = 0.4 ** np.abs(np.arange(8) - last)
        for node in range(1, 8):
            depth = int(np.log2(node))
            first, span = (node << (3 - depth)) - 8, 8 >> depth
            one, half = weight[first + span // 2 : first + span].sum(), weight[first : first + span].sum()
            table[LEVEL + 7 * last + node - 1] = one / half
    table[BLOCKS], table[BLOCKS + 1] = 0.35, 0.55
    return np.clip(np.rint(65536 * table), 512, 65024).astype(np.int64)


def encode(part: Part, kind: int, sender: int, clock: int, coding: Coding) -> tuple[Bytes, int]:
    """A packet: bytes [W] and bits, checksum included."""
    head = (kind << 31) | (sender << 23) | ((clock & 0xFFFF) << 7) | (get_args(Coding).index(coding) << 5)
    head |= int(part.level is not None) << 4
    bits = _bits_of(head >> 4, _HEAD)
    if coding == "tokens":
        body = _encode_tokens(part)
    else:
        inside = part.blocks[block_of(part.cells.shape)]
        told = part.cells[inside] + 1
        width = 2 if coding == "occupancy" else 8
        values = told if coding == "occupancy" else _COLOURS[told].ravel()
        body = ((values.astype(np.int64)[:, None] >> np.arange(width - 1, -1, -1)) & 1).astype(np.uint8).ravel()
        body = np.concatenate([part.blocks.astype(np.uint8), body])
    payload = np.concatenate([bits, body])
    data, count = with_checksum(np.packbits(payload)[None], np.array([len(payload)]))
    return data[0, : -(-int(count[0]) // 8)], int(count[0])


def _encode_tokens(part: Part) -> Bytes:
    from agentsc.mapping._coder_kernels import AT, HIGH, code

    state = np.zeros(6, np.int64)
    state[HIGH] = 0xFFFFFFFF
    bits = np.zeros(16 * part.cells.size + 64, np.uint8)
    level = np.zeros(part.cells.shape, np.int8) if part.level is None else part.level.copy()
    blocks, cells = part.blocks.copy(), part.cells.copy()
    code(state, bits, _start().copy(), BLOCK, part.level is not None, True, blocks, cells, level)
    return bits[: int(state[AT])]


@dataclass(frozen=True)
class Heard:
    """What a packet turned out to say: who sent it, in which round (16 bits of it), UP or DOWN, and the part."""

    kind: int
    sender: int
    clock: int
    part: Part


def decode(data: Bytes, bits: int, shape: tuple[int, int]) -> Heard:
    """What a packet says of a map of that shape.

    Raises:
        Damaged: its checksum does not hold, or its contents are none of a map's.
    """
    if bits < _HEAD + _CHECKSUM or not bool(intact(data[None], np.array([bits]))[0]):
        raise Damaged("a packet's checksum must hold")
    all_bits = np.unpackbits(data)[: bits - _CHECKSUM]
    head = int(all_bits[:_HEAD].astype(np.int64) @ (1 << np.arange(_HEAD - 1, -1, -1, dtype=np.int64)))
    kind, sender, clock, coding, levels = head >> 27, head >> 19 & 0xFF, head >> 3 & 0xFFFF, head >> 1 & 3, head & 1
    if kind not in (UP, DOWN) or coding > 2:
        raise Damaged(f"a packet must be of kind {UP} or {DOWN} and a coding that there is, got {kind} and {coding}")
    body = all_bits[_HEAD:]
    part = _decode_tokens(body, shape, bool(levels)) if coding == 0 else _decode_plain(body, shape, coding)
    return Heard(kind, sender, clock, part)


def _decode_tokens(body: Bytes, shape: tuple[int, int], levels: bool) -> Part:
    from agentsc.mapping._coder_kernels import AT, END, HIGH, code

    state = np.zeros(6, np.int64)
    state[HIGH], state[END] = 0xFFFFFFFF, len(body)
    cells, level = np.full(shape, -1, np.int8), np.zeros(shape, np.int8)
    blocks = np.zeros(block_count(shape), bool)
    code(state, np.ascontiguousarray(body), _start().copy(), BLOCK, levels, False, blocks, cells, level)
    # A reader is at most 32 bits ahead of what the writer wrote.
    if int(state[AT]) > len(body) + 32:
        raise Damaged("a packet must not end before what it says does")
    return Part(cells, blocks, level if levels else None)


def _decode_plain(body: Bytes, shape: tuple[int, int], coding: int) -> Part:
    count = block_count(shape)
    if len(body) < count:
        raise Damaged("a packet must say which blocks it tells")
    blocks = body[:count].astype(bool)
    inside = blocks[block_of(shape)]
    width = 2 if coding == 1 else 24
    if len(body) != count + width * int(inside.sum()):
        raise Damaged("a packet must tell every cell of its blocks")
    values = body[count:].reshape(-1, width)
    if coding == 1:
        told = values[:, 0].astype(np.int64) * 2 + values[:, 1]
    else:
        colour = np.packbits(values.reshape(-1, 3, 8), axis=2)[..., 0].astype(np.int64)
        gap = np.abs(colour[:, None] - _COLOURS.astype(np.int64)).sum(2)
        told = np.where(gap.min(1) == 0, gap.argmin(1), 3)
    if (told > 2).any():
        raise Damaged("a cell must be not told, free or filled")
    cells = np.full(shape, -1, np.int8)
    cells[inside] = told - 1
    return Part(cells, blocks)


def _bits_of(value: int, width: int) -> Bytes:
    return np.array([value >> place & 1 for place in range(width - 1, -1, -1)], np.uint8)
