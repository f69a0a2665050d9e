"""The oracle radio: the configured link does not matter, and what is sent is counted all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

import agentsc

LINK = "gilbert-elliott:p=0.3,r=0.2+delay:ms=200,jitter_ms=100"


def run(out: Path, protocol: str, link: str) -> agentsc.RunResult:
    return agentsc.run(
        scenario="weave", agents=5, episodes=2, seed=3, ticks=40, protocol=protocol, link=link,
        set=["record.episodes=[]"], out=out,
    )  # fmt: skip


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> agentsc.RunResult:
    return run(tmp_path_factory.mktemp("oracle") / "run", "perfect-link", LINK)


def test_it_is_intent_over_a_perfect_link_whatever_the_link(oracle: agentsc.RunResult, tmp_path: Path) -> None:
    intent = run(tmp_path / "run", "negotiated", "perfect")
    assert oracle.digest == intent.digest
    for name, metric in intent.metrics.items():
        assert oracle.metrics[name] == metric, name
    assert intent.digest != run(tmp_path / "bad", "negotiated", LINK).digest, "this link does matter to a real radio"


def test_what_the_oracle_radio_did_is_what_is_reported(oracle: agentsc.RunResult) -> None:
    assert oracle.metrics["packet_error_rate"]["mean"] == 0.0
    assert oracle.metrics["bits_per_agent_s"]["mean"] > 100.0
    assert oracle.data["config"]["link"] == LINK
