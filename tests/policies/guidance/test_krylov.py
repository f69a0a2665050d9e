"""Matrix-free solves and roots against dense ones, row by row."""

from __future__ import annotations

import pytest
import torch
from problems import DOUBLE, draws

from policies.diffusion.krylov import covered_solution, square_root


def matrices(name: str, rank: int = 6) -> torch.Tensor:
    """[5, 6, 6], symmetric, of that rank; rows differ in scale by orders of magnitude."""
    factor = draws(name, 5, 6, rank)
    return factor @ factor.mT * torch.logspace(-3, 2, 5, dtype=DOUBLE)[:, None, None]


def apply(matrix: torch.Tensor):  # type: ignore[no-untyped-def]
    return lambda v: (matrix @ v[..., None])[..., 0]


def covered(cover: torch.Tensor, b: torch.Tensor, iterations: int, tolerance: float = 1e-12) -> torch.Tensor:
    """C (C + σ² I)⁻¹ b with σ² = .001."""
    return covered_solution(lambda u: u, apply(cover), lambda v: v, b, 1e-3**0.5, iterations, tolerance)


def test_conjugate_gradients_solve() -> None:
    cover, b = matrices("spd"), draws("b", 5, 6)
    dense = apply(cover)(torch.linalg.solve(cover + 1e-3 * torch.eye(6, dtype=DOUBLE), b))
    torch.testing.assert_close(covered(cover, b, 60), dense, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_iterations_minimise_over_the_space_they_have_seen(iterations: int) -> None:
    """The k-th iterate has the least error, in the system's norm, of all in the Krylov space of k dimensions."""
    a, half, b = draws("a", 3, 7, 9), draws("half", 3, 9, 9), draws("b", 3, 7)
    cover = half @ half.mT
    system = a @ cover @ a.mT + 0.25 * torch.eye(7, dtype=DOUBLE)
    calls = {"pull": 0, "push": 0}

    def pull(u: torch.Tensor) -> torch.Tensor:
        calls["pull"] += 1
        return apply(a.mT)(u)

    def push(x: torch.Tensor) -> torch.Tensor:
        calls["push"] += 1
        return apply(a)(x)

    found = covered_solution(pull, apply(cover), push, b, 0.5, iterations, 1e-12)
    space = [b]
    for _ in range(iterations - 1):
        space.append(apply(system)(space[-1]))
    basis = torch.linalg.qr(torch.stack(space, dim=2))[0]
    best = basis @ torch.linalg.solve(basis.mT @ system @ basis, basis.mT @ b[..., None])
    torch.testing.assert_close(found, (cover @ a.mT @ best)[..., 0], rtol=1e-6, atol=1e-6)
    assert calls == {"pull": iterations, "push": iterations - 1}


def test_rows_stop_by_themselves() -> None:
    """A row of zeros, an easy row and a hard one: each ends where it would have ended alone."""
    cover, b = matrices("spd"), draws("b", 5, 6)
    cover[1], b[2] = torch.eye(6, dtype=DOUBLE), 0.0
    together = covered(cover, b, 4, 1e-3)
    assert (together[2] == 0.0).all()
    for row in range(5):
        alone = covered(cover[row : row + 1], b[row : row + 1], 4, 1e-3)
        torch.testing.assert_close(alone[0], together[row], atol=1e-12, rtol=1e-12)


def test_negative_curvature_ends_a_row_with_what_it_has() -> None:
    cover = torch.diag_embed(torch.tensor([[1.0, 2.0], [1.0, -1.0]], dtype=DOUBLE))
    x = covered(cover, torch.ones(2, 2, dtype=DOUBLE), 10)
    torch.testing.assert_close(x[0], torch.tensor([1.0 / 1.001, 2.0 / 2.001], dtype=DOUBLE))
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

