"""Matrix-free solves and roots against dense ones, row by row."""

from __future__ import annotations

import pytest
import torch
from problems import DOUBLE, draws

from policies.diffusion.krylov import conjugate_gradient, square_root


def matrices(name: str, rank: int = 6) -> torch.Tensor:
    """[5, 6, 6], symmetric, of that rank; rows differ in scale by orders of magnitude."""
    factor = draws(name, 5, 6, rank)
    return factor @ factor.mT * torch.logspace(-3, 2, 5, dtype=DOUBLE)[:, None, None]


def apply(matrix: torch.Tensor):  # type: ignore[no-untyped-def]
    return lambda v: (matrix @ v[..., None])[..., 0]


def test_conjugate_gradients_solve() -> None:
    matrix, b = matrices("spd") + 1e-3 * torch.eye(6, dtype=DOUBLE), draws("b", 5, 6)
    x = conjugate_gradient(apply(matrix), b, iterations=60, tolerance=1e-12)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, b), atol=1e-6, rtol=1e-6)


def test_rows_stop_by_themselves() -> None:
    """A row of zeros, an easy row and a hard one: each ends where it would have ended alone."""
    matrix, b = matrices("spd") + 1e-3 * torch.eye(6, dtype=DOUBLE), draws("b", 5, 6)
    matrix[1], b[2] = torch.eye(6, dtype=DOUBLE), 0.0
    together = conjugate_gradient(apply(matrix), b, 4, 1e-3)
    assert (together[2] == 0.0).all()
    for row in range(5):
        alone = conjugate_gradient(apply(matrix[row : row + 1]), b[row : row + 1], 4, 1e-3)
        torch.testing.assert_close(alone[0], together[row], atol=1e-12, rtol=1e-12)


def test_negative_curvature_ends_a_row_with_what_it_has() -> None:
    matrix = torch.diag_embed(torch.tensor([[1.0, 2.0], [1.0, -1.0]], dtype=DOUBLE))
    x = conjugate_gradient(apply(matrix), torch.ones(2, 2, dtype=DOUBLE), 10)
    torch.testing.assert_close(x[0], torch.tensor([1.0, 0.5], dtype=DOUBLE))
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("rank", [6, 2])
def test_root_is_the_symmetric_one_also_of_singular_matrices(rank: int) -> None:
    matrix, z = matrices("root", rank), draws("z", 5, 6)
    values, vectors = torch.linalg.eigh(matrix)
    exact = (vectors * values.clamp_min(0.0).sqrt()[:, None]) @ vectors.mT
    found = square_root(apply(matrix), z, 6)
    torch.testing.assert_close(found, (exact @ z[..., None])[..., 0], atol=1e-5, rtol=1e-5)


def test_few_iterations_get_the_large_directions_right() -> None:
    matrix = torch.diag(torch.logspace(0, -8, 12, dtype=DOUBLE)).expand(3, 12, 12)
    z = draws("z few", 3, 12)
    error = square_root(apply(matrix), z, 5) - (matrix.sqrt() @ z[..., None])[..., 0]
    assert float(error.norm(dim=1).max()) < 0.1 * float(z.norm(dim=1).min())
