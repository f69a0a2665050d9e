"""Matrix-free linear algebra, one independent problem per row: only products with the matrix are needed.

Each row stops by its own residual and is frozen from then on, so no row's result depends on the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Product = Callable[[torch.Tensor], torch.Tensor]
"""v → M v for rows of v, M symmetric positive (semi-)definite and different in every row."""


def covered_solution(
    pull: Product, cover: Product, push: Product, b: torch.Tensor, noise: float, iterations: int,
    tolerance: float = 1e-5,
) -> torch.Tensor:
    """C Aᵀ (A C Aᵀ + σ² I)⁻¹ b, [batch, *shape], by conjugate gradients.

    With the factors apart, k iterations cost k products with Aᵀ and C but only k − 1 with A, and none to carry the
    solution back: a direction's curvature is ⟨Aᵀd, C Aᵀd⟩ + σ² ‖d‖², and the C Aᵀd add up to the result.

    Args:
        pull: Aᵀ u, [batch, m] → [batch, *shape]. cover: C x, of x's shape. push: A x, [batch, *shape] → [batch, m].
        b: [batch, m]. noise: σ > 0. iterations: at most; m of them solve exactly but for rounding.
        tolerance: a row stops when its residual is below this share of ‖b‖, or at negative curvature
            (a network's Jacobian is only nearly symmetric).

    Raises:
        ValueError: fewer than one iteration.

    Reference: Hestenes and Stiefel, 1952; Björck, "Numerical methods for least squares problems", 1996, section 7.4.
    """
    residual, direction = b, b
    size = b.square().sum(1)
    enough = tolerance**2 * size
    going = size > 0.0
    result: torch.Tensor | None = None
    for left in reversed(range(iterations)):
        pulled = pull(direction)
        covered = cover(pulled)
        curvature = (pulled * covered).flatten(1).sum(1) + noise**2 * direction.square().sum(1)
        going = going & (curvature > 0.0)
        length = torch.where(going, size / curvature, torch.zeros_like(size))
        step = length.reshape(-1, *[1] * (covered.dim() - 1)) * covered
        result = step if result is None else result + step
        if not left:
            break
        residual = residual - length[:, None] * (push(covered) + noise**2 * direction)
        new = residual.square().sum(1)
        direction = torch.where(going[:, None], residual + (new / size)[:, None] * direction, direction)
        going = going & (new > enough)
        if not bool(going.any()):
            break
        size = torch.where(going, new, size)
    if result is None:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    return result


def square_root(product: Product, z: torch.Tensor, iterations: int) -> torch.Tensor:
    """M^½ z, [batch, d]: for z ~ N(0, I) a draw from N(0, M).

    Lanczos from z, fully re-orthogonalised; exact but for rounding with ``iterations`` ≥ d, and otherwise
    accurate in the directions of large eigenvalues. Negative eigenvalues count as zero.

    Args:
        product: M v for v [batch, d]. z: [batch, d].

    Reference: Chow and Saad, "Preconditioned Krylov subspace methods for sampling multivariate Gaussian
    distributions", 2014, section 2.
    """
    batch, dim = z.shape
    count = min(iterations, dim)
    norm = z.norm(dim=1, keepdim=True).clamp_min(1e-30)
    vectors = [z / norm]
    diagonal, off = z.new_zeros(batch, count), z.new_zeros(batch, max(count - 1, 1))
    alive = torch.ones(batch, dtype=torch.bool, device=z.device)
    for k in range(count):
        turned = product(vectors[k])
        diagonal[:, k] = torch.where(alive, (vectors[k] * turned).sum(1), turned.new_zeros(()))
        if k + 1 == count:
            break
        basis = torch.stack(vectors, dim=1)
        for _ in range(2):  # once leaves rounding errors that grow
            turned = turned - ((basis @ turned[..., None]).mT @ basis)[:, 0]
        length = turned.norm(dim=1)
        scale = diagonal[:, : k + 1].abs().amax(1)
        alive = alive & (length > 1e-6 * scale)  # the space is exhausted: the rest of T is zero
        off[:, k] = torch.where(alive, length, length.new_zeros(()))
        vectors.append(
            torch.where(alive[:, None], turned / length.clamp_min(1e-30)[:, None], turned.new_zeros(()))
        )
    tri = torch.diag_embed(diagonal)
    if count > 1:
        tri = tri + torch.diag_embed(off[:, : count - 1], 1) + torch.diag_embed(off[:, : count - 1], -1)
    values, rotation = torch.linalg.eigh(tri)
    first = (rotation * values.clamp_min(0.0).sqrt()[:, None]) @ rotation[:, :1].mT
    return norm * (torch.stack(vectors, dim=1).mT @ first)[..., 0]
