"""How likely a packet is to be lost at some ratio of signal to noise and interference.

Ratios γ are E_s/N_0, [N, S]: one per packet and subcarrier, S = 1 where fading is flat. A packet's bits are spread
evenly over subcarriers.
"""

from __future__ import annotations

import csv
import math
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from agentsc.links.radio.modulation import STEP, bit_error_rate, error_curve

Doubles = NDArray[np.float64]
TABLE_COLUMNS = ("snr_db", "per")
SHIPPED = "5g-ldpc"


def uncoded(rate: ArrayLike, bits: ArrayLike) -> Doubles:
    """1 − (1 − BER)^L for independent bit errors."""
    each = np.minimum(np.asarray(rate, np.float64), 1.0 - 1e-16)
    return np.asarray(-np.expm1(np.asarray(bits) * np.log1p(-each)))


def uncoded_spread(snr: Doubles, modulation: str, bits: ArrayLike) -> Doubles:
    """1 − Π (1 − BER_s)^(L / S): as many bits on every subcarrier of [N, S]."""
    if snr.shape[1] == 1:
        return uncoded(bit_error_rate(snr[:, 0], modulation), bits)
    curve, scale = error_curve(modulation)
    return np.asarray(-np.expm1(np.asarray(bits) * -_spread(snr, -np.log1p(-curve), scale)))


def mean_bit_error_rate(snr: Doubles, modulation: str) -> Doubles:
    """BER [N] of packets spread over subcarriers [N, S]."""
    return bit_error_rate(snr[:, 0], modulation) if snr.shape[1] == 1 else _spread(snr, *error_curve(modulation))


def _spread(snr: Doubles, curve: Doubles, scale: float) -> Doubles:
    """Mean [N] over subcarriers [N, S] of a curve over √(scale γ)."""
    from agentsc.links.radio import _kernels

    mean = np.empty(len(snr))
    _kernels.mean_on_curve(np.ascontiguousarray(snr), curve, scale, STEP, mean)
    return mean


def capacity(snr: ArrayLike) -> Doubles:
    """log2(1 + γ), bits per complex symbol."""
    return np.asarray(np.log2(1.0 + np.asarray(snr, np.float64)))


def dispersion(snr: ArrayLike) -> Doubles:
    """V = γ (γ + 2) / (γ + 1)² · log2² e, of the complex Gaussian channel."""
    gamma = np.asarray(snr, np.float64)
    return np.asarray(gamma * (gamma + 2.0) / (gamma + 1.0) ** 2 * np.log2(np.e) ** 2)


def mean_capacity(snr: Doubles) -> tuple[Doubles, Doubles]:
    """Capacity and dispersion [N] of packets spread over subcarriers [N, S]."""
    if snr.shape[1] == 1:
        return capacity(snr[:, 0]), dispersion(snr[:, 0])
    from agentsc.links.radio import _kernels

    middle, spread = np.empty(len(snr)), np.empty(len(snr))
    _kernels.mean_capacity(np.ascontiguousarray(snr), middle, spread)
    return middle, spread * np.log2(np.e) ** 2


def finite_blocklength(snr: Doubles, bits: ArrayLike, efficiency: float) -> Doubles:
    """Packet error of the best code of that length, by the normal approximation Q((n C − k + ½ log2 n) / √(n V)).

    Args:
        snr: [N, S]; capacity and dispersion are averaged over subcarriers. bits: k, [N]. efficiency: k / n.

    Reference: Y. Polyanskiy, H. V. Poor and S. Verdú, Channel coding rate in the finite blocklength regime, IEEE
    Transactions on Information Theory 56 (2010), eq. 296; over parallel channels: Y. Polyanskiy, Channel coding, 2010.
    """
    count = np.asarray(bits, np.float64) / efficiency
    middle, spread = mean_capacity(snr)
    spread = np.maximum(spread, 1e-300)
    return np.asarray(ndtr(-(count * middle - np.asarray(bits) + 0.5 * np.log2(count)) / np.sqrt(count * spread)))


def effective_snr(snr: Doubles) -> Doubles:
    """The flat γ [N] of the same mean capacity as [N, S]."""
    return np.asarray(snr[:, 0] if snr.shape[1] == 1 else np.exp2(mean_capacity(snr)[0]) - 1.0)


class Curve(NamedTuple):
    """A packet error curve. snr_db ascending, per > 0 where known to be positive; bits: of its packets, 0 for any."""

    snr_db: Doubles
    per: Doubles
    bits: int


def tabulated(curve: Curve, snr: Doubles, bits: ArrayLike) -> Doubles:
    """Packet error from a curve, interpolated in log PER over dB; 1 below the table, on its last slope above.

    A curve that ends in two equal rows has a floor.

    Packets of other lengths than the curve's count as that many independent pieces: 1 − (1 − PER)^(L / L₀).
    """
    level = 10.0 * np.log10(np.maximum(snr, 1e-30))
    known = np.log(np.maximum(curve.per, 1e-12))
    slope = min((known[-1] - known[-2]) / (curve.snr_db[-1] - curve.snr_db[-2]), 0.0)
    beyond = slope * np.maximum(level - curve.snr_db[-1], 0.0)
    error = np.exp(np.interp(level, curve.snr_db, known) + beyond)
    error = np.where(level < curve.snr_db[0], 1.0, error)
    if not curve.bits:
        return np.asarray(error)
    return uncoded(error, np.asarray(bits) / curve.bits)


def read_curves(name: str) -> dict[int, Curve]:
    """Mode → curve, from the shipped table or a CSV file with columns snr_db and per, optionally mode and bits.

    Lines that begin with # are comments.

    Raises:
        ValueError: what is wrong, in which line and column.
    """
    if name == SHIPPED:
        text = (files("agentsc.links.radio") / f"{SHIPPED}.csv").read_text(encoding="utf-8")
    else:
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            cause = getattr(error, "strerror", None) or "not a text file"
            raise ValueError(f"table must be {SHIPPED} or a readable CSV file, got {name!r} ({cause})") from None
    lines = [(number, row) for number, row in enumerate(csv.reader(text.splitlines()), 1) if _holds(row)]
    header = [cell.strip() for cell in lines[0][1]] if lines else []
    for column in TABLE_COLUMNS:
        if column not in header:
            raise ValueError(f"{name} must have a column {column}, got {','.join(header) or 'nothing'!r}")
    found: dict[int, list[tuple[float, float, float]]] = {}
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise ValueError(f"{name} line {number} must have {len(header)} columns, got {len(cells)}")
        values = {key: _number(name, number, key, cell) for key, cell in zip(header, cells, strict=True)}
        if not 0.0 <= values["per"] <= 1.0:
            raise ValueError(f"{name} line {number} column per must be in [0, 1], got {values['per']:g}")
        rows = found.setdefault(int(values.get("mode", 0)), [])
        if rows and values["snr_db"] <= rows[-1][0]:
            raise ValueError(
                f"{name} line {number} column snr_db must be above the row before, {rows[-1][0]:g} (sort the rows)"
            )
        rows.append((values["snr_db"], values["per"], values.get("bits", 0.0)))
    for mode, rows in found.items():
        if len(rows) < 2:
            raise ValueError(f"{name} must have at least two rows of mode {mode}, got {len(rows)}")
    if not found:
        raise ValueError(f"{name} must have at least two rows, got none")
    curves = {}
    for mode, rows in found.items():
        level, per, length = np.array(rows).T
        curves[mode] = Curve(level, per, int(length[0]))
    return curves


def _holds(row: list[str]) -> bool:
    return any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#")


def _number(name: str, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} line {line} column {column} must be a number, got {cell!r}")
    return value
