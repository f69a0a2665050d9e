"""The multi-agent consistency term inside a sampler, with and without backpropagation."""

from __future__ import annotations

import torch
from problems import DOUBLE, PROCESS, keys

from policies.diffusion import GUIDANCE, SOLVERS
from policies.diffusion.exact import GaussianPrior
from policies.diffusion.guidance import Term
from policies.diffusion.guidance.consistency import Neighbourhood, Reconciliation
from policies.diffusion.sampling import Sampler
from policies.diffusion.schedule import grid
from policies.trajectory.spline import basis

P, STOPS = 8, 17
LINE = torch.stack([torch.linspace(-0.5, 0.5, P), torch.zeros(P)], dim=1)


class Plain:
    """States are offsets of the control points between both ends from a straight line."""

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        inner = LINE[1:-1] + z.reshape(*z.shape[:-1], P - 2, 2).float()
        ends = LINE.expand(*inner.shape[:-2], P, 2)
        return torch.cat([ends[..., :1, :], inner, ends[..., -1:, :]], dim=-2)

    def encode(self, control: torch.Tensor) -> torch.Tensor:
        return (control[..., 1:-1, :] - LINE[1:-1]).flatten(-2).to(DOUBLE)


def hood(batch: int) -> Neighbourhood:
    """A peer that parks a little above the middle of the line."""
    return Neighbourhood(
        basis=torch.tensor(basis(P, STOPS).copy()),
        discs=torch.tensor([0.0, 0.04]).expand(batch, 1, STOPS, 2).contiguous(),
        radius=torch.full((batch, 1, STOPS), 0.2), weight=torch.ones(batch, 1), obstacles=None,
        clearance=torch.zeros(batch), step=0.05, speed=torch.ones(P - 1),
    )  # fmt: skip


def draw(vertical: float, guided: bool, backprop: bool) -> torch.Tensor:
    """Way-points of samples of a prior whose vertical offsets have that standard deviation."""
    spread = torch.tensor([0.05, vertical], dtype=DOUBLE).repeat(P - 2).square()
    prior = GaussianPrior(torch.zeros(2 * (P - 2), dtype=DOUBLE), torch.diag(spread))
    sampler = Sampler(PROCESS, _rows(prior), SOLVERS.create("ddim"), grid(PROCESS, 12), data_variance=0.05**2)
    term = Term(GUIDANCE.create("consistency", backprop=backprop), Reconciliation(Plain(), hood(6)))
    drawn = sampler.draw(keys(40, 6), (10, 2 * (P - 2)), [term] if guided else [], dtype=DOUBLE)
    return torch.tensor(basis(P, STOPS).copy()) @ Plain().decode(drawn)


def _rows(prior: GaussianPrior):  # type: ignore[no-untyped-def]
    """The prior over states [agents, samples, state]."""
    clean = prior.denoiser(PROCESS)
    return lambda x, t: clean(x.flatten(0, 1), t).reshape(x.shape)


def gap(ways: torch.Tensor) -> float:
    return float((ways - torch.tensor([0.0, 0.04])).norm(dim=-1).amin(-1).mean())


def test_both_forms_move_plans_away_from_a_peer() -> None:
    bare = gap(draw(0.05, guided=False, backprop=False))
    for backprop in (False, True):
        assert gap(draw(0.05, guided=True, backprop=backprop)) > 1.4 * bare


def test_through_the_network_pushes_keep_to_what_the_prior_allows() -> None:
    """Plans that may not leave the line vertically are pushed off it, unless the prior has its say."""
    free, filtered = (draw(0.001, guided=True, backprop=backprop) for backprop in (False, True))
    pushed = float(free[..., 1].abs().max())
    assert pushed > 10 * 0.001 and float(filtered[..., 1].abs().max()) < 0.3 * pushed


def test_isotropic_priors_make_both_forms_alike() -> None:
    both = [draw(0.05, guided=True, backprop=backprop) for backprop in (False, True)]
    torch.testing.assert_close(*both, atol=2e-3, rtol=0.0)
