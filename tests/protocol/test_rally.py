"""Going on without those who are silent: where they may be, agreeing without them, restarts, and safety throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from air import RandomChoice, Schedule, schedules
from hazards import ROUND_S, Flown, Giving, Hazards, brave
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentsc.protocol import PROTOCOLS
from agentsc.protocol.joint.order import Course
from agentsc.protocol.joint.search import Lead
from agentsc.protocol.joint.settle import Settler
from agentsc.protocol.joint.shadows import Surveyor, clearance
from agentsc.protocol.variants.intent import UNDER_WAY, IntentBlock
from envs import keyed

LANES = 20
Floats = NDArray[np.float32]


# -- a search that costs next to nothing -----------------------------------------------------------


class Dashes(Settler):
    """One agent after the other goes straight to a place near its goal, if nobody is in its way there."""

    lines: Floats = np.zeros((0, 2, 2), np.float32)
    clear = 0.0

    def _work_out(self, starts: Floats, goals: Floats, key: Any, tick: int, lead: Lead) -> Course | None:
        order = np.argsort(keyed.uniform(*key, 5, np.arange(len(starts))), kind="stable").tolist()
        here, stride = starts.copy(), self.world.v_max * self.world.dt / 1.001
        rows = [here.copy() for _ in range(int(lead.until.max()) + 1)]
        for agent in order:
            for share in (1.0, 0.6, 0.3):
                end = (starts[agent] + share * (goals[agent] - starts[agent])).astype(np.float32)
                line = np.stack([starts[agent], end])[:, None]
                others = np.delete(here, agent, axis=0)
                rests = np.stack([others, others], 1)
                zero = np.zeros(1, np.int64)
                if clearance(line, zero, rests) < 1.01 * self.distance or clearance(line, zero, self.lines) < self.clear:
                    continue
                count = int(np.ceil(np.linalg.norm(end - starts[agent]) / stride))
                for step in range(1, count + 1):
                    here[agent] = starts[agent] + np.float32(step / count) * (end - starts[agent])
                    rows.append(here.copy())
                break
        rows.append(here.copy())
        return Course.of(np.stack(rows).astype(np.float32), self.distance, tick, lead) or self.halt(starts, tick, lead)


class Dashing(Surveyor):
    """The same around shadows."""

    def _around(self, lines: Floats, clear: float, distance: float) -> Settler:
        found = Dashes(self.settler.world, distance, 1, 0)
        found.lines, found.clear = lines, clear
        return found

    @staticmethod
    def _reachable(settler: Settler, starts: Floats, goals: Floats) -> Floats:
        return goals


class Restless(Giving, RandomChoice):
    """Everybody wants to be somewhere else now and then; courses are found without much ado."""

    every = 30

    def __init__(self, *told: Any) -> None:
        super().__init__(*told)
        self.settler = Dashes(self.setup.world, self.settler.distance, 1, 0)
        self.surveyor = Dashing(self.settler)

    def listen(self, inbox: Any, clock: int) -> None:
        if clock % self.every == 1:
            x0, y0, x1, y1 = self.setup.world.bounds
            wanted = np.flatnonzero(self.rng.random(len(self.rows)) < 0.5)
            spots = self.rng.uniform((x0 + 0.06, y0 + 0.06), (x1 - 0.06, y1 - 0.06), (len(wanted), 2))
            self.goal[wanted] = spots.astype(np.float32)
            self.restless[wanted] |= self.phase[wanted] == UNDER_WAY
        super().listen(inbox, clock)


class RestlessIntent(Restless, IntentBlock):
    """The real protocol."""


def flown(
    schedule: Schedule, hazards: Hazards, planner: Any = RestlessIntent, *, agents: int = 5, seed: int = 0,
    ticks: int = 100, lanes: int = LANES, silence_s: float = 0.6, ahead_ticks: int = 4, **rest: Any,
) -> tuple[Flown, list[IntentBlock]]:  # fmt: skip
    """What `brave` finds, and the blocks."""
    blocks: list[IntentBlock] = []

    def made(*told: Any) -> IntentBlock:
        blocks.append(planner(*told))
        return blocks[-1]

    variant = PROTOCOLS.create(
        "intent", patience_s=60.0, renew_s=0.2, silence_s=silence_s, ahead_ticks=ahead_ticks,
        clock_skew_s=hazards.skew * ROUND_S,
    )  # fmt: skip
    outcome = brave(
        schedule, hazards, lanes=lanes, agents=agents, ticks=ticks, seed=seed, planner=made, variant=variant,
        apart=0.14, half=0.45, **rest,
    )  # fmt: skip
    return outcome, blocks


hazards = st.builds(
    Hazards,
    skew=st.sampled_from([0, 0, 1, 3]),
    crashes=st.sampled_from([0.0, 0.001, 0.005]),
    down=st.sampled_from([0, 10, 120, 2000]),
    late=st.sampled_from([0, 0, 1, 2]),
    parted=st.sampled_from([0.0, 0.2, 0.4]),
)
ROUGH = Schedule(loss=0.4, repeat=0.3, delay=12, stall=5, tail=0.1)


def test_nobody_comes_too_close_whoever_is_left_out(request: pytest.FixtureRequest) -> None:
    thorough = request.config.getoption("--long")
    seen = []

    @settings(
        max_examples=500 if thorough else 6, deadline=None, derandomize=not thorough, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(schedules, hazards, st.integers(3, 6), st.sampled_from([4, 32]), st.integers(0, 2**31))
    def anything(schedule: Schedule, hazard: Hazards, agents: int, ahead: int, seed: int) -> None:
        outcome, blocks = flown(schedule, hazard, agents=agents, seed=seed, ahead_ticks=ahead)
        assert not outcome.collided.any(), f"{outcome.closest.min():.4f} m"
        left_out = sum(int((~block.member).any(1).sum()) for block in blocks)
        anew = sum(int((block.root > 0).sum()) for block in blocks)
        seen.append((LANES, outcome.commits, outcome.crashes, anew, left_out))

    anything()
    lanes, commits, crashes, anew, left_out = map(sum, zip(*seen, strict=True))
    assert lanes >= (10_000 if thorough else 120) and anew > lanes / 4 and left_out > 0
    print(f"{lanes} schedules: {commits} agreements, {crashes} crashes, {anew} ended on a rally's course, no contact")
