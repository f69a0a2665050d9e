"""Scene networks as models of the diffusion core: coding, understanding, and sampling given what was received."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from envs.errors import ConfigError
from policies import rows
from policies.diffusion import GUIDANCE, SOLVERS
from policies.diffusion.compose import joint
from policies.diffusion.guidance import Term
from policies.diffusion.operators import Measurement, Retained
from policies.diffusion.process import Process
from policies.diffusion.sampling import KeyedNoise, Sampler
from policies.diffusion.schedule import Spacing, grid
from policies.diffusion.solvers import Denoise
from policies.models import Meter, Model, Precision, Reply, Request, autocast, check_keys, check_rows, device_of
from policies.requests import Report
from policies.scene.blind import BlindChannel, BlindReception, Gains, Updates
from policies.scene.codec import ImageCodec, estimate, faded

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CodecRequest:
    """Images to be coded, or symbols to be decoded.

    Attributes:
        model: name. keys: uint64 [batch], only counted. what: encode or decode.
        rows: float32 [batch, *shape] in [−1, 1], or estimates of symbols [batch, n, 2].
        snr_db: float32 [batch], what the sender expects. count: symbols of an image.
        variance: float32 [batch, n], of the symbols given what was received; None to encode.
    """

    model: str
    keys: NDArray[np.uint64]
    what: Literal["encode", "decode"]
    rows: Floats
    snr_db: Floats
    count: int
    variance: Floats | None = None


@dataclass(frozen=True)
class CodecReply:
    """rows: symbols float32 [batch, n, 2], or images [batch, *shape]. report: how it was served."""

    rows: Floats
    report: Report | None = None


@dataclass(frozen=True)
class SceneRequest:
    """Images to be understood. model: name. keys: uint64 [batch], only counted. x: float32 [batch, 3, H, W]."""

    model: str
    keys: NDArray[np.uint64]
    x: Floats


@dataclass(frozen=True)
class SceneReply:
    """labels: uint8 [batch, H, W]. features: float32 [batch, features]. report: how it was served.

    scores: float32 [batch, classes, H, W], natural logarithms of the classes' probabilities up to a constant.
    """

    labels: NDArray[np.uint8]
    features: Floats
    scores: Floats
    report: Report | None = None


@dataclass(frozen=True)
class Echoes:
    """What a receiver knows of impulse responses: taps ~ CN(mean, variance), independent.

    Attributes:
        mean: float32 [batch, L, 2], complex. variance: float32 [batch, L]. noise: float32 [batch], N0 alone.
        carriers: S; symbol k has the gain Σ_l h_l exp(−2πi (k mod S) l / S).
    """

    mean: Floats
    variance: Floats
    noise: Floats
    carriers: int = 1


@dataclass(frozen=True)
class Arrival:
    """What a receiver holds of a batch of images, r = g s + w.

    Attributes:
        received, gain: float32 [batch, n, 2], complex. noise_variance: float32 [batch], E|w|² and what the error of
            gains adds.
        snr_db: float32 [batch], what the sender expected.
        echoes: for receivers that estimate gains themselves; None if they cannot.
        link_snr_db: float32 [batch], mean of the link; as expected if None.
    """

    received: Floats
    gain: Floats
    noise_variance: Floats
    snr_db: Floats
    echoes: Echoes | None = None
    link_snr_db: Floats | None = None


@dataclass(frozen=True)
class ImageRequest:
    """Images to be drawn given what was received.

    Attributes:
        model: name. keys: uint64 [batch]; all noise of a row comes from its key.
        arrival: what was received; None draws from the prior, or around ``start``.
        guidance: how samples follow it, ``NAME:key=value,…`` of `agentsc list guidance`; empty for not at all.
        confirm: how they follow that what they would make the receiver's decoder say is what it said; empty for not
            at all.
        start: float32 [batch, *shape] in [−1, 1], clean guesses that sampling starts around, or None.
        start_ratio: noise-to-signal ratio σ/α that sampling starts at.
        solver: ``NAME:key=value,…``. steps, spacing, last_ratio: of the grid, see `schedule.grid`.
        blind: how gains are found along with the image, see `blind.Updates`; empty takes those of the arrival. Needs
            ``arrival.echoes`` and ``guidance``.
    """

    model: str
    keys: NDArray[np.uint64]
    arrival: Arrival | None = None
    guidance: str = ""
    confirm: str = ""
    start: Floats | None = None
    start_ratio: float = 10.0
    solver: str = "dpm-solver++"
    steps: int = 20
    spacing: Spacing = "log-snr"
    last_ratio: float = 0.02
    blind: Updates | Literal[""] = ""


@dataclass(frozen=True)
class ImageReply:
    """Images.

    Attributes:
        x: float32 [batch, *shape], not clipped. calls: int64 [batch], network calls of each. report: as ever.
        gain: float32 [batch, n, 2], complex, where gains were asked for.
    """

    x: Floats
    calls: NDArray[np.int64]
    report: Report | None = None
    gain: Floats | None = None


class EvenModel(Model[Request, Reply]):
    """A model whose batches are filled up to multiples of sixteen rows.

    Convolutions compute the last rows of other batches by another kernel, and differ in the last bit.
    """

    def sample(self, request: Request, meter: Meter) -> Reply:
        size = len(request.keys)  # type: ignore[attr-defined]
        if size % self.smallest == 0:
            return self.serve(request, meter)
        filled = np.concatenate([np.arange(size), np.zeros(-size % self.smallest, np.intp)])
        return rows.take(self.serve(rows.take(request, filled), meter), slice(size))

    @abstractmethod
    def serve(self, request: Request, meter: Meter) -> Reply:
        """As `sample`."""


class CodecModel(EvenModel[CodecRequest, CodecReply]):
    """An image codec. codec: to be served. device: where it lives."""

    def __init__(self, codec: ImageCodec, device: str = "cpu") -> None:
        self.codec, self.device = codec, device_of(device)

    def check(self, request: CodecRequest) -> None:
        check_keys(request.keys)
        batch = len(request.keys)
        if request.what not in ("encode", "decode") or request.count not in self.codec.counts:
            raise ConfigError(
                f"count must be one of {list(self.codec.counts)} and what encode or decode, got {request.count} and "
                f"{request.what!r}"
            )
        check_rows("snr_db", request.snr_db, batch, ())
        check_rows("rows", request.rows, batch, self.codec.shape if request.what == "encode" else (request.count, 2))
        if request.what == "decode":
            variance = np.empty(0) if request.variance is None else request.variance
            check_rows("variance", variance, batch, (request.count,))

    def key(self, request: CodecRequest) -> Hashable:
        return request.what, request.count

    def serve(self, request: CodecRequest, meter: Meter) -> CodecReply:
        values, snr_db = tensor_of(request.rows, self.device), tensor_of(request.snr_db, self.device)
        with torch.no_grad(), meter.forward(len(values)):
            if request.what == "encode":
                made = self.codec.encode(values, snr_db, request.count)
            else:
                assert request.variance is not None
                made = self.codec.decode(values, tensor_of(request.variance, self.device), snr_db)
        return CodecReply(made.float().cpu().numpy())


class SceneModel(EvenModel[SceneRequest, SceneReply]):
    """A segmenter with features. network: `SceneNet`, in evaluation mode. device: where it lives."""

    def __init__(self, network: torch.nn.Module, device: str = "cpu") -> None:
        self.network, self.device = network, device_of(device)

    def check(self, request: SceneRequest) -> None:
        check_keys(request.keys)
        check_rows("x", request.x, len(request.keys))

    def key(self, request: SceneRequest) -> Hashable:
        return request.x.shape[1:]

    def serve(self, request: SceneRequest, meter: Meter) -> SceneReply:
        with torch.no_grad(), meter.forward(len(request.x)):
            scores, features = self.network(tensor_of(request.x, self.device))
        labels = scores.argmax(1).to(torch.uint8).cpu().numpy()
        return SceneReply(labels, features.float().cpu().numpy(), scores.float().cpu().numpy())


class ImageModel(EvenModel[ImageRequest, ImageReply]):
    """Images from a diffusion prior, or from its posterior given symbols that crossed a channel.

    The measurement is y = g ⊙ E(x) + w with the encoder E of the codec, both sides divided by the noise's standard
    deviation per real number, so that images of different noise ride together. Guidance sees a nonlinear operator and
    differentiates through the encoder.

    Args:
        denoise: (x float32 [batch, *shape], time) → clean estimate. process: the noise that it removes.
        codec: what senders use. data_variance: of one number of the data.
        device: where all of it lives. precision: of the prior's forward passes.
    """

    def __init__(
        self,
        denoise: Denoise,
        process: Process,
        codec: ImageCodec,
        *,
        data_variance: float = 1.0,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.device, self.precision = device_of(device), precision
        autocast(self.device, precision)
        self.denoise, self.process, self.codec, self.data_variance = denoise, process, codec, data_variance

    def check(self, request: ImageRequest) -> None:
        check_keys(request.keys)
        batch = len(request.keys)
        if not 0.0 < request.start_ratio < np.inf:
            raise ConfigError(
                f"start_ratio must be positive and finite, got {request.start_ratio:g} (σ/α at the start)"
            )
        if request.start is not None:
            check_rows("start", request.start, batch, self.codec.shape)
        if request.arrival is None:
            if request.guidance or request.confirm:
                raise ConfigError("arrival must be given with guidance or confirm, got none (what was received)")
        else:
            heard = request.arrival
            check_rows("arrival.received", heard.received, batch)
            count = heard.received.shape[1] if heard.received.ndim == 3 else -1
            if count not in self.codec.counts:
                raise ConfigError(
                    f"arrival.received must be [{batch}, n, 2] with n one of {list(self.codec.counts)}, got "
                    f"{list(heard.received.shape)}"
                )
            check_rows("arrival.received", heard.received, batch, (count, 2))
            check_rows("arrival.gain", heard.gain, batch, (count, 2))
            for name in ("noise_variance", "snr_db"):
                check_rows(f"arrival.{name}", getattr(heard, name), batch, ())
            if not (heard.noise_variance > 0.0).all():
                row = int(np.flatnonzero(~(heard.noise_variance > 0.0))[0])
                bad = heard.noise_variance[row]
                raise ConfigError(f"arrival.noise_variance must be positive, got {bad:g} in row {row}")
        if request.blind:
            echoes = None if request.arrival is None else request.arrival.echoes
            if echoes is None or not request.guidance or request.confirm:
                raise ConfigError("blind must come with arrival.echoes and guidance, and without confirm")
            if request.blind not in get_args(Updates):
                raise ConfigError(f"blind must be one of {', '.join(get_args(Updates))}, got {request.blind!r}")
            check_echoes(echoes, batch)
        SOLVERS.parse(request.solver)
        for spec in (request.guidance, request.confirm):
            if spec:
                GUIDANCE.parse(spec)
        self._times(request)

    def key(self, request: ImageRequest) -> Hashable:
        count = None if request.arrival is None else request.arrival.received.shape[1]
        return (
            count, request.guidance, request.confirm, request.start is None, request.start_ratio, request.solver,
            request.steps, request.spacing, request.last_ratio, request.blind,
            None if request.arrival is None or request.arrival.echoes is None else request.arrival.echoes.carriers,
        )  # fmt: skip

    def serve(self, request: ImageRequest, meter: Meter) -> ImageReply:
        before = meter.calls

        def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
            with meter.forward(len(x)), autocast(self.device, self.precision):
                return self.denoise(x, t).float()

        times = self._times(request)
        if request.blind:
            return self._blindly(request, denoise, times, meter)
        noise = KeyedNoise(request.keys, self.codec.shape, device=self.device)
        sampler = Sampler(
            self.process, denoise, SOLVERS.parse(request.solver), times, noise, data_variance=self.data_variance
        )
        with torch.no_grad():
            x = self.process.sigma(times[0]) * noise.initial()
            if request.start is not None:
                x = self.process.alpha(times[0]) * tensor_of(request.start, self.device) + x
            x = sampler.run(x, self.terms(request))
        return ImageReply(x.cpu().numpy(), np.full(len(x), meter.calls - before))

    def _blindly(self, request: ImageRequest, denoise: Denoise, times: list[float], meter: Meter) -> ImageReply:
        """Image and gains at once: rows of the image's numbers and two for each tap."""
        before, heard = meter.calls, request.arrival
        assert heard is not None and heard.echoes is not None and request.blind
        received, snr_db = (tensor_of(each, self.device) for each in (heard.received, heard.snr_db))
        count, size = received.shape[1], math.prod(self.codec.shape)

        def symbols(x: torch.Tensor) -> torch.Tensor:
            return self.codec.encode(x.unflatten(1, self.codec.shape), snr_db, count)

        mean, variance, noise_variance = (
            tensor_of(each, self.device) for each in (heard.echoes.mean, heard.echoes.variance, heard.echoes.noise)
        )
        gains = Gains(mean, variance, heard.echoes.carriers)
        term = BlindChannel(likelihood=GUIDANCE.parse(request.guidance), updates=request.blind)
        problem = BlindReception(received, symbols, gains, noise_variance, size, times)
        numbers = size + 2 * gains.taps
        noise = KeyedNoise(request.keys, (numbers,), device=self.device)
        both = joint([(denoise, self.codec.shape), (gains.denoiser(self.process), (2 * gains.taps,))])
        sampler = Sampler(
            self.process, both, SOLVERS.parse(request.solver), times, noise, data_variance=self.data_variance
        )
        with torch.no_grad():
            x = self.process.sigma(times[0]) * noise.initial()
            if request.start is not None:
                guess = tensor_of(request.start, self.device).flatten(1)
                taps = torch.view_as_real(problem.posterior(symbols(guess)).mean).flatten(1)
                x += self.process.alpha(times[0]) * torch.cat([guess, taps.to(guess)], dim=1)
            x = sampler.run(x, [Term(term, problem)])
            image = x[:, :size]
            # Of a known image the posterior of the gains is Gaussian, and its mean is the best that can be said.
            found = problem.posterior(symbols(image.clamp(-1.0, 1.0)))
            gain = gains.response(found.mean, count)
        return ImageReply(
            image.unflatten(1, self.codec.shape).cpu().numpy(), np.full(len(x), meter.calls - before), None,
            torch.view_as_real(gain).float().cpu().numpy(),
        )  # fmt: skip

    def terms(self, request: ImageRequest) -> list[Term]:
        """Guidance terms of a request that was checked."""
        heard = request.arrival
        if heard is None:
            return []
        received, gain = tensor_of(heard.received, self.device), tensor_of(heard.gain, self.device)
        noise_variance, snr_db = tensor_of(heard.noise_variance, self.device), tensor_of(heard.snr_db, self.device)
        scale = (2.0 / noise_variance).sqrt()[:, None, None]
        count = received.shape[1]

        def heard_of(x: torch.Tensor) -> torch.Tensor:
            return (scale * faded(self.codec.encode(x, snr_db, count), gain)).flatten(1)

        def said(symbols: torch.Tensor) -> torch.Tensor:
            return self.codec.decode(*estimate(symbols, gain, noise_variance), snr_db).flatten(1)

        made: list[Term] = []
        if request.guidance:
            seen = Measurement((scale * received).flatten(1), Retained(heard_of), 1.0)
            made.append(Term(GUIDANCE.parse(request.guidance), seen))
        if request.confirm:
            again = Retained(lambda x: said(faded(self.codec.encode(x, snr_db, count), gain)))
            made.append(Term(GUIDANCE.parse(request.confirm), Measurement(said(received), again, 1.0)))
        return made

    def _times(self, request: ImageRequest) -> list[float]:
        start = self.process.time_of(request.start_ratio)
        if request.spacing not in ("log-snr", "karras"):
            return grid(self.process, request.steps, request.spacing, start=start)
        return grid(
            self.process, request.steps, request.spacing, start=start,
            last_ratio=min(request.last_ratio, 0.5 * request.start_ratio),
        )  # fmt: skip


def check_echoes(echoes: Echoes, batch: int) -> None:
    """Raises:
    ConfigError: shapes that do not fit, or variances that are negative, or noise that is not positive.
    """
    taps = echoes.mean.shape[1] if echoes.mean.ndim == 3 else -1
    check_rows("arrival.echoes.mean", echoes.mean, batch, (taps, 2))
    check_rows("arrival.echoes.variance", echoes.variance, batch, (taps,))
    check_rows("arrival.echoes.noise", echoes.noise, batch, ())
    if (echoes.variance < 0.0).any() or not (echoes.noise > 0.0).all() or not 0 < taps <= max(echoes.carriers, 1):
        raise ConfigError(
            "arrival.echoes must have variances of at least 0, positive noise and at most as many taps as carriers, got"
            f" {echoes.variance.min():g}, {echoes.noise.min():g} and {taps} of {echoes.carriers}"
        )


def tensor_of(array: NDArray, device: torch.device) -> torch.Tensor:
    array = np.ascontiguousarray(array, np.float32)
    return torch.as_tensor(array if array.flags.writeable else array.copy(), device=device)
