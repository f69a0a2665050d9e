"""The medium: closed forms at 10⁵ packets and more, order, determinism, counters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from traffic import broadcast, everyone, nobody

from agentsc.links.age import AgeOfInformation
from agentsc.links.flight import Deliveries
from agentsc.links.medium import Medium, Packets
from envs.keyed import uniform

SIGMAS = 4.5
"""Half-width of confidence intervals; two-sided 7e-6, and every draw is keyed, so never flaky."""

LINKS = [
    "perfect",
    "erasure:p=0.3",
    "gilbert-elliott:p=0.1,r=0.3",
    "gilbert-elliott:p=0.1,r=0.3,p_good=0.05,p_bad=0.7",
    "delay:ms=120",
    "delay:ms=20,jitter_ms=200",
    "gilbert-elliott:p=0.1,r=0.3+erasure:p=0.1+delay:ms=20,jitter_ms=200",
]
MORE = [
    "markov:matrix=0.8/0.2/0:0.1/0.8/0.1:0.3/0/0.7,loss=0/0.3/1",
    "exponential-delay:mean_ms=60",
    "pareto-delay:ms=10,shape=1,cap_ms=800",
    "duplicate:p=0.4,ms=90+erasure:p=0.3",
    "bandwidth:kbps=0.4,queue=2",
    "bandwidth:kbps=0.4,queue=2,drop=head+bandwidth:kbps=0.3,queue=1",
    "range:metres=0.5",
    "k-nearest:k=2+range:metres=0.6",
    "range:metres=0.6+bandwidth:kbps=0.5,queue=2,drop=head+gilbert-elliott:p=0.1,r=0.3+duplicate:p=0.5"
    "+duplicate:p=0.5,ms=20+delay:ms=0,jitter_ms=60",
]
"""Links of which packets may come twice, or not to everybody."""


COLUMNS = ("lane", "sender", "receiver", "sent_clock", "arrival_s", "data", "bits")


def losses(link: str, rounds: int, agents: int = 24, seed: int = 1) -> np.ndarray:
    """bool [round, ordered pair]: the fate of every packet when everybody speaks every round."""
    medium = Medium(link, seed, [0], agents, 0.25)
    fate = np.empty((rounds, agents * (agents - 1)), bool)
    for clock in range(rounds):
        medium.transmit(everyone(1, agents), clock)
        fate[clock] = medium.transmissions(0).lost
    return fate


# ---- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.02, 0.2, 0.5, 0.95, 1.0])
def test_erasure_loses_its_share(p: float) -> None:
    fate = losses(f"erasure:p={p}", 250)
    assert fate.size > 1e5
    assert abs(fate.mean() - p) <= SIGMAS * np.sqrt(p * (1 - p) / fate.size)


def test_erasures_are_independent_over_time_and_over_pairs() -> None:
    fate = losses("erasure:p=0.3", 400).astype(float) - 0.3
    bound = SIGMAS * 0.21 / np.sqrt(fate.size)
    assert abs((fate[1:] * fate[:-1]).mean()) <= bound
    assert abs((fate[:, 1:] * fate[:, :-1]).mean()) <= bound  # mostly: same sender, next receiver
    there, back = pair_index(24)
    assert abs((fate[:, there] * fate[:, back]).mean()) <= bound


def pair_index(agents: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns of i → j and of j → i, for i < j."""
    i, j = np.triu_indices(agents, 1)

    def column(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * (agents - 1) + b - (b > a)

    return column(i, j), column(j, i)


@pytest.mark.parametrize(("p", "r"), [(0.05, 0.2), (0.05, 0.3), (0.3, 0.9)])
def test_gilbert_elliott_loss_bursts_and_autocorrelation(p: float, r: float) -> None:
    fate = losses(f"gilbert-elliott:p={p},r={r}", 400)
    loss, memory = p / (p + r), 1 - p - r
    assert fate.size > 1e5
    variance = loss * (1 - loss)
    spread = np.sqrt(variance * (1 + abs(memory)) / (1 - abs(memory)))
    assert abs(fate.mean() - loss) <= SIGMAS * spread / np.sqrt(fate.size)
    # Stationary from the first packet on.
    assert abs(fate[0].mean() - loss) <= SIGMAS * np.sqrt(variance / fate.shape[1])
    for lag in (1, 2, 4, 8):
        here = (fate[lag:] - loss) * (fate[:-lag] - loss)
        error = here.std() * np.sqrt((1 + abs(memory)) / (1 - abs(memory))) / np.sqrt(here.size)
        assert abs(here.mean() - variance * memory**lag) <= SIGMAS * error

    length = burst_lengths(fate)
    assert len(length) > 5_000
    assert abs(length.mean() - 1 / r) <= SIGMAS * np.sqrt(1 - r) / r / np.sqrt(len(length))
    last = int(np.ceil(np.log(200 / len(length)) / np.log(1 - r)))
    seen = np.bincount(np.minimum(length, last), minlength=last + 1)[1:]
    share = r * (1 - r) ** np.arange(last)
    share[-1] = (1 - r) ** (last - 1)
    assert stats.chisquare(seen, share * len(length)).pvalue > 1e-4


def burst_lengths(fate: np.ndarray) -> np.ndarray:
    """Lengths of runs of losses that begin inside the record and have time to end in it."""
    rounds = len(fate)
    starts = np.argwhere(fate[1 : rounds - 100] & ~fate[: rounds - 101]) + [1, 0]
    lengths = np.zeros(len(starts), int)
    running = np.ones(len(starts), bool)
    for step in range(100):
        running &= fate[starts[:, 0] + step, starts[:, 1]]
        lengths += running
    return lengths


def test_gilbert_elliott_with_losses_in_both_states() -> None:
    p, r, good, bad = 0.1, 0.3, 0.05, 0.7
    fate = losses(f"gilbert-elliott:p={p},r={r},p_good={good},p_bad={bad}", 300)
    share = p / (p + r)
    loss = share * bad + (1 - share) * good
    covariance = (bad - good) ** 2 * share * (1 - share) * (1 - p - r)
    assert abs(fate.mean() - loss) <= 2 * SIGMAS * np.sqrt(loss * (1 - loss) / fate.size)
    here = (fate[1:] - loss) * (fate[:-1] - loss)
    assert abs(here.mean() - covariance) <= 2 * SIGMAS * here.std() / np.sqrt(here.size)


def test_a_pairs_chain_steps_with_its_packets_not_with_time() -> None:
    """Spoken once in five rounds, a pair still has bursts of 1 / r packets."""
    agents, r = 24, 0.2
    medium = Medium(f"gilbert-elliott:p=0.05,r={r}", 1, [0], agents, 0.25)
    fate = []
    for clock in range(1500):
        medium.transmit(everyone(1, agents) if clock % 5 == 0 else nobody(), clock)
        if clock % 5 == 0:
            fate.append(medium.transmissions(0).lost)
    length = burst_lengths(np.array(fate))
    assert abs(length.mean() - 1 / r) <= SIGMAS * np.sqrt(1 - r) / r / np.sqrt(len(length))


def test_composed_links_lose_what_either_loses() -> None:
    fate = losses("erasure:p=0.2+erasure:p=0.3", 250)
    loss = 1 - 0.8 * 0.7
    assert abs(fate.mean() - loss) <= SIGMAS * np.sqrt(loss * (1 - loss) / fate.size)


def test_composed_delays_add_up() -> None:
    medium = Medium("delay:ms=100+delay:ms=50", 1, [0], 2, 0.05)
    medium.transmit(everyone(1, 2), 10)
    np.testing.assert_allclose(medium.transmissions(0).arrival_s, 10 * 0.05 + 0.15)


def test_jitter_is_uniform() -> None:
    agents = 24
    medium = Medium("delay:ms=40,jitter_ms=300", 1, [0], agents, 0.05)
    waits = []
    for clock in range(200):
        medium.transmit(everyone(1, agents), clock)
        log = medium.transmissions(0)
        waits.append(log.arrival_s - log.sent_s)
    wait = np.concatenate(waits)
    assert wait.size > 1e5
    assert stats.kstest(wait, stats.uniform(0.04, 0.3).cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    ("period", "loss", "delay_rounds"), [(1, 0.0, 1), (1, 0.5, 1), (4, 0.2, 3), (3, 0.8, 6)]
)
def test_age_of_information_of_periodic_updates(period: int, loss: float, delay_rounds: int) -> None:
    """Mean T(1/q − ½) + D."""
    agents, round_s, rounds = 24, 0.05, 1200
    medium = Medium(f"erasure:p={loss}+delay:ms={50 * delay_rounds}", 3, [0], agents, round_s)
    age = AgeOfInformation(1, agents, round_s)
    warm = 100 * period
    before = (np.zeros(1), np.zeros(1))
    for clock in range(warm + rounds + 1):
        age.update(medium.deliver(clock), clock)
        if clock == warm:
            before = age.totals(clock)
        medium.transmit(everyone(1, agents) if clock % period == 0 else nobody(), clock)
    area, time = (after - start for after, start in zip(age.totals(warm + rounds), before, strict=True))
    q = 1 - loss
    mean = period * round_s * (1 / q - 0.5) + delay_rounds * round_s
    assert medium.decisions[0] > 1e5
    assert area[0] / time[0] == pytest.approx(mean, rel=1e-9 if loss == 0 else 0.015)


# ---- order, hand-over, determinism ---------------------------------------------------------------


def spots(episodes: list[int], agents: int, clock: int) -> np.ndarray:
    """Where agents are: places in the unit square that change from round to round."""
    return uniform(np.reshape(episodes, (-1, 1, 1)), clock, np.arange(agents)[:, None], np.arange(2))


def run(link: str, episodes: list[int], rounds: int = 30, agents: int = 5, seed: int = 7) -> list[Deliveries]:
    """Deliveries by round when a keyed half of the fleet speaks each round."""
    medium = Medium(link, seed, episodes, agents, 0.05)
    out = []
    for clock in range(rounds):
        out.append(medium.deliver(clock))
        speaks = np.array([[(e * 7 + a * 3 + clock * 5) % 11 < 5 for a in range(agents)] for e in episodes])
        lane, sender = np.nonzero(speaks)
        packets = broadcast(lane, sender, clock)
        packets.data[:, 0] = np.array(episodes)[lane]
        medium.transmit(packets, clock, spots(episodes, agents, clock))
    return out


@pytest.mark.parametrize("link", LINKS + MORE)
def test_a_lane_fares_the_same_alone_and_beside_others(link: str) -> None:
    together = run(link, [4, 9, 2, 11])
    for lane, episode in enumerate([4, 9, 2, 11]):
        for both, alone in zip(together, run(link, [episode]), strict=True):
            mine = both.lane == lane
            assert mine.sum() == len(alone)
            for column in COLUMNS[1:] if mine.any() else ():
                np.testing.assert_array_equal(getattr(both, column)[mine], getattr(alone, column))


@pytest.mark.parametrize("link", LINKS + MORE)
def test_the_order_in_which_packets_are_handed_in_does_not_matter(link: str) -> None:
    outcomes = []
    for shuffle in (False, True):
        medium = Medium(link, 7, [1, 2], 6, 0.05)
        found = []
        for clock in range(20):
            found.append(medium.deliver(clock))
            packets = everyone(2, 6, clock)
            order = np.random.default_rng(clock).permutation(12) if shuffle else np.arange(12)
            shuffled = Packets(*(column[order] for column in packets))
            medium.transmit(shuffled, clock, spots([1, 2], 6, clock))
        outcomes.append(found)
    for one, other in zip(*outcomes, strict=True):
        for column in COLUMNS:
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column))


@pytest.mark.parametrize("link", LINKS)
def test_seed_and_episode_matter_only_where_there_is_chance(link: str) -> None:
    def fates(**change: object) -> list[int]:
        return [len(d) for d in run(link, **({"episodes": [4], "seed": 7} | change))]  # type: ignore[arg-type]

    chance = link != "perfect" and not link.startswith("delay:ms=120")
    assert fates() == fates()
    assert (fates() != fates(seed=8)) == chance


@pytest.mark.parametrize("link", LINKS)
def test_packets_come_once_in_order_to_others_when_they_have_arrived(link: str) -> None:
    medium = Medium(link, 5, [3, 8], 6, 0.05)
    expected, seen = 0, 0
    for clock in range(40):
        found = medium.deliver(clock)
        seen += len(found)
        key = list(zip(found.lane, found.receiver, found.arrival_s, found.sender, strict=True))
        assert key == sorted(key)
        assert (found.sender != found.receiver).all()
        assert (found.sent_clock < clock).all()
        assert (found.arrival_s <= clock * 0.05 + 1e-9).all()
        early = found.sent_clock < clock - 1
        assert (found.arrival_s[early] > (clock - 1) * 0.05 - 1e-9).all()
        written = np.stack([found.lane, found.sender, found.sent_clock], 1)
        assert len(found) == 0 or np.array_equal(found.data, written)
        assert (found.bits == 24).all()
        medium.transmit(everyone(2, 6, clock) if clock < 30 else nobody(), clock)
        for lane in (0, 1):
            expected += int((~medium.transmissions(lane).lost).sum())
    assert len(medium.deliver(60)) == 0
    assert seen == expected == medium.delivered.sum()
    np.testing.assert_array_equal(medium.decisions, medium.lost + medium.delivered)
    np.testing.assert_array_equal(medium.decisions, [30 * 6 * 5] * 2)
    np.testing.assert_array_equal(medium.packets, 30)
    np.testing.assert_array_equal(medium.bits, 30 * 24)


def test_hand_over_is_the_next_round_or_when_the_delay_is_over() -> None:
    for link, rounds in [("perfect", 1), ("delay:ms=50", 1), ("delay:ms=51", 2), ("delay:ms=150", 3)]:
        medium = Medium(link, 1, [0], 2, 0.05)
        medium.transmit(broadcast([0], [1]), 7)
        handed = [clock for clock in range(7, 20) if len(medium.deliver(clock))]
        assert handed == [7 + rounds], link
        assert medium.delay_sum_s[0] == pytest.approx(rounds * 0.05)


def test_skipped_rounds_lose_nothing_and_widths_may_differ() -> None:
    medium = Medium("perfect", 1, [0], 3, 0.05)
    medium.transmit(broadcast([0], [2], 1), 1)
    wide = broadcast([0, 0], [0, 2], 2)
    medium.transmit(wide._replace(data=np.pad(wide.data, ((0, 0), (0, 4)), constant_values=9)), 2)
    found = medium.deliver(9)
    assert found.receiver.tolist() == [0, 0, 1, 1, 1, 2]
    assert found.sender.tolist() == [2, 2, 2, 0, 2, 0]
    assert found.data[0].tolist() == [0, 2, 1, 0, 0, 0, 0]
    assert found.data[1].tolist() == [0, 2, 2, 9, 9, 9, 9]


def test_silence_and_single_agents_are_fine() -> None:
    medium = Medium("erasure:p=0.5", 1, [0, 1], 1, 0.05)
    medium.transmit(everyone(2, 1), 0)
    assert len(medium.deliver(1)) == 0
    assert medium.decisions.sum() == 0 and medium.packets.sum() == 2
    medium.transmit(nobody(), 1)
    assert len(medium.transmissions(0).lost) == 0


def test_speaking_twice_in_a_round_is_refused() -> None:
    with pytest.raises(ValueError, match="one packet per round"):
        Medium("perfect", 1, [0], 3, 0.05).transmit(broadcast([0, 0], [1, 1]), 0)


# ---- age of information --------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data(), lanes=st.integers(1, 3), agents=st.integers(2, 4))
def test_age_equals_integration_by_hand(data: st.DataObject, lanes: int, agents: int) -> None:
    seed = data.draw(st.integers(0, 99))
    medium = Medium("erasure:p=0.4+delay:ms=0,jitter_ms=300", seed, range(lanes), agents, 0.1)
    age = AgeOfInformation(lanes, agents, 0.1)
    newest = np.zeros((lanes, agents, agents))
    area = np.zeros(lanes)
    for clock in range(1, 25):
        # The age at the start and at the end of a round in which nothing comes: a trapezium.
        own = np.eye(agents, dtype=bool)
        area += (np.where(own, 0.0, (clock - 1 - newest) + (clock - newest)) / 2).sum((1, 2)) * 0.1**2
        found = medium.deliver(clock)
        np.maximum.at(newest, (found.lane, found.receiver, found.sender), found.sent_clock)
        age.update(found, clock)
        chosen = data.draw(st.lists(st.booleans(), min_size=lanes * agents, max_size=lanes * agents))
        lane, sender = np.nonzero(np.reshape(chosen, (lanes, agents)))
        medium.transmit(broadcast(lane, sender), clock)
        total, time = age.totals(clock)
        np.testing.assert_allclose(total, area)
        np.testing.assert_allclose(time, agents * (agents - 1) * clock * 0.1)
