"""Post-training quantisation to int8: linear layers and convolutions with true integer products on the CPU.

Static: the range of every layer's input is observed once on calibration data, so a row is rounded
in the same way whatever batch it rides in. Weights have a scale per output, inputs a scale and a
zero point per layer; sums are 32-bit integers, hence exact. Everything that PyTorch is about to
move elsewhere (``torch.ops.quantized``, quantised tensors) stays behind this module.

Reference: Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", 2018, sections 2.1 and 2.2.

Processors without 8-bit dot products (VNNI) add pairs of products in 16 bits, which can saturate:
measure again there.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from envs.errors import ConfigError

Range = tuple[float, float]
Network = TypeVar("Network", bound=nn.Module)


def _round_into(made: Any, layer: nn.Linear | nn.Conv2d, seen: Range) -> None:
    """Fill the buffers of an int8 layer: weights in 127 steps a side per output, inputs in 255 over their range."""
    weight = layer.weight.detach().float()
    scale = weight.flatten(1).abs().amax(1).clamp_min(1e-8) / 127.0
    low, high = min(seen[0], 0.0), max(seen[1], 0.0)  # zero must be exact: it pads
    step = max(high - low, 1e-8) / 255.0
    made.weight.copy_((weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).round().clamp(-127, 127))
    made.weight_scale.copy_(scale)
    if layer.bias is not None:
        made.bias.copy_(layer.bias.detach())
    made.input_scale.fill_(step)
    made.input_zero.fill_(round(-low / step))


class Int8Linear(nn.Module):
    """A linear layer whose weights and inputs are rounded to eight bits.

    Inference only; output is float32. Fill it with `of` or by loading a state.
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor
    input_scale: torch.Tensor
    input_zero: torch.Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs))
        self.register_buffer("input_scale", torch.ones(1))
        self.register_buffer("input_zero", torch.zeros(1, dtype=torch.int32))
        self._packed: tuple[float, int, Any] | None = None

    @classmethod
    def of(cls, layer: nn.Linear, seen: Range) -> Int8Linear:
        """A float layer rounded, given the range of its inputs."""
        made = cls(layer.in_features, layer.out_features)
        _round_into(made, layer, seen)
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Affine map of x [..., inputs], float32."""
        if self._packed is None:
            self._packed = self._pack()
        scale, zero, packed = self._packed
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        return product(x.contiguous(), scale, zero, packed)

    def _pack(self) -> tuple[float, int, Any]:
        zeros = torch.zeros(len(self.weight), dtype=torch.long)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rounded = torch.quantize_per_channel(
                self.weight.float() * self.weight_scale[:, None], self.weight_scale, zeros, 0, torch.qint8
            )
            packed = torch.ops.quantized.linear_prepack(rounded, self.bias)
        return float(self.input_scale), int(self.input_zero), packed

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._packed = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Int8Linear:
        made = Int8Linear(self.weight.shape[1], self.weight.shape[0])
        made.load_state_dict(self.state_dict())
        return made


class Int8Conv2d(nn.Module):
    """A convolution whose weights and inputs are rounded to eight bits, weights with a scale per output channel.

    Inference only; output is float32. Fill it with `of` or by loading a state.

    Args:
        shape: of the weight, [outputs, inputs, height, width]. stride, padding: of the convolution.
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor
    input_scale: torch.Tensor
    input_zero: torch.Tensor

    def __init__(self, shape: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> None:
        super().__init__()
        self.stride, self.padding = list(stride), list(padding)
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(shape[0]))
        self.register_buffer("bias", torch.zeros(shape[0]))
        self.register_buffer("input_scale", torch.ones(1))
        self.register_buffer("input_zero", torch.zeros(1, dtype=torch.int32))
        self._packed: tuple[float, int, torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def of(cls, layer: nn.Conv2d, seen: Range) -> Int8Conv2d:
        """A float layer rounded, given the range of its inputs."""
        plain = _plain(layer)
        made = cls(tuple(plain.weight.shape), *_geometry(plain))
        _round_into(made, plain, seen)
        return made

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        """The convolution of x [batch, inputs, height, width]; x may come in parts of its channels.

        Args:
            parts: float32, or one of uint8 in this layer's own steps.
        """
        if self._packed is None:
            self._packed = self._pack()
        scale, zero, packed, zeros = self._packed
        rounded = parts[0] if parts[0].dtype == torch.uint8 else self._rounded(parts, scale, zero)
        return torch.ops.onednn.qconv2d_pointwise(
            rounded, scale, zero, packed, self.weight_scale, zeros, self.bias, self.stride, self.padding, [1, 1], 1,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip

    @staticmethod
    def _rounded(parts: Sequence[torch.Tensor], scale: float, zero: int) -> torch.Tensor:
        from policies.diffusion._int8_kernels import rounded

        batch, _, height, width = parts[0].shape
        channels = sum(part.shape[1] for part in parts)
        out, first = np.empty((batch, height * width, channels), np.uint8), 0
        for part in parts:
            rounded(_by_pixel(part.float()), 1.0 / scale, zero, first, out)
            first += part.shape[1]
        return _by_channel(out, torch.Size((batch, channels, height, width)))

    def _pack(self) -> tuple[float, int, torch.Tensor, torch.Tensor]:
        scale, zero = float(self.input_scale), int(self.input_zero)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            packed = torch.ops.onednn.qconv_prepack(
                self.weight, self.weight_scale, scale, zero, self.stride, self.padding, [1, 1], 1, None
            )
        return scale, zero, packed, torch.zeros(len(self.weight), dtype=torch.int64)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._packed = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Int8Conv2d:
        made = Int8Conv2d(tuple(self.weight.shape), tuple(self.stride), tuple(self.padding))
        made.load_state_dict(self.state_dict())
        return made


class Int8NormSiLU(nn.Module):
    """Group normalisation, modulation and SiLU that hand on steps of the int8 convolution that reads them.

    Between two integer convolutions numbers are then read once and a byte of each is written; in separate operations
    these took longer than the convolutions. Inference only.

    Args:
        normed: the float layer, a `NormSiLU`. reader: the convolution.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    input_scale: torch.Tensor
    input_zero: torch.Tensor

    def __init__(self, normed: nn.GroupNorm, reader: Int8Conv2d) -> None:
        super().__init__()
        self.groups, self.eps = normed.num_groups, normed.eps
        self.register_buffer("weight", normed.weight.detach().float().clone())
        self.register_buffer("bias", normed.bias.detach().float().clone())
        self.register_buffer("input_scale", reader.input_scale.clone())
        self.register_buffer("input_zero", reader.input_zero.clone())

    def forward(
        self, x: torch.Tensor, level: torch.Tensor | None = None, place: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `NormSiLU`, uint8."""
        from policies.diffusion._int8_kernels import norm_silu_round

        pixels = _by_pixel(x)
        out = np.empty(pixels.shape, np.uint8)
        norm_silu_round(
            pixels, self.weight.numpy(), self.bias.numpy(),
            np.empty((0, 0), np.float32) if level is None else level.contiguous().numpy(),
            np.empty((0, 0, 0), np.float32) if place is None else _by_pixel(place), self.groups, self.eps,
            1.0 / float(self.input_scale), float(self.input_zero), out,
        )  # fmt: skip
        return _by_channel(out, x.shape)


def _by_pixel(x: torch.Tensor) -> NDArray[np.float32]:
    """[batch, channels, height, width] → [batch, height · width, channels], a copy only if channels are not last."""
    pixels: NDArray[np.float32] = x.detach().movedim(1, 3).flatten(1, 2).contiguous().numpy()
    return pixels


def _by_channel(pixels: NDArray[np.uint8], shape: torch.Size) -> torch.Tensor:
    """The inverse of `_by_pixel`, on the same memory."""
    batch, channels, height, width = shape
    return torch.from_numpy(pixels).reshape(batch, height, width, channels).movedim(3, 1)


def _plain(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer as a convolution and nothing else, where it can say how."""
    plain: Callable[[], nn.Conv2d] | None = getattr(layer, "plain", None)
    return plain() if plain is not None else layer


def _geometry(layer: nn.Conv2d) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Stride and padding.

    Raises:
        ConfigError: a kind of convolution that has no int8 counterpart here.
    """
    plain = layer.groups == 1 and tuple(layer.dilation) == (1, 1) and layer.padding_mode == "zeros"
    if not plain or isinstance(layer.padding, str):
        raise ConfigError(
            f"layer must be a plain convolution with padding in numbers to become int8, got {layer} (name it in keep)"
        )
    return tuple(layer.stride), tuple(layer.padding)


def int8_bytes(network: nn.Module) -> int:
    """Bytes that the weights of a network take: one for each int8 number, two (half precision) for any other."""
    return sum(
        value.numel() * (1 if value.dtype == torch.int8 else 2) for value in network.state_dict().values()
    )


def observe(network: nn.Module, run: Callable[[], object]) -> dict[str, Range]:
    """Least and greatest input of every linear layer and convolution while ``run`` calls the network on some data."""
    seen: dict[str, Range] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def note(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            low, high = seen.get(name, (0.0, 0.0))
            least, greatest = min(float(part.min()) for part in inputs), max(float(part.max()) for part in inputs)
            seen[name] = (min(low, least), max(high, greatest))

        return note

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in _layers(network).items()]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def quantise(network: Network, seen: Mapping[str, Range], keep: Collection[str] = ()) -> Network:
    """A copy whose linear layers and convolutions, but for those named in ``keep``, are int8.

    Raises:
        ConfigError: a layer that calibration has not seen, or an unusual convolution.
    """
    made = copy.deepcopy(network)
    for name, layer in _layers(made).items():
        if name in keep:
            continue
        if name not in seen:
            raise ConfigError(
                f"seen must hold the input range of layer {name!r} (calibrate with data that use it)"
            )
        kind = Int8Linear if isinstance(layer, nn.Linear) else Int8Conv2d
        _put(made, name, kind.of(layer, seen[name]))  # type: ignore[arg-type]
    return _joined(made)


def prepare(network: Network, state: Mapping[str, torch.Tensor]) -> Network:
    """The network with int8 layers, still to be filled, where ``state`` holds int8 weights."""
    for name, layer in _layers(network).items():
        if f"{name}.weight" not in state or state[f"{name}.weight"].dtype != torch.int8:
            continue
        if isinstance(layer, nn.Linear):
            _put(network, name, Int8Linear(layer.in_features, layer.out_features))
        else:
            plain = _plain(layer)
            _put(network, name, Int8Conv2d(tuple(plain.weight.shape), *_geometry(plain)))
    return _joined(network)


def _joined(network: Network) -> Network:
    """With normalisations that hand on steps wherever a block says that an int8 convolution alone reads them."""
    for block in network.modules():
        for before, after in getattr(block, "feeds", {}).items():
            reader = getattr(block, after)
            if isinstance(reader, Int8Conv2d):
                setattr(block, before, Int8NormSiLU(getattr(block, before), reader))
    return network


def _layers(network: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}


def _put(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, layer)
