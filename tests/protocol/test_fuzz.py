"""Whatever bytes arrive, nothing breaks: damaged, cut, repeated, random and forged packets, in the codec and in fleets.

Packets go straight into decoders and blocks; `test_packet_fuzz` sends them through a medium. A quick version of
``experiments/packet_fuzz.py``, which has a million packets of each kind.
"""

from __future__ import annotations

import numpy as np
import pytest
from air import ROUNDS, Air, RandomPlanner, Schedule, crowd, fly, setup_of
from noise import (
    LAYOUTS,
    Damage,
    Noise,
    anything,
    flipped,
    garbage,
    garbage_missed,
    genuine,
    mislaid,
    missed,
    scrambled,
    some_flipped,
    together,
    truncated,
    untouched,
)
from scipy import stats

from agentsc.intent.codec import decode, encode
from agentsc.links.flight import Deliveries
from agentsc.protocol import PROTOCOLS, Block, Setup, Variant
from agentsc.protocol.variants.negotiated import NegotiatedBlock

pytestmark = pytest.mark.filterwarnings("error")
SPEC = setup_of(crowd(1, 2, 0)).spec
LEAST = 1e-6
"""p-value under which a count is not what it should be; all draws are seeded, so never flaky."""
ROUGH = Schedule(loss=0.3, repeat=0.2, delay=8, stall=5)
HEARING = [name for name in PROTOCOLS if name not in ("silent", "central-search")]


def passing(damage: Damage, layout: str, count: int) -> int:
    rng = np.random.default_rng(1)
    data, bits = damage(rng, *genuine(rng, layout, count, SPEC))
    return int(decode(data, bits, SPEC)[1].sum())


# -- the codec -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_as_it_was_sent_decodes(layout: str) -> None:
    assert passing(untouched, layout, 2000) == 2000


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("flips", [1, 2, 3, 5])
def test_up_to_three_wrong_bits_and_any_odd_number_are_always_seen(layout: str, flips: int) -> None:
    bits = int(genuine(np.random.default_rng(0), layout, 1, SPEC)[1][0])
    assert missed(layout, bits, flips) == 0.0
    assert passing(flipped(flips), layout, 20_000) == 0


@pytest.mark.parametrize("layout", ["token", "verdicts", "proposal", "state"])
@pytest.mark.parametrize("flips", [4, 6, 16])
def test_even_numbers_of_wrong_bits_pass_as_often_as_the_code_says(layout: str, flips: int) -> None:
    bits = int(genuine(np.random.default_rng(0), layout, 1, SPEC)[1][0])
    expected, count = missed(layout, bits, flips), 100_000
    assert 0.0 < expected < 4 * (2.0**-8 if layout == "token" else 2.0**-16)
    assert stats.binomtest(passing(flipped(flips), layout, count), count, expected).pvalue > LEAST


def test_the_count_of_what_a_code_cannot_see_is_that_of_trying_everything() -> None:
    """A token with four wrong bits: all pairs of pairs of places, compared with the dual code's weights."""
    from noise import layout_bits, syndromes

    seen = np.delete(syndromes(8, 72), layout_bits(*LAYOUTS["token"]))
    first, second = np.triu_indices(len(seen), 1)
    pairs = np.bincount(seen[first] ^ seen[second], minlength=256)
    # Two pairs of one sum are four different places: no two places have one syndrome. Each four comes three times.
    words = (pairs * (pairs - 1) // 2).sum() // 3
    assert missed("token", 72, 4) == pytest.approx(words / (72 * 71 * 70 * 69 / 24), rel=1e-12)


@pytest.mark.parametrize(("layout", "count"), [("token", 100_000), ("proposal", 400_000), ("trajectory", 60_000)])
def test_random_contents_pass_with_one_in_two_to_the_width(layout: str, count: int) -> None:
    expected = 2.0**-8 if layout == "token" else 2.0**-16
    assert stats.binomtest(passing(scrambled, layout, count), count, expected).pvalue > LEAST


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("damage", [truncated, mislaid])
def test_what_has_a_wrong_length_never_passes(layout: str, damage: Damage) -> None:
    assert passing(damage, layout, 20_000) == 0


@pytest.mark.parametrize("layout", ["token", "proposal"])
def test_random_bytes_pass_as_often_as_lengths_and_checksums_let_them(layout: str) -> None:
    count = 200_000
    width = genuine(np.random.default_rng(0), layout, 1, SPEC)[0].shape[1]
    assert stats.binomtest(passing(garbage, layout, count), count, garbage_missed(width)).pvalue > LEAST


# -- fleets ----------------------------------------------------------------------------------------


def disturbed(damage: Damage, each_round: int, protocol: str | None = None, lanes: int = 16) -> tuple:
    """A fleet that hears so much noise, and the noise. protocol: None for intent around random plans."""
    noise = Noise(damage, each_round, SPEC, lanes, seed=4)

    def planner(variant: Variant, setup: Setup, ids: list[int]) -> Block:
        return RandomPlanner(variant, setup, ids) if protocol is None else variant.block(setup, ids)  # type: ignore[arg-type]

    variant = None if protocol is None else PROTOCOLS.create(protocol)
    ticks = 40 if protocol is None else 16
    outcome = fly(
        ROUGH, lanes=lanes, agents=4, ticks=ticks, seed=4, planner=planner, variant=variant, links=noise.listen_to
    )
    assert noise.sent >= (ticks - 2) * 2 * each_round and np.isfinite(outcome.closest).all()
    return outcome, noise


@pytest.mark.parametrize("damage", [some_flipped, truncated, mislaid, scrambled, garbage])
def test_damaged_packets_do_no_harm_to_committed_plans_and_are_counted(damage: Damage) -> None:
    outcome, noise = disturbed(damage, 400)
    assert outcome.commits.mean() > 1, "somebody moved"
    clean = noise.passed == 0
    assert not outcome.collided[clean].any(), f"{outcome.closest.min():.4f} m"
    assert clean.sum() >= 12, "in most lanes no checksum was fooled"
    refused = int(outcome.refused.sum())
    assert noise.sent - noise.passed.sum() <= refused <= noise.sent, "everything that did not decode is counted"


def test_replayed_packets_do_no_harm_and_are_not_refused() -> None:
    outcome, noise = disturbed(untouched, 400)
    assert noise.passed.sum() == noise.sent > 20_000
    assert not outcome.collided.any() and outcome.commits.mean() > 1
    assert outcome.refused.sum() == 0, "they are what their senders said"


@pytest.mark.parametrize("protocol", HEARING)
@pytest.mark.parametrize("damage", [some_flipped, truncated, scrambled, garbage, untouched])
def test_no_protocol_breaks_on_damaged_packets(protocol: str, damage: Damage) -> None:
    outcome, noise = disturbed(damage, 60, protocol, lanes=3)
    refused = int(outcome.refused.sum())
    assert noise.sent - noise.passed.sum() <= refused <= noise.sent


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_no_protocol_breaks_on_forged_packets(protocol: str) -> None:
    """Checksums hold, and every field is anything: senders, rounds, places, plans, numbers that are none."""
    rng, lanes, agents, each = np.random.default_rng(9), 3, 4, 12
    forged = 0

    def forge(inbox: Deliveries, clock: int) -> Deliveries:
        nonlocal forged
        for layout in LAYOUTS:
            # Half of them name somebody on the roster; half of those were sent just now, about things nearby.
            message = anything(rng, layout, each, SPEC, agents if clock % 2 else 256)
            if clock % 4 > 1:
                message.clock[:] = clock if message.has_clock_high.any() else clock & 255
                message.waypoints[:] = rng.uniform(-1.0, 1.0, message.waypoints.shape)
                if message.waypoint_count.any():
                    message.waypoint_t0[:] = clock // ROUNDS + rng.integers(-1, 2, each).clip(-(clock // ROUNDS))
            data, bits = encode(message, SPEC)
            lane, receiver = rng.integers(0, lanes, each), rng.integers(0, agents, each)
            inbox = together(inbox, lane, message.id, receiver, data, bits)
            forged += each
        return inbox

    def start(air: Air) -> None:
        air.disturb = forge

    variant = PROTOCOLS.create(protocol)
    outcome = fly(
        ROUGH, lanes=lanes, agents=agents, ticks=16, seed=5, variant=variant, links=start,
        planner=lambda variant, setup, ids: variant.block(setup, ids),
    )  # fmt: skip
    assert np.isfinite(outcome.closest).all()
    if protocol in HEARING:
        # Half of what is forged names nobody, and most of it is no message of the protocol; some is believed.
        assert 0.6 * forged < outcome.refused.sum() < forged


def test_a_forged_majority_makes_the_rule_fail_so_the_fleet_is_sensitive_to_what_passes() -> None:
    """The invariant above is no triviality: statuses with random numbers release locks, and agents meet."""
    rng, lanes, agents = np.random.default_rng(2), 16, 4

    def forge(inbox: Deliveries, clock: int) -> Deliveries:
        message = anything(rng, "verdicts", 400, SPEC, agents)
        message.clock[:] = clock
        lane, receiver = rng.integers(0, lanes, 400), rng.integers(0, agents, 400)
        return together(inbox, lane, message.id, receiver, *encode(message, SPEC))

    def start(air: Air) -> None:
        air.disturb = forge

    assert fly(ROUGH, lanes=lanes, agents=agents, ticks=40, seed=4, links=start).collided.any()


def test_genuine_packets_are_never_refused() -> None:
    for planner in (RandomPlanner, NegotiatedBlock):
        outcome = fly(ROUGH, lanes=8, agents=4, ticks=30, seed=6, planner=planner)
        assert outcome.commits.sum() > 0 and outcome.refused.sum() == 0
