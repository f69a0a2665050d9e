"""When agents speak unasked: with news only, every round, or periodically; and that words on a course end."""

from __future__ import annotations

from typing import Any

import pytest

import agentsc

CALM: dict[str, Any] = {"name": "surprise", "agents": 5, "obstacles": 0, "doors": 0, "failures": 0, "joins": 0}


def run(protocol: str, trigger: str, **options: Any) -> agentsc.RunResult:
    return agentsc.run(
        protocol={"name": protocol, "trigger": trigger}, link="perfect", seed=4, set=["record.episodes=[]"],
        **{"scenario": "weave", "agents": 5, "episodes": 1, "ticks": 40, **options},
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["intent", "negotiated"])
def test_always_is_every_round_and_periodic_is_in_between(protocol: str) -> None:
    packets = {}
    for trigger in ("surprise", "periodic", "always"):
        log = run(protocol, trigger).log
        assert log.packets is not None and log.silent_rounds is not None
        packets[trigger] = int(log.packets.sum())
        if trigger == "always":
            rounds = int(log.last_tick[0]) * 2 * 5
            # Nobody has anything to say in the round in which it has left the first course, or sets out.
            assert log.silent_rounds[0] <= 0.05 * rounds
    assert packets["surprise"] <= packets["periodic"] < packets["always"]


def test_a_fleet_at_rest_on_a_course_is_silent() -> None:
    sent = []
    for first_s in (45.0, 75.0):
        scenario = {**CALM, "role_changes": 1, "first_s": first_s, "window_s": 0.0}
        log = run("intent", "surprise", scenario=scenario, ticks=500, agents=None).log
        assert log.packets is not None and log.success.all() and log.last_tick[0] * 0.25 > first_s + 2.0
        sent.append(int(log.packets.sum()))
    # Thirty seconds more of waiting are 240 rounds.
    assert abs(sent[1] - sent[0]) <= 10
