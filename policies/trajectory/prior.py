"""The trajectory prior: a network, a noise process and the scale of its data, as one file.

Weights are safetensors; what they mean (architecture, scale, training command, metrics) travels
in the file's metadata, so a checkpoint of another architecture is recognised before use.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from envs import keyed
from envs.errors import ConfigError
from policies.diffusion.guidance import Term
from policies.diffusion.guidance.classifier_free import ClassifierFree, Unconditional
from policies.diffusion.process.cosine import CosineVP
from policies.diffusion.quantisation import observe, prepare, quantise
from policies.diffusion.sampling import Sampler, guide
from policies.diffusion.schedule import grid
from policies.diffusion.solvers import Denoise
from policies.diffusion.solvers.ddim import DDIM
from policies.networks.spline_mlp import SplineMLP
from policies.trajectory.context import feature_count

FORMAT = "agentsc-trajectory-prior/1"
FORMAT_INT8 = "agentsc-trajectory-prior-int8/1"
TIME_POWER = 1.5
"""Diffusion times get denser towards 0, where narrow passages are settled."""
WEIGHTS = Path(__file__).parents[1] / "weights"
"""Where shipped priors are."""
Precision = Literal["float32", "bfloat16", "int8"]
_FLOAT_LAYERS = ("encoder.0", "entry", "exit")
"""What int8 leaves alone: raw conditions lose too much by one scale, states are too narrow to gain."""


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

    Attributes:
        precision: what the network's blocks compute in.
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
        self.precision: Precision = "float32"
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

    def bfloat16(self) -> TrajectoryPrior:
        """A copy that computes in bfloat16; states, times and the solver's arithmetic stay float32."""
        made = self._with(copy.deepcopy(self.network), "bfloat16")
        made.network.bfloat16()
        made.network.frequency = self.network.get_buffer("frequency")
        return made

    def int8(
        self, features: Iterable[NDArray[np.float32]], samples: int = 4, steps: int = 5
    ) -> TrajectoryPrior:
        """A copy with int8 layers, calibrated by sampling it; runs on a CPU.

        Args:
            features: conditions [agents, feature] of problems to calibrate on, e.g. one array a map.
            samples, steps: drawn per condition, with DDIM.
        """

        def run() -> None:
            for number, rows in enumerate(features):
                keys = keyed.hash_words(number, np.arange(len(rows)))
                sampler = Sampler(
                    self.process, Denoiser.bind(self, torch.as_tensor(rows)), DDIM(eta=0.0), self.times(steps)
                )
                sampler.draw(keys, (samples, self.spec.state_dim))

        network = quantise(self.network, observe(self.network, run), _FLOAT_LAYERS)
        return self._with(network, "int8")

    def _with(self, network: SplineMLP, precision: Precision) -> TrajectoryPrior:
        made = copy.copy(self)
        made.network, made.precision = network, precision
        return made

    @property
    def dtype(self) -> torch.dtype:
        """Of the features between the blocks."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def save(self, path: Path) -> None:
        """Write weights (half precision or int8), scale and card to ``path``, replaced only when complete."""
        state = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        whole = self.precision == "int8"
        # The scales of int8 layers keep their digits; what stays floating point is stored as ever.
        half = {name: not whole or name.startswith(_FLOAT_LAYERS) for name in state}
        tensors = {name: value.half() if half[name] else value for name, value in state.items()}
        tensors["scale"] = self.scale.cpu()
        metadata = {
            "format": FORMAT_INT8 if whole else FORMAT,
            "spec": json.dumps(asdict(self.spec)),
            "card": json.dumps(self.card),
        }
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
            if metadata.get("format") not in (FORMAT, FORMAT_INT8):
                raise ConfigError(
                    f"prior.weights must hold a trajectory prior ({FORMAT} or {FORMAT_INT8}), "
                    f"got {path.name!r} with format {metadata.get('format')!r}"
                )
            spec = PriorSpec(**json.loads(metadata["spec"]))
            scale = tensors.pop("scale").numpy()
            if scale.shape != (spec.state_dim,):
                raise ValueError(f"scale has shape {scale.shape}, not ({spec.state_dim},)")
            prior = cls(spec, scale, json.loads(metadata["card"]), device)
            if metadata["format"] == FORMAT_INT8:
                if prior.device.type != "cpu":
                    raise ConfigError(
                        f"device must be cpu for the int8 weights {path.name!r}, got {device!r}"
                    )
                prior = prior._with(prepare(prior.network, tensors), "int8")
            prior.network.load_state_dict(tensors)
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

    def times(self, steps: int) -> list[float]:
        """The sampler's grid: denser towards 0, where narrow passages are settled."""
        return grid(self.process, steps, "power", power=TIME_POWER)

    def parameters(self) -> int:
        """Number of weights, whatever their precision."""
        state = self.network.state_dict()
        return sum(value.numel() for name, value in state.items() if name.endswith(("weight", "bias")))


@dataclass
class Denoiser:
    """The prior bound to one batch of conditions; counts its network calls."""

    prior: TrajectoryPrior
    embedding: torch.Tensor
    modulations: dict[float, torch.Tensor] = field(default_factory=dict)
    calls: float = 0.0

    @classmethod
    def bind(cls, prior: TrajectoryPrior, features: torch.Tensor) -> Denoiser:
        """Embed conditions [agents, feature] once for all steps and samples."""
        return cls(prior, prior.network.embed(features.to(prior.dtype)))

    def __call__(self, x: torch.Tensor, t: float) -> torch.Tensor:
        """Clean estimate for x [agents, samples, state_dim] at time ``t``."""
        self.calls += 1.0
        return self.prior.network(x.to(self.prior.dtype), self.at(t)).to(x.dtype)

    def at(self, t: float) -> torch.Tensor:
        """What modulates the network's blocks at time ``t``."""
        if t not in self.modulations:
            clock = torch.full((1,), t, device=self.embedding.device)
            self.modulations[t] = self.prior.network.modulations(self.embedding, clock)
        return self.modulations[t]

    def guided(self, weight: float) -> Denoise:
        """Under classifier-free guidance of that weight; two calls each."""
        null = Denoiser.bind(
            self.prior, self.embedding.new_zeros(1, feature_count(self.prior.spec.control_points))
        )

        def untold(x: torch.Tensor, t: float) -> torch.Tensor:
            self.calls += 1.0
            return null(x, t)

        return guide(self.prior.process, self, [Term(ClassifierFree(weight=weight), Unconditional(untold))])


@dataclass(frozen=True)
class SplitDenoiser:
    """A bound prior in two parts, for caches: the first ``depth`` blocks, and the rest."""

    denoiser: Denoiser
    depth: int = 1

    def shallow(self, x: torch.Tensor, t: float) -> torch.Tensor:
        """Features [agents, samples, width] after the first blocks."""
        network = self._network
        self.denoiser.calls += self.depth / network.blocks
        return network.through(
            network.entry(x.to(self.denoiser.prior.dtype)), self.denoiser.at(t), 0, self.depth
        )

    def deep(self, hidden: torch.Tensor, t: float) -> torch.Tensor:
        """What the other blocks add to them."""
        network = self._network
        self.denoiser.calls += 1.0 - self.depth / network.blocks
        return network.through(hidden, self.denoiser.at(t), self.depth, network.blocks) - hidden

    def finish(self, hidden: torch.Tensor, x: torch.Tensor, t: float) -> torch.Tensor:
        """Clean estimate from the features after the last block."""
        return self._network.exit(hidden).to(x.dtype)

    @property
    def _network(self) -> SplineMLP:
        return self.denoiser.prior.network
