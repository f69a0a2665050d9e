"""The trajectory prior: a network, a noise process and the scale of its data, as one file.

Weights are safetensors; what they mean (architecture, scale, training command, metrics) travels
in the file's metadata, so a checkpoint of another architecture is recognised before use.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from envs.errors import ConfigError
from policies.diffusion.process.cosine import CosineVP
from policies.networks.spline_mlp import SplineMLP
from policies.trajectory.context import feature_count

FORMAT = "agentsc-trajectory-prior/1"


@dataclass(frozen=True)
class PriorSpec:
    """Architecture of a trajectory prior.

    Attributes:
        control_points: of the clamped cubic spline. horizon_ticks: ticks that a plan spans.
        width, blocks: of the residual MLP.
    """

    control_points: int = 12
    horizon_ticks: int = 32
    width: int = 256
    blocks: int = 3

    @property
    def state_dim(self) -> int:
        """Free numbers of a plan: the first control point is given, the last equals the one before."""
        return (self.control_points - 2) * 2


class TrajectoryPrior:
    """p(z | c) over residuals of control points, by denoising diffusion (x0-prediction).

    Args:
        spec: architecture.
        scale: float32 [state_dim], standard deviation of the training residuals.
        card: training facts that travel with the weights.
    """

    def __init__(
        self,
        spec: PriorSpec,
        scale: NDArray[np.float32],
        card: dict[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        self.spec, self.card = spec, card or {}
        self.process = CosineVP()
        self.device = torch.device(device)
        self.network = SplineMLP(
            spec.state_dim, feature_count(spec.control_points), spec.width, spec.blocks
        ).to(self.device)
        self.scale = torch.as_tensor(scale, dtype=torch.float32, device=self.device)

    def round_weights(self) -> None:
        """Round weights to the half precision of the file, so that what is measured is what ships."""
        with torch.no_grad():
            for weight in self.network.parameters():  # not the clock's frequencies, which are not stored
                weight.copy_(weight.half())

    def save(self, path: Path) -> None:
        """Write weights (half precision), scale and card to ``path`` (replaced only when complete)."""
        tensors = {k: v.detach().cpu().half().contiguous() for k, v in self.network.state_dict().items()}
        tensors["scale"] = self.scale.cpu()
        metadata = {"format": FORMAT, "spec": json.dumps(asdict(self.spec)), "card": json.dumps(self.card)}
        partial = path.with_suffix(".partial")
        save_file(tensors, partial, metadata)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu") -> TrajectoryPrior:
        """Read a prior from a safetensors file.

        Raises:
            ConfigError: the file is missing, not a prior, corrupt, or does not fit its own spec.
        """
        path = Path(path)
        if not path.is_file():
            raise ConfigError(
                f"prior.weights must be a safetensors file, got {str(path)!r}, which does not exist "
                "(leave it out to use the shipped weights, or run agentsc train)"
            )
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata.get("format") != FORMAT:
                raise ConfigError(
                    f"prior.weights must hold a trajectory prior ({FORMAT}), got {path.name!r} "
                    f"with format {metadata.get('format')!r}"
                )
            spec = PriorSpec(**json.loads(metadata["spec"]))
            scale = tensors.pop("scale").numpy()
            if scale.shape != (spec.state_dim,):
                raise ValueError(f"scale has shape {scale.shape}, not ({spec.state_dim},)")
            prior = cls(spec, scale, json.loads(metadata["card"]), device)
            prior.network.load_state_dict({name: value.float() for name, value in tensors.items()})
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, ConfigError):
                raise
            cause = str(error).splitlines()[0][:120]
            raise ConfigError(
                f"prior.weights must be an intact checkpoint, got {path.name!r}, "
                f"which cannot be read ({cause}): "
                "train it again with agentsc train"
            ) from None
        prior.network.eval().requires_grad_(False)
        return prior

    def parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.network.parameters())


@dataclass(frozen=True)
class Denoiser:
    """The prior bound to one batch of conditions; counts its network calls and rows."""

    prior: TrajectoryPrior
    embedding: torch.Tensor
    modulations: dict[float, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def bind(cls, prior: TrajectoryPrior, features: torch.Tensor) -> Denoiser:
        """Embed conditions [agents, feature] once for all steps and samples."""
        return cls(prior, prior.network.embed(features))

    def __call__(self, x: torch.Tensor, t: float) -> torch.Tensor:
        """Clean estimate for x [agents, samples, state_dim] at time ``t``."""
        if t not in self.modulations:
            clock = torch.full((1,), t, device=x.device)
            self.modulations[t] = self.prior.network.modulations(self.embedding, clock)
        return self.prior.network(x, self.modulations[t])
