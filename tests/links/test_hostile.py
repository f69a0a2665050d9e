"""Hostile radios, and what protects from them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from traffic import everyone, nobody

from agentsc.intent.codec import Message, decode, encode
from agentsc.intent.fields import AGREE, GRANTS, INTENT, PLAN, PROGRESS, STATUS
from agentsc.intent.plan import PlanSpec
from agentsc.links.age import AgeOfInformation
from agentsc.links.medium import Medium, Packets
from envs.errors import ConfigError

SPEC = PlanSpec((0.0, 0.0, 10.0, 10.0), 1.0, 0.1)
ROUND_S = 0.05


def proposals(lanes: int, agents: int, clock: int, seq: int = 5) -> Packets:
    """Everybody proposes a plan: committed 4, pending ``seq``."""
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, agents)))
    message = Message.blank(len(lane), SPEC)
    message.sections[:] = INTENT | STATUS | PLAN
    message.id[:], message.clock[:] = sender, clock
    message.committed_seq[:], message.pending_seq[:] = 4, seq
    data, bits = encode(message, SPEC)
    return Packets(lane, sender, data, bits)


def balanced(medium: Medium) -> bool:
    return bool((medium.books.whole == medium.delivered + medium.lost + medium.in_flight).all())


def test_a_forged_grant_names_every_proposal_below_and_is_understood() -> None:
    medium = Medium("spoofer:what=grants", 3, [0, 1], 4, ROUND_S)
    for clock in range(3):
        medium.deliver(clock)
        medium.transmit(proposals(2, 4, clock) if clock == 0 else nobody(), clock)
    found = medium.deliver(3)
    assert balanced(medium) and found.forged.all() and medium.books.injected.tolist() == [12, 12]
    message, good = decode(found.payload, found.payload_bits, SPEC)
    assert good.all() and (message.sections == STATUS | GRANTS).all() and (message.clock == 1).all()
    for packet, author in enumerate(message.id.tolist()):
        asked = message.grant_peer[packet, : message.grant_count[packet]]
        assert asked.tolist() == list(range(author + 1, 4))  # it is asked by those above
        assert (message.grant_verdict[packet, : len(asked)] == 1).all()
        assert (message.grant_seq[packet, : len(asked)] == 5).all()
        assert (message.committed_seq[packet], message.pending_seq[packet]) == (4, 5)


@pytest.mark.parametrize("what", ["plans", "noise"])
def test_forged_plans_and_noise_are_well_formed(what: str) -> None:
    medium = Medium(f"spoofer:what={what}", 3, range(5), 4, ROUND_S)
    medium.transmit(proposals(5, 4, 0), 0)
    medium.deliver(1)
    medium.transmit(nobody(), 1)
    found = medium.deliver(2)
    message, good = decode(found.payload, found.payload_bits, SPEC)
    assert good.all() and (message.clock == 1).all() and len(found) == 5 * 4 and balanced(medium)
    assert (found.sender == message.id[found.packet]).all() and len(np.unique(message.id)) > 1
    differs = message.plan[:, :2] if what == "plans" else message.goal_x
    assert len(np.unique(differs, axis=0)) == 5


def test_forged_progress_goes_on_from_what_an_agent_has_told_and_wishes_are_for_the_next_course() -> None:
    told = Message.blank(4, SPEC)
    told.id[:], told.kind[:], told.course[:], told.steps[:], told.done[:] = range(4), PROGRESS, 3, [0, 5, 10, 4090], 7
    data, bits = encode(told, SPEC)
    packets = Packets(np.zeros(4, np.int32), np.arange(4, dtype=np.int32), data, bits)
    farther = []
    for what in ("progress", "wishes"):
        medium = Medium(f"spoofer:what={what}", 3, [0], 4, ROUND_S)
        medium.transmit(packets, 0)
        medium.deliver(1)
        for clock in range(1, 60):
            medium.transmit(nobody(), clock)
            found = medium.deliver(clock + 1)
            message, good = decode(found.payload, found.payload_bits, SPEC)
            assert good.all() and found.forged.all() and len(good) and balanced(medium)
            assert (found.sender == message.id[found.packet]).all()
            if what == "progress":
                assert (message.kind == PROGRESS).all() and (message.course == 3).all() and (message.done == 0).all()
                farther += list(zip(message.id.tolist(), message.steps.tolist(), strict=True))
            else:
                assert (message.kind == AGREE).all() and (message.course == 4).all()
    assert set(farther) == {(0, 8), (1, 13), (2, 18), (3, 4095)}


def test_replays_are_what_was_sent_and_come_at_their_age() -> None:
    medium = Medium("replayer:age=7", 3, [0], 5, ROUND_S)
    seen = []
    for clock in range(12):
        found = medium.deliver(clock)
        seen.append((int((~found.forged[found.packet]).sum()), int(found.forged[found.packet].sum())))
        if found.forged.any():
            assert clock == 8 and (found.sent_clock == 0).all()
            message, good = decode(found.payload, found.payload_bits, SPEC)
            assert good.all() and (message.id[found.packet] == found.sender).all()
        medium.transmit(proposals(1, 5, 0) if clock == 0 else nobody(), clock)
    # An agent hears its own packets again, too: the replaying radio is another one.
    assert seen[1] == (20, 0) and seen[8] == (0, 25) and balanced(medium)


def test_babble_is_dropped_for_its_checksum_and_counted() -> None:
    medium = Medium("babbler:bits=256", 3, range(400), 9, ROUND_S)
    for clock in range(40):
        medium.deliver(clock)
        medium.transmit(nobody(), clock)
    medium.deliver(40)
    books = medium.books
    assert balanced(medium) and books.injected.sum() == 400 * 40 * 9
    # A sixteenth of random packets claims to be a token, whose checksum has eight bits; the others have sixteen.
    rate = (2.0**-8 + 15 * 2.0**-16) / 16
    passed = int(medium.delivered.sum()) // 9
    low, high = stats.binom.interval(1 - 1e-6, 400 * 40, rate)
    assert low <= passed <= high and passed > 0
    assert books.by_reason["crc"].sum() + medium.delivered.sum() == books.injected.sum()


def test_a_jammer_that_is_on_for_a_share_of_time_loses_that_share() -> None:
    medium = Medium("jammer:duty=0.3,period_s=0.77", 3, range(300), 6, ROUND_S)
    for clock in range(40):
        medium.transmit(everyone(300, 6), clock)
        medium.deliver(clock + 1)
    lost = medium.lost / medium.decisions
    assert abs(lost.mean() - 0.3) < 4 * lost.std() / np.sqrt(300) and medium.decisions.sum() > 1e5


def test_a_jammer_reaches_so_far_and_so_long() -> None:
    medium = Medium("jammer:metres=2,x=1,y=1,begin_s=0.1,end_s=0.2", 3, [0], 4, ROUND_S)
    spots = np.array([[[1.0, 2.5], [1.0, 3.5], [5.0, 5.0], [0.0, 0.0]]])
    for clock, lost in enumerate([0, 0, 6, 6, 0]):
        before = medium.lost.sum()
        medium.transmit(everyone(1, 4), clock, spots)
        assert medium.lost.sum() - before == lost
    flown = medium.transmissions(0)
    assert not flown.lost.any()


def test_a_jammers_power_is_weighed_by_the_radio_behind_it() -> None:
    """Both at ten metres: signal over noise and jammer is the threshold at equal power less 0 dB."""
    lost = []
    for power in (-40, -12, -8, 20):
        link = f"jammer:tx_dbm={power},y=10,exponent=3+awgn:tx_dbm=-10,carrier_ghz=2.4,exponent=3"
        medium = Medium(f"{link},decoding=threshold,threshold_db=0", 1, [0], 2, ROUND_S)
        medium.transmit(everyone(1, 2), 0, np.array([[[0.0, 0.0], [10.0, 0.0]]]))
        lost.append(medium.books.by_reason["interference"].tolist() + medium.books.by_reason["jammed"].tolist())
    # The receiver at the origin is as far from the jammer as from its peer, the other one 3 dB · 1.5 farther.
    assert lost == [[0, 0], [0, 0], [1, 0], [2, 0]]
    with pytest.raises(ConfigError, match="needs a radio link with a budget behind it"):
        Medium("awgn:tx_dbm=1,carrier_ghz=1+jammer:tx_dbm=3", 1, [0], 2, ROUND_S)


def test_sealed_packets_arrive_as_they_were_and_their_tags_are_counted() -> None:
    plain, sealed = (Medium(link, 3, [0, 1], 6, ROUND_S) for link in ("perfect", "authentication:bits=24"))
    packets = proposals(2, 6, 0)
    for medium in (plain, sealed):
        medium.transmit(packets, 0)
    one, other = plain.deliver(1), sealed.deliver(1)
    width = one.payload.shape[1]
    np.testing.assert_array_equal(one.data, other.data[:, :width])
    assert not other.data[:, width:].any()
    np.testing.assert_array_equal(one.bits, other.bits)
    assert (sealed.bits - plain.bits == 24).all() and (packets.data == proposals(2, 6, 0).data).all()


def test_a_forger_without_the_key_passes_once_in_two_to_the_bits() -> None:
    medium = Medium("spoofer:what=noise+authentication:bits=8", 3, range(2000), 2, ROUND_S)
    for clock in range(60):
        medium.deliver(clock)
        medium.transmit(nobody(), clock)
    medium.deliver(60)
    refused, tried = int(medium.books.by_reason["forged"].sum()), int(medium.books.injected.sum())
    assert balanced(medium) and tried >= 1e5
    # Both receivers of a packet judge alike, and a victim never accepts its own packets.
    low, high = stats.binom.interval(1 - 1e-6, tried // 2, 2.0**-8)
    assert low <= (tried - refused) / 2 <= high


def test_long_tags_stop_everything() -> None:
    medium = Medium("spoofer:what=noise+authentication:bits=64", 3, [0, 1], 3, ROUND_S)
    for clock in range(20):
        assert not len(medium.deliver(clock))
        medium.transmit(nobody(), clock)
    assert balanced(medium) and medium.books.by_reason["forged"].tolist() == [19 * 3] * 2


def test_replays_of_sealed_packets_are_refused_even_much_later() -> None:
    for age in (1, 30, 300):  # a token's counter has wrapped around after 256 rounds
        medium = Medium(f"replayer:age={age}+authentication", 3, [0], 5, ROUND_S)
        for clock in range(age + 40):
            packets = proposals(1, 5, clock) if clock < 30 else nobody()
            found = medium.deliver(clock)
            assert not found.forged[found.packet].any()
            medium.transmit(packets, clock)
        assert balanced(medium) and medium.delivered.sum() == 30 * 20
        reasons = medium.books.by_reason
        assert reasons["repeat"].sum() + reasons["forged"].sum() == medium.books.injected.sum() - medium.in_flight.sum()


def test_late_and_reordered_packets_of_agents_pass() -> None:
    medium = Medium("authentication+delay:ms=0,jitter_ms=900", 3, range(6), 5, ROUND_S)
    for clock in range(60):
        medium.deliver(clock)
        medium.transmit(proposals(6, 5, clock) if clock < 40 else nobody(), clock)
    assert medium.delivered.sum() == 40 * 6 * 20 and medium.lost.sum() == 0


def test_forged_packets_do_not_make_information_younger() -> None:
    ages = []
    for link in ("perfect", "spoofer:what=noise"):
        medium, age = Medium(link, 3, [0], 3, ROUND_S), AgeOfInformation(1, 3, ROUND_S)
        for clock in range(20):
            age.update(medium.deliver(clock), clock)
            medium.transmit(everyone(1, 3) if clock % 5 == 0 else nobody(), clock)
        ages.append(age.totals(20)[0])
    np.testing.assert_array_equal(*ages)


def test_what_a_station_does_in_a_lane_does_not_depend_on_the_lanes_beside_it() -> None:
    link = "spoofer:what=plans,p=0.7+replayer:age=3,p=0.5+babbler:p=0.4,bits=70+erasure:p=0.3"
    logs = []
    for episodes in ([4], [2, 4, 9]):
        medium, log = Medium(link, 3, episodes, 4, ROUND_S), []
        mine = episodes.index(4)
        for clock in range(25):
            found = medium.deliver(clock)
            rows = found.lane == mine
            log.append((found.sender[rows].tolist(), found.receiver[rows].tolist(), found.bits[rows].tolist()))
            medium.transmit(proposals(len(episodes), 4, clock, 5 + clock % 3), clock)
        logs.append(log)
    assert logs[0] == logs[1] and sum(len(senders) for senders, *_ in logs[0]) > 200
