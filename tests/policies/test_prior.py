"""Weights on disk: a round trip, and refusing what is not an intact prior."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from envs.errors import ConfigError
from policies.trajectory.prior import FORMAT, Denoiser, PriorSpec, TrajectoryPrior

SPEC = PriorSpec(control_points=8, horizon_ticks=16, width=32, blocks=2)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[TrajectoryPrior, Path]:
    torch.manual_seed(0)
    prior = TrajectoryPrior(SPEC, np.linspace(0.1, 0.2, SPEC.state_dim, dtype=np.float32), {"loss": 0.5})
    torch.nn.init.normal_(prior.network.exit.weight)
    path = tmp_path / "tiny.safetensors"
    prior.save(path)
    return prior, path


def test_a_prior_comes_back_as_it_was(saved: tuple[TrajectoryPrior, Path]) -> None:
    prior, path = saved
    again = TrajectoryPrior.load(path)
    prior.round_weights()  # what is stored has half precision
    assert again.spec == SPEC and again.card == {"loss": 0.5} and again.parameters() == prior.parameters()
    torch.testing.assert_close(again.scale, prior.scale, rtol=0, atol=0)
    for name, tensor in dict(prior.network.named_buffers()).items():
        torch.testing.assert_close(dict(again.network.named_buffers())[name], tensor, rtol=0, atol=0)
    for name, tensor in prior.network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], tensor, rtol=0, atol=0)
    assert not any(p.requires_grad for p in again.network.parameters()) and not again.network.training
    features = torch.randn(3, prior.network.encoder[0].in_features)
    x = torch.randn(3, 2, SPEC.state_dim)
    with torch.no_grad():
        first, second = (Denoiser.bind(p, features)(x, 0.5) for p in (prior, again))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"prior\.weights must be a safetensors file, got .*nowhere.*does not exist"
    ):
        TrajectoryPrior.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(ConfigError, match=r"prior\.weights"):
        TrajectoryPrior.load(tmp_path)


@pytest.mark.parametrize("damage", ["noise", "truncated", "empty", "header"])
def test_damaged_files_are_refused(saved: tuple[TrajectoryPrior, Path], damage: str) -> None:
    _, path = saved
    whole = path.read_bytes()
    path.write_bytes(
        {
            "noise": bytes(range(256)) * 8,
            "truncated": whole[: len(whole) // 2],
            "empty": b"",
            "header": whole[:20],
        }[damage]
    )
    with pytest.raises(
        ConfigError, match=r"prior\.weights must be an intact checkpoint, got 'tiny\.safetensors'"
    ):
        TrajectoryPrior.load(path)


def rewrite(path: Path, metadata: dict[str, str] | None, drop: str = "", stretch: str = "") -> None:
    tensors = load_file(path)
    tensors.pop(drop, None)
    if stretch:
        tensors[stretch] = torch.cat([tensors[stretch], tensors[stretch]])
    save_file(tensors, path, metadata)


SPEC_JSON = json.dumps({"control_points": 8, "horizon_ticks": 16, "width": 32, "blocks": 2})


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "somebody-elses/3"},
        {"format": FORMAT},
        {"format": FORMAT, "spec": "{", "card": "{}"},
        {"format": FORMAT, "spec": '{"depth": 3}', "card": "{}"},
        {"format": FORMAT, "spec": SPEC_JSON.replace("32", "64"), "card": "{}"},
        {"format": FORMAT, "spec": SPEC_JSON.replace("8", "9"), "card": "{}"},
        {"format": FORMAT, "spec": '{"control_points": 5}', "card": "{}"},
    ],
    ids=[
        "none",
        "foreign",
        "no spec",
        "not json",
        "unknown key",
        "other width",
        "other spline",
        "short spline",
    ],
)
def test_another_architecture_is_refused(
    saved: tuple[TrajectoryPrior, Path], metadata: dict[str, str] | None
) -> None:
    rewrite(saved[1], metadata)
    with pytest.raises(ConfigError, match=r"prior\.weights"):
        TrajectoryPrior.load(saved[1])


@pytest.mark.parametrize(
    ("drop", "stretch"), [("scale", ""), ("entry.weight", ""), ("", "entry.weight"), ("", "scale")]
)
def test_missing_or_misshapen_tensors_are_refused(
    saved: tuple[TrajectoryPrior, Path], drop: str, stretch: str
) -> None:
    rewrite(saved[1], {"format": FORMAT, "spec": SPEC_JSON, "card": "{}"}, drop, stretch)
    with pytest.raises(ConfigError, match=r"prior\.weights"):
        TrajectoryPrior.load(saved[1])
