"""Scene networks as files: safetensors in half precision, with architecture and card in the metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from envs.errors import ConfigError, unknown_name
from policies.models import device_of
from policies.networks.conditional import ConditionalUNet
from policies.networks.context_net import ContextNet
from policies.networks.jscc import DeepJSCC
from policies.networks.map_jscc import MapJSCC
from policies.networks.map_net import MapNet
from policies.networks.scene_net import SceneNet
from policies.networks.spade_unet import SpadeUNet
from policies.networks.transform_code import TransformCode
from policies.networks.unet import UNet

FORMAT = "agentsc-scene/1"
WEIGHTS = Path(__file__).parents[1] / "weights"
"""Where shipped networks are."""
NETWORKS: dict[str, type[nn.Module]] = {
    "conditional": ConditionalUNet,
    "jscc": DeepJSCC,
    "ntc": TransformCode,
    "scene-prior": UNet,
    "segmenter": SceneNet,
    "map-coder": ContextNet,
    "soft-map": MapJSCC,
    "map-prior": UNet,
    "map-to-scene": SpadeUNet,
    "occupancy-prior": MapNet,
}
"""Kind of a file → its network."""


def round_weights(network: nn.Module) -> None:
    """Round to the half precision of the file, so that what is measured is what ships."""
    if isinstance(network, ContextNet):
        network.rounded()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight.half())


def save(path: Path, kind: str, spec: dict[str, Any], network: nn.Module, card: dict[str, Any]) -> None:
    """Write a network; the file is replaced only when complete.

    Args:
        kind: a key of `NETWORKS`. spec: arguments of its constructor, and numbers that belong to the weights.
        card: training facts that travel with them.
    """
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in network.state_dict().items()}
    metadata = {"format": FORMAT, "kind": kind, "spec": json.dumps(spec), "card": json.dumps(card)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata)
    partial.replace(path)


def load(kind: str, path: Path | str | None = None, device: str = "cpu") -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """(network for evaluation, spec, card) of a file; by default the shipped one of that kind.

    Raises:
        ConfigError: the file is missing, of another kind, corrupt, or does not fit its own spec; no such device.
    """
    place = device_of(device)
    file = Path(path) if path is not None else WEIGHTS / f"{kind}.safetensors"
    if not file.is_file():
        raise ConfigError(
            f"weights.{kind} must be a safetensors file, got {str(file)!r}, which does not exist (agentsc train {kind} "
            "makes the shipped one)"
        )
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT or metadata.get("kind") != kind:
            raise ConfigError(
                f"weights.{kind} must hold a network of that kind ({FORMAT}), got {file.name!r} with format "
                f"{metadata.get('format')!r} and kind {metadata.get('kind')!r}"
            )
        spec, card = json.loads(metadata["spec"]), json.loads(metadata["card"])
        network = build(kind, spec)
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ConfigError):
            raise
        cause = str(error).splitlines()[0][:120]
        raise ConfigError(
            f"weights.{kind} must be intact, got {file.name!r}, which cannot be read ({cause}): train it again with "
            f"agentsc train {kind}"
        ) from None
    return network.to(place).eval().requires_grad_(False), spec, card


def described(kind: str, path: Path | str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """(spec, card) of a file that `load` has taken; its network is not built again."""
    with safe_open(Path(path) if path is not None else WEIGHTS / f"{kind}.safetensors", "pt") as opened:
        metadata = opened.metadata()
    return json.loads(metadata["spec"]), json.loads(metadata["card"])


def fingerprint(kind: str, path: Path | str | None = None) -> str:
    """First twelve digits of the SHA-256 of a file of weights; by default of the shipped one."""
    file = Path(path) if path is not None else WEIGHTS / f"{kind}.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def fingerprints(weights: Mapping[str, Path | str] | None) -> dict[str, str]:
    """Of the files that stand in for shipped ones, by the names of their models.

    Raises:
        ConfigError: a name that is no model's, or a file that does not exist.
    """
    for name, path in (weights or {}).items():
        if name not in NETWORKS:
            raise unknown_name("weights", name, NETWORKS)
        if not Path(path).is_file():
            raise ConfigError(f"weights.{name} must be a safetensors file, got {str(path)!r}, which does not exist")
    return {name: fingerprint(name, path) for name, path in (weights or {}).items()}


def build(kind: str, spec: dict[str, Any]) -> nn.Module:
    """The network of a spec, untrained; keys that begin with ``data_`` are not about its architecture."""
    return NETWORKS[kind](**{name: value for name, value in spec.items() if not name.startswith("data_")})
