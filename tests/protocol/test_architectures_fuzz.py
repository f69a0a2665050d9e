"""Hubs and vehicles under any packet schedule, and hubs that die at any time: nobody touches anybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from air import ROUNDS, Air, RandomPlanner, Schedule, crowd, schedules, setup_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentsc.actors.fleet import LocalFleet
from agentsc.hosting.fleet import HostedFleet
from agentsc.hosting.ledger import Ledger, Outlook
from agentsc.hosting.vehicles import ALONE, FOLLOWS
from agentsc.links.medium import Packets
from agentsc.protocol import Setup
from agentsc.protocol.variants.negotiated import Negotiated
from envs.arena import Arena

LANES, AGENTS = 2, 5


class RandomMind(RandomPlanner):
    """The real protocol around plans drawn at random, without a core to ask."""

    def propose(self, imagined: Any, clock: int) -> None:
        return None

    def speak(self, sampled: Any, clock: int) -> Packets:
        return super().speak(Ellipsis if clock % ROUNDS == 0 and len(self.due) else None, clock)  # type: ignore[arg-type]


class RandomlyNegotiated(Negotiated):
    """Makes such blocks."""

    @property
    def needs_network(self) -> bool:
        return False

    def block(self, setup: Setup, ids: Sequence[int]) -> RandomMind:
        block = RandomMind(self, setup, ids)
        block.rng = np.random.default_rng(setup.seed)
        return block


@dataclass
class Flown:
    """closest: float [lane], metres. fleet: as it was at the end. moved: float [lane, agent], metres."""

    closest: NDArray[np.float32]
    fleet: HostedFleet
    moved: NDArray[np.float32]


def fly_hosted(
    schedule: Schedule, architecture: str, seed: int, ticks: int = 70, agents: int = AGENTS,
    prepare: Callable[[HostedFleet], None] | None = None,
) -> Flown:  # fmt: skip
    """A fleet whose machines are the real ones of `negotiated`, around plans drawn at random."""
    world = crowd(LANES, agents, seed % 7, ticks=ticks)
    setup = setup_of(world, seed)
    variant = RandomlyNegotiated(architecture=architecture, replan_ticks=2)
    fleet = HostedFleet(variant, setup, lambda maker, told: LocalFleet(maker, told, None, "cpu"))
    if prepare is not None:
        prepare(fleet)
    air = Air(schedule, LANES, agents + variant.hosting.hubs, np.random.default_rng([seed, 1]))
    arena = Arena(world)
    closest = np.full(LANES, np.inf, np.float32)
    far = np.full((LANES, agents), np.inf, np.float32)
    for tick in range(ticks):
        for number in range(ROUNDS):
            clock = tick * ROUNDS + number
            air.send(fleet.round(air.deliver(clock), clock, number == 0), clock)
        step = arena.step(fleet.act(arena.position, arena.velocity, far, tick))
        closest = np.minimum(closest, step.closest)
    return Flown(closest, fleet, np.linalg.norm(arena.position - world.starts, axis=-1))


def test_no_schedule_and_no_death_brings_vehicles_closer_than_touching(request: pytest.FixtureRequest) -> None:
    thorough = request.config.getoption("--long")
    moved, alone = [], []

    @settings(
        max_examples=600 if thorough else 8, deadline=None, derandomize=not thorough, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(
        schedules, st.sampled_from(["centralised:", "hybrid:regions=2,patience_s=0.5,region_s=0.3,"]),
        st.sampled_from([None, 0.0, 0.7, 1.5, 3.0]), st.integers(0, 2**31),
    )  # fmt: skip
    def any_schedule(schedule: Schedule, architecture: str, death: float | None, seed: int) -> None:
        spec = architecture + (f"hub_failure_s={death}" if death is not None else "wait_s=2")
        flown = fly_hosted(schedule, spec, seed)
        assert (flown.closest >= 0.1).all(), f"{spec}: {flown.closest.min():.4f} m"
        moved.append((flown.moved > 0.05).mean())
        alone.append((flown.fleet.vehicles.phase == ALONE).mean())

    any_schedule()
    assert np.mean(moved) > 0.3, "fleets that stand still prove nothing"
    assert np.max(alone) == 1.0, "some have fallen back, and agreed among themselves"


ROUGH = Schedule(loss=0.4, repeat=0.2, delay=6, stall=5, tail=0.05)


def forgets_the_order(fleet: HostedFleet) -> None:
    """Hubs let everybody go at once."""

    def careless(self: Ledger, now: int) -> Outlook:
        agents = len(self.known)
        return Outlook(np.full(agents, self.steps), np.full(agents, 1 << 30), np.zeros(agents, np.int64))

    for ledger in fleet.hubs.ledgers:
        ledger.outlook = careless.__get__(ledger)  # type: ignore[method-assign]


def believes_that_told_is_known(fleet: HostedFleet) -> None:
    """A hub takes what it has told for what has been heard, and made as soon as possible."""
    speak = fleet.hubs.speak

    def hasty(clock: int, active: Any) -> Any:
        said = speak(clock, active)
        for lane, ledger in enumerate(fleet.hubs.ledgers):
            for agent, told in enumerate(fleet.hubs._told[lane].tolist()):
                ledger.hear(agent, told, clock // ROUNDS + 1)
        return said

    fleet.hubs.speak = hasty  # type: ignore[method-assign]


def agrees_before_all_rest(fleet: HostedFleet) -> None:
    """Vehicles that have left their hub wait neither to hear from everybody, nor until all have come to rest."""
    vehicles = fleet.vehicles
    hasty = {
        "complete": property(lambda self: np.ones_like(self.phase, bool)),
        "rest": property(lambda self: np.zeros_like(self.phase)),
    }
    vehicles.__class__ = type("Hasty", (type(vehicles),), hasty)


@pytest.mark.parametrize(
    ("weaken", "architecture", "ticks"),
    [
        (forgets_the_order, "centralised", 30),
        (believes_that_told_is_known, "centralised", 30),
        (agrees_before_all_rest, "hybrid:regions=2,patience_s=0.3,hub_failure_s=1.5", 50),
    ],
)
def test_the_fuzzer_finds_what_a_weaker_rule_lets_through(weaken: Any, architecture: str, ticks: int) -> None:
    worst = [fly_hosted(ROUGH, architecture, seed, ticks=ticks, prepare=weaken).closest.min() for seed in (4, 3)]
    assert min(worst) < 0.1


def test_when_the_hub_dies_vehicles_rest_and_stay(request: pytest.FixtureRequest) -> None:
    dead = fly_hosted(Schedule(), "centralised:hub_failure_s=0.6", 5, ticks=120)
    assert (dead.fleet.vehicles.phase == FOLLOWS).all()
    assert (dead.fleet.vehicles.done < 60).all(), "they finish what they were allowed, and no more"
    assert dead.moved.max() > 0.05


def test_when_an_aggregator_dies_vehicles_go_on_among_themselves() -> None:
    flown = fly_hosted(Schedule(loss=0.3), "hybrid:regions=2,patience_s=0.5,hub_failure_s=0.6", 5, ticks=120)
    fleet = flown.fleet
    assert (fleet.vehicles.phase == ALONE).all()
    assert fleet._alone is not None and (fleet._alone.counters().commits > 0).all()
