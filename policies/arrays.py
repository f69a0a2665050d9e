"""Any denoiser as a model of the core: images, semantic maps, channel responses.

prior = GaussianPrior(mean, covariance, (3, 8, 8))
model = ArrayModel(prior.denoiser(process), process, (3, 8, 8), operators={"left half": Mask(keep)})
core = DiffusionCore({"maps": model})
seen = Observation(y, "left half", 0.1, "pigdm")
core.sample(ArrayRequest("maps", keys, seen)).x
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from envs.errors import ConfigError, unknown_name
from policies.diffusion import GUIDANCE, SOLVERS
from policies.diffusion.guidance import Guidance, Term
from policies.diffusion.operators import Linear, Measurement, Operator
from policies.diffusion.process import Process
from policies.diffusion.sampling import KeyedNoise, Sampler
from policies.diffusion.schedule import Spacing, grid
from policies.diffusion.solvers import Denoise
from policies.models import Meter, Model, Precision, autocast, check_keys, check_rows, device_of
from policies.requests import ArrayReply, ArrayRequest, Observation


class ArrayModel(Model[ArrayRequest, ArrayReply]):
    """Samples of one shape from a denoiser, or from its posterior given measurements.

    Args:
        denoise: (x float32 [batch, *shape], time) → clean estimate; rows must not influence each other.
        process: the noise that it removes. shape: of one sample.
        solver: ``NAME:key=value,…``, see agentsc list solvers. steps, spacing: of the grid, see `schedule.grid`.
        operators: name → what requests may have measured.
        terms: guidance of every sample, before that of the request's observation.
        data_variance: of one number of the data, for guidance that does without the Jacobian.
        device: where ``denoise`` and operators live. precision: of forward passes.

    Raises:
        ConfigError: fewer than one step, an unknown solver, precision or device.
    """

    def __init__(
        self,
        denoise: Denoise,
        process: Process,
        shape: tuple[int, ...],
        *,
        solver: str = "dpm-solver++",
        steps: int = 20,
        spacing: Spacing = "angle",
        operators: Mapping[str, Operator] | None = None,
        terms: Sequence[Term] = (),
        data_variance: float = 1.0,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.device, self.precision, self.shape = device_of(device), precision, shape
        autocast(self.device, precision)
        times = grid(process, steps, spacing)
        self._sampler = Sampler(process, denoise, SOLVERS.parse(solver), times, data_variance=data_variance)
        self._steps, self._spacing = steps, spacing
        self._operators, self._terms = dict(operators or {}), list(terms)

    def check(self, request: ArrayRequest) -> None:
        check_keys(request.keys)
        batch = len(request.keys)
        if request.start is not None:
            check_rows("start", request.start, batch, self.shape)
        elif request.start_time != 1.0:
            raise ConfigError(
                f"start_time must be 1 without a start, got {request.start_time} (give a start)"
            )
        if not 0.0 < request.start_time <= 1.0:
            raise ConfigError(f"start_time must be in (0, 1], got {request.start_time} (diffusion time)")
        if request.observation is not None:
            check_rows("observation.y", request.observation.y, batch)
            _guidance(request.observation)
            seen = self._measurement(request.observation)
            seen.operator.check(torch.zeros(batch, *self.shape, device=self.device), seen.y)

    def key(self, request: ArrayRequest) -> Hashable:
        seen, measured = request.observation, None
        if seen is not None:
            operator = seen.operator if isinstance(seen.operator, str) else seen.operator.shape[1:]
            measured = operator, seen.noise, seen.guidance
        return request.start is None, request.start_time, measured

    def sample(self, request: ArrayRequest, meter: Meter) -> ArrayReply:
        sampler, process = self._sampler, self._sampler.process

        def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
            with meter.forward(len(x)), autocast(self.device, self.precision):
                return sampler.denoise(x, t).float()

        times = sampler.times
        if request.start_time != 1.0:
            times = grid(process, self._steps, self._spacing, start=request.start_time)
        noise = KeyedNoise(request.keys, self.shape, device=self.device)
        terms = list(self._terms)
        if request.observation is not None:
            terms.append(Term(_guidance(request.observation), self._measurement(request.observation)))
        with torch.no_grad():
            x = process.sigma(times[0]) * noise.initial()
            if request.start is not None:
                x = process.alpha(times[0]) * self._tensor(request.start) + x
            # Not `Sampler.draw`: a row that is not finite must not cost the others their samples.
            x = replace(sampler, denoise=denoise, times=times, noise=noise).run(x, terms)
        return ArrayReply(x.cpu().numpy())

    def _measurement(self, seen: Observation) -> Measurement:
        if isinstance(seen.operator, str):
            if seen.operator not in self._operators:
                raise unknown_name("observation.operator", seen.operator, self._operators)
            operator = self._operators[seen.operator]
        else:
            check_rows("observation.operator", seen.operator, len(seen.y))
            operator = Linear(self._tensor(seen.operator))
        return Measurement(self._tensor(seen.y), operator, seen.noise)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        array = np.ascontiguousarray(array, np.float32)
        return torch.as_tensor(array if array.flags.writeable else array.copy(), device=self.device)


def _guidance(seen: Observation) -> Guidance:
    if isinstance(seen.guidance, Guidance):
        return seen.guidance
    found: Guidance = GUIDANCE.parse(seen.guidance)
    return found
