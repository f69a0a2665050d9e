"""Radios: budgets, curves, modes, and what can be asked of the analog channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from traffic import everyone

from agentsc.links import Draw, Held, Hop, Pairs, Surroundings, parse_link
from agentsc.links.medium import Medium
from agentsc.links.parts import Overlaps
from agentsc.links.presets import PRESETS
from agentsc.links.radio import packet_error
from agentsc.links.radio.analog import AnalogChannel
from agentsc.links.radio.budget import FEATURES, free_space_db, log_distance_db, noise_dbm, shadow_field
from agentsc.links.radio.link import LADDER, RadioLink
from agentsc.links.radio.modulation import BITS, bit_error_rate, demodulate, modulate
from agentsc.links.reach import everyone as all_pairs
from envs.errors import ConfigError
from envs.geometry import Obstacles, segment_inside
from envs.keyed import hash_words

BUDGET = "tx_dbm=0,carrier_ghz=2.4,exponent=3"


def radio(spec: str) -> RadioLink:
    link = parse_link(spec)[0]
    assert isinstance(link, RadioLink)
    return link


def hop_of(spots: np.ndarray, clock: int = 3, obstacles: Obstacles | None = None) -> Hop:
    lanes, agents = spots.shape[:2]
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, agents)))
    clocks, bits = np.full(len(lane), clock, np.int32), np.full(len(lane), 72, np.int32)
    packets = Held.new(lane, sender, clocks, np.zeros((len(lane), 9), np.uint8), bits, clocks * 0.05)
    return Hop(packets, all_pairs(sender, agents), Surroundings(agents, spots, obstacles))


def test_textbook_budget() -> None:
    assert float(free_space_db(1.0, 2.4e9)) == pytest.approx(40.05, abs=0.01)
    assert float(log_distance_db(100.0, 40.0, 1.0, 3.0)) == pytest.approx(100.0)
    assert float(log_distance_db(0.1, 40.0, 1.0, 3.0)) == 40.0
    assert noise_dbm(1e6, 7.0) == pytest.approx(-107.0)


def test_packets_arrive_as_far_as_the_budget_reaches() -> None:
    link = radio(f"awgn:{BUDGET},decoding=threshold,threshold_db=10")
    # 0 dBm − 40.05 − 30 log10 d + 107 = 10 dB at d = 10^(56.95 / 30).
    edge = 10.0 ** ((107.0 - 40.05 - 10.0) / 30.0)
    assert edge < link.reach_m < 3 * edge
    medium = Medium([link], 1, [0], 3, 0.05)
    spots = np.array([[[0.0, 0.0], [0.99 * edge, 0.0], [-1.01 * edge, 0.0]]])
    medium.transmit(everyone(1, 3), 0, spots)
    found = medium.transmissions(0)
    heard = set(zip(found.sender[~found.lost].tolist(), found.receiver[~found.lost].tolist(), strict=True))
    assert heard == {(0, 1), (1, 0)}
    assert medium.lost.sum() == 4


def test_what_is_out_of_reach_is_lost_for_range() -> None:
    medium = Medium(f"rayleigh:{BUDGET}", 1, [0], 3, 0.05)
    medium.transmit(everyone(1, 3), 0, np.array([[[0.0, 0.0], [1.0, 0.0], [1e5, 0.0]]]))
    assert medium.books.by_link[0]["range"] == 4


def test_obstacles_attenuate_by_metres_up_to_a_limit() -> None:
    boxes = np.array([[5.0, 0.0, 1.0, 2.0, 0.0], [9.0, 0.0, 0.5, 0.5, 0.5]], np.float32)
    obstacles = Obstacles(boxes=boxes)
    begin, end = np.zeros((3, 2)), np.array([[12.0, 0.0], [3.0, 0.0], [12.0, 8.0]])
    np.testing.assert_allclose(segment_inside(obstacles, begin, end), [3.0, 0.0, 0.0], atol=0.04)
    spots = np.array([[[0.0, 0.0], [12.0, 0.0]]])
    levels: list[float] = []
    for extra in ("", ",obstacle_db_per_m=4", ",obstacle_db_per_m=40,obstacle_max_db=25"):
        link = radio(f"awgn:{BUDGET}{extra}")
        hop = hop_of(spots, obstacles=obstacles)
        levels.append(10 * np.log10(link._levels(hop, np.zeros((1, 2)))[0][0]))
    assert levels[0] - levels[1] == pytest.approx(12.0, abs=0.4) and levels[0] - levels[2] == pytest.approx(25.0)


def test_fading_by_motion_is_reciprocal_and_stands_still_with_its_ends() -> None:
    link = radio("rician:snr_db=8,k_db=3,coherence=motion,carrier_ghz=5.9")
    spots = np.random.default_rng(0).uniform(0, 9, (4, 5, 2))
    seeds = hash_words(1, np.arange(4))
    first, later = (hop_of(spots, clock) for clock in (3, 900))
    gain = link.channel(first, Draw(first, seeds))
    np.testing.assert_array_equal(gain, link.channel(later, Draw(later, seeds)))
    table = np.zeros((4, 5, 5), complex)
    table[first.lane[first.packet], first.sender[first.packet], first.receiver] = gain
    np.testing.assert_allclose(table, table.transpose(0, 2, 1), rtol=1e-9)
    assert len(np.unique(gain.round(9))) == 4 * 10


def test_shadowing_is_the_sum_of_both_ends() -> None:
    link = radio(f"awgn:{BUDGET},shadowing_db=6")
    spots = np.random.default_rng(0).uniform(0, 900, (500, 4, 2))
    hop = hop_of(spots)
    shadow = link._shadows(hop, Draw(hop, hash_words(1, np.arange(500))))
    both = shadow[:, 0] + shadow[:, 1]
    assert both.std() == pytest.approx(6.0, rel=0.1)
    # Links that share an end correlate by one half: within 4 standard errors.
    assert np.corrcoef(both, shadow[:, 1] + shadow[:, 2])[0, 1] == pytest.approx(0.5, abs=4 * 0.75 / np.sqrt(500))


@pytest.mark.parametrize("extra", ["", ",obstacle_db_per_m=4"])
def test_interference_adds_up_as_in_an_array_expression(extra: str) -> None:
    link = radio(f"awgn:{BUDGET}{extra}")
    spots = np.random.default_rng(0).uniform(0, 9, (2, 4, 2))
    obstacles = Obstacles(boxes=np.array([[4.0, 4.0, 2.0, 1.0, 0.5]]))
    hop = hop_of(spots, obstacles=obstacles)
    # Every packet is overlapped by the next two senders, for half and for a quarter of its time.
    others = ((hop.sender[:, None] + [1, 2]) % 4).astype(np.int32)
    hop.__dict__["overlaps"] = Overlaps(np.arange(0, 17, 2), others.ravel(), np.tile([0.5, 0.25], 8))
    shadow = np.random.default_rng(1).normal(0, 4, (2, 4))
    found = link._interference(hop, Draw(hop, hash_words(1, np.arange(2))), shadow)
    wanted = []
    for k, who in zip(hop.packet, hop.receiver, strict=True):
        power, lane = 0.0, hop.lane[k]
        for other, share in zip(others[k], (0.5, 0.25), strict=True):
            if other != who:
                begin, end = spots[lane, other], spots[lane, who]
                loss = log_distance_db(np.linalg.norm(begin - end), link.near_db, 1.0, 3.0)
                both = shadow[lane, other] + shadow[lane, who]
                loss = loss + both / np.sqrt(1.0 + np.exp(-np.linalg.norm(begin - end) / 10.0))
                loss += link.obstacle_db_per_m * segment_inside(obstacles, begin, end)
                power += share * 10.0 ** (0.1 * (0.0 - loss))
        wanted.append(power)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_interference_costs_packets_and_is_the_reason() -> None:
    """Two senders as strong as each other: below a threshold of 0 dB nothing is decoded, alone everything is."""
    link = radio("awgn:tx_dbm=20,carrier_ghz=2.4,decoding=threshold,threshold_db=0.5")
    hop = hop_of(np.array([[[0.0, 0.0], [4.0, 0.0], [2.0, 0.0]]]))
    draw = Draw(hop, hash_words(1, np.arange(1)))
    assert not any(lost.any() for lost in link.carry(hop, draw, None).lost.values())
    hop.__dict__["overlaps"] = Overlaps(np.array([0, 1, 2, 2]), np.array([1, 0], np.int32), np.ones(2))
    lost = link.carry(hop, draw, None).lost
    assert not lost["fading"].any()
    middle = (hop.receiver == 2) & (hop.packet < 2)
    np.testing.assert_array_equal(lost["interference"], middle)


def test_compiled_strengths_are_the_budget() -> None:
    link = radio(f"awgn:{BUDGET},shadowing_db=6")
    spots = np.random.default_rng(0).uniform(0, 60, (3, 6, 2))
    spots[0, 1] = spots[0, 0] + 0.2  # nearer than the reference distance
    hop = hop_of(spots)
    shadow = link._shadows(hop, Draw(hop, hash_words(1, np.arange(3))))
    power, noise, delay = link._levels(hop, shadow)
    lane, sender = hop.lane[hop.packet], hop.sender[hop.packet]
    loss = log_distance_db(hop.distance_m, float(free_space_db(1.0, 2.4e9)), 1.0, 3.0)
    both = shadow[lane, sender] + shadow[lane, hop.receiver]
    level = -loss - both / np.sqrt(1.0 + np.exp(-hop.distance_m / 10.0))
    np.testing.assert_allclose(10 * np.log10(power), level, atol=1e-9)
    assert 10 * np.log10(noise) == pytest.approx(noise_dbm(1e6, 7.0))
    np.testing.assert_allclose(delay, hop.distance_m / 299_792_458.0 + 72 / 2e6)


def test_time_on_the_air_is_counted_once() -> None:
    """By the access link where there is one, by the radio otherwise, for relayed packets, too."""
    link = radio(f"awgn:{BUDGET}")
    hop = hop_of(np.zeros((1, 3, 2)))
    passed = Hop(hop.packets._replace(start_s=hop.sent_s - 0.01), all_pairs(hop.sender, 3), hop.around)
    copied = Hop(hop.packets.take(np.array([1, 2])), all_pairs(hop.sender[1:], 3), hop.around)
    shadow = np.zeros((1, 3))
    for each, airtime in ((hop, 72 / 2e6), (passed, 0.0), (copied, 72 / 2e6)):
        np.testing.assert_allclose(link._levels(each, shadow)[2], airtime)


def test_compiled_shadowing_is_the_array_expression() -> None:
    keys, spots = hash_words(5, np.arange(20)), np.random.default_rng(0).uniform(-50, 50, (20, 7, 2))
    field = np.empty((20, 7))
    from agentsc.links.radio import _kernels

    _kernels.shadow_field(keys, spots, 12.0, FEATURES, field)
    np.testing.assert_allclose(field, shadow_field(keys, spots, 12.0), atol=1e-4)  # amplitudes there are float32


@pytest.mark.parametrize("modulation", list(BITS))
def test_compiled_means_over_subcarriers_are_the_array_expressions(modulation: str) -> None:
    snr = 10.0 ** np.random.default_rng(0).uniform(-3, 3.5, (400, 5))
    snr[0], snr[1, 0] = 0.0, 1e9
    exact = bit_error_rate(snr, modulation).mean(-1)
    np.testing.assert_allclose(packet_error.mean_bit_error_rate(snr, modulation), exact, rtol=4e-5, atol=1e-17)
    packets = 1.0 - np.prod((1.0 - bit_error_rate(snr, modulation)) ** (60 / 5), axis=1)
    np.testing.assert_allclose(packet_error.uncoded_spread(snr, modulation, 60), packets, rtol=5e-5, atol=1e-14)
    middle, spread = packet_error.mean_capacity(snr)
    np.testing.assert_allclose(middle, packet_error.capacity(snr).mean(-1), rtol=1e-12)
    np.testing.assert_allclose(spread, packet_error.dispersion(snr).mean(-1), rtol=1e-12)


def test_compiled_multipath_is_a_fourier_transform_of_gaussian_taps() -> None:
    from agentsc.links.radio import _kernels

    gain, power = np.empty((100_001, 8)), np.array([0.5, 0.3, 0.2])
    _kernels.multipath_gain(hash_words(5, np.arange(len(gain))), power, gain)
    half = len(gain) // 2
    part = np.empty((7, 8))
    _kernels.multipath_gain(hash_words(5, half + np.arange(7)), power, part)
    np.testing.assert_array_equal(part, gain[half : half + 7])
    error = 1.0 / np.sqrt(len(gain))
    np.testing.assert_allclose(gain.mean(0), 1.0, atol=4 * error)
    for apart in (1, 4):
        wanted = abs(power @ np.exp(-2j * np.pi * apart * np.arange(3) / 8)) ** 2
        product = (gain[:, 0] - 1.0) * (gain[:, apart] - 1.0)
        assert product.mean() == pytest.approx(wanted, abs=4 * product.std() * error)


def test_an_adaptive_sender_takes_the_mode_that_most_neighbours_can_hear() -> None:
    link = radio("awgn:snr_db=0,decoding=finite-blocklength,adaptive=true,serve=0.5,backoff_db=0")
    packets = hop_of(np.zeros((1, 3, 2))).packets
    heard = np.full((1, 3, 3), np.nan, np.float32)
    mode, rate = link.mode(packets, heard)
    assert mode.tolist() == [0, 0, 0], "nothing heard: the most robust mode"
    heard[0, 1], heard[0, 2] = [40.0, np.nan, 40.0], [np.nan, -9.0, np.nan]
    mode, rate = link.mode(packets, heard)
    assert mode.tolist() == [0, len(LADDER) - 1, 0] and rate[1] == pytest.approx(1e6 * 6 * 0.75)
    needed = [link.needed_db(step, 72) for step in range(len(LADDER))]
    assert needed == sorted(needed)
    heard[0, 0] = [np.nan, needed[3] + 0.1, needed[3] + 0.1]
    assert link.mode(packets, heard)[0][0] == 3


def test_an_adaptive_radio_is_faster_where_it_is_heard_well() -> None:
    airtimes = []
    for level in (3, 30):
        spec = f"awgn:snr_db={level},bandwidth_khz=10,decoding=finite-blocklength,adaptive=true+tdma:slot_ms=10"
        medium = Medium(spec, 1, [0], 4, 0.05)
        for clock in range(20):
            medium.deliver(clock)
            medium.transmit(everyone(1, 4, bits=96), clock)
        airtimes.append(medium.airtime_s.sum())
    assert airtimes[1] < 0.5 * airtimes[0]


def test_tables_interpolate_and_scale_with_length(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("# made up\nsnr_db,per,bits\n0,0.1,100\n10,0.001,100\n")
    curve = packet_error.read_curves(str(path))[0]
    snr = 10.0 ** (0.1 * np.array([-0.1, 0.0, 5.0, 30.0]))
    np.testing.assert_allclose(packet_error.tabulated(curve, snr, np.full(4, 100)), [1.0, 0.1, 0.01, 1e-7])
    assert packet_error.tabulated(curve, snr[1:2], np.array([200]))[0] == pytest.approx(1 - 0.9**2)
    assert radio(f"awgn:snr_db=5,decoding=table,table={path}").packet_error(
        np.array([[10.0**0.5]]), np.array([100]), np.zeros(1, np.int32)
    ) == pytest.approx([0.01])


def test_the_shipped_table_is_of_codes_near_the_bound_and_no_better() -> None:
    curves = packet_error.read_curves(packet_error.SHIPPED)
    assert list(curves) == list(range(len(LADDER)))
    for mode, curve in curves.items():
        assert curve.bits == 144 and curve.per[0] > 0.9 and curve.per[-1] < 2e-3
        snr = 10.0 ** (0.1 * curve.snr_db)[:, None]
        modulation, rate = LADDER[mode]
        bound = packet_error.finite_blocklength(snr, np.full(len(snr), 144), BITS[modulation] * rate)
        assert (curve.per[:-1] >= bound[:-1]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("snr_db,bits\n0,1\n", r"must have a column per, got 'snr_db,bits'"),
        ("snr_db,per\n0,x\n", r"line 2 column per must be a number, got 'x'"),
        ("snr_db,per\n0,1.5\n", r"line 2 column per must be in \[0, 1\], got 1.5"),
        ("snr_db,per\n3,1\n1,0.5\n", r"line 3 column snr_db must be above the row before, 3"),
        ("snr_db,per\n3,1\n", r"must have at least two rows of mode 0, got 1"),
        ("snr_db,per\n3,1,2\n", r"line 2 must have 2 columns, got 3"),
        ("", r"must have a column snr_db, got 'nothing'"),
    ],
)
def test_mistakes_in_a_table_have_a_place(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        parse_link(f"awgn:snr_db=5,decoding=table,table={path}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rayleigh", r"link\.rayleigh: give either snr_db .* or tx_dbm .*, got neither"),
        ("awgn:snr_db=3,tx_dbm=1", r"got both"),
        ("awgn:tx_dbm=1", r"needs carrier_ghz or reference_db"),
        ("rayleigh:snr_db=3,coherence=motion", r"coherence=motion needs carrier_ghz"),
        ("awgn:snr_db=3,decoding=threshold", r"needs threshold_db"),
        ("awgn:snr_db=3,decoding=table,residual=true", r"residual needs decoding=uncoded, got table"),
        ("awgn:snr_db=3,modulation=8psk", r"link\.awgn\.modulation must be 'bpsk', 'qpsk'"),
        ("awgn:snr_db=3,bandwidth_khz=-1", r"link\.awgn\.bandwidth_khz must be greater than 0, got -1"),
        ("awgn:snr_db=3,decoding=table,table=nowhere.csv", r"table must be 5g-ldpc or a readable CSV file"),
        (
            "awgn:snr_db=3,decoding=table,code_rate=0.6",
            r"table 5g-ldpc must have a curve of qpsk at rate 0.6, no mode of .*bpsk 1/2, qpsk 1/2",
        ),
        ("ofdm:snr_db=3,coherence=motion,carrier_ghz=1", r"link\.ofdm\.coherence: must be packet, got motion"),
        ("vehicular:txdbm=3", r"link\.vehicular parameter 'txdbm' is not known: did you mean 'tx_dbm'"),
    ],
)
def test_bad_radios_get_a_sentence(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_link(spec)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_whole_radios(name: str) -> None:
    medium = Medium(f"{name}+erasure:p=1e-1", 1, [0, 1], 5, 0.05)
    assert len(medium.links) == 3 and PRESETS[name].description.endswith(".")
    spots = np.random.default_rng(0).uniform(0, 5, (2, 5, 2))
    for clock in range(80):
        medium.deliver(clock)
        medium.transmit(everyone(2, 5, bits=72), clock, spots)
    assert (medium.books.whole == medium.delivered + medium.lost + medium.in_flight).all()
    assert medium.delivered.sum() > 0
    named = {key.strip() for keys in PRESETS[name].sources for key in keys.split(",")}
    assert named <= {field for link in medium.links for field in type(link).model_fields}


def test_a_parameter_goes_to_the_part_of_a_preset_that_has_it() -> None:
    first, second = parse_link("vehicular:tx_dbm=10,cw=7")
    assert first.tx_dbm == 10.0 and second.cw == 7 and first.carrier_ghz == 5.9  # type: ignore[attr-defined]


@pytest.mark.parametrize("modulation", list(BITS))
def test_bits_survive_modulation(modulation: str) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (3, 60))
    symbols = modulate(bits, modulation)
    assert symbols.shape == (3, 60 // BITS[modulation])
    np.testing.assert_array_equal(demodulate(symbols, modulation), bits)
    if BITS[modulation] > 1:
        with pytest.raises(ValueError, match="groups of"):
            modulate(bits[:, :59], modulation)


def test_ofdm_in_frequency_is_a_convolution_in_time() -> None:
    channel = AnalogChannel("ofdm:snr_db=300,taps=5,subcarriers=16", 3)
    symbols = modulate(np.random.default_rng(1).integers(0, 2, (4, 64)), "qpsk")
    found = channel.send(symbols)
    taps = channel.taps(np.arange(4))
    for block in range(4):
        for part in range(2):
            carried = symbols[block, 16 * part : 16 * part + 16]
            time = np.fft.ifft(carried)
            prefixed = np.concatenate([time[-8:], time])  # a cyclic prefix longer than the channel
            received = np.fft.fft(np.convolve(prefixed, taps[block])[8:24])
            np.testing.assert_allclose(received, found.symbols[block, 16 * part : 16 * part + 16], atol=1e-9)


def test_a_block_meets_the_same_whatever_is_sent_beside_it() -> None:
    channel = AnalogChannel("rayleigh:snr_db=5", 3)
    symbols = modulate(np.random.default_rng(1).integers(0, 2, (6, 40)), "qpsk")
    whole, part = channel.send(symbols, use=2), channel.send(symbols[2:4], use=2, first=2)
    np.testing.assert_array_equal(whole.symbols[2:4], part.symbols)
    assert not np.array_equal(channel.send(symbols, use=3).gain, whole.gain)
    assert (np.ptp(whole.gain, axis=1) == 0).all() and whole.noise_variance == pytest.approx(10**-0.5)
    with pytest.raises(ConfigError, match="one radio link with snr_db"):
        AnalogChannel("erasure:p=0.1", 3)


@pytest.mark.parametrize(
    "spec",
    [
        f"rayleigh:{BUDGET},shadowing_db=6,obstacle_db_per_m=3",
        f"rician:{BUDGET},shadowing_db=6,coherence=motion,decoding=finite-blocklength",
        f"ofdm:{BUDGET},residual=true",
    ],
)
def test_what_a_packet_meets_does_not_depend_on_rows_or_lanes_beside_it(spec: str) -> None:
    link = radio(spec)
    spots = np.random.default_rng(0).uniform(0, 400, (3, 6, 2))
    obstacles = Obstacles(boxes=np.array([[200.0, 200.0, 60.0, 60.0, 0.0]]))
    seeds = hash_words(1, np.arange(3))
    whole = hop_of(spots, obstacles=obstacles)
    others = ((whole.sender[:, None] + [1, 2]) % 6).astype(np.int32).ravel()

    def effect(hop: Hop, seeds: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, ...]:
        hop.__dict__["overlaps"] = Overlaps(np.arange(0, len(others) + 1, 2), others, np.full(len(others), 0.5))
        found = link.carry(hop, Draw(hop, seeds), None)
        lost = found.error_rate if found.error_rate is not None else np.stack(list(found.lost.values()), 1)
        return lost, np.asarray(found.delay_s)

    everything = effect(whole, seeds, others)
    some = np.arange(1, len(whole), 3)
    part = Hop(whole.packets, Pairs(whole.packet[some], whole.receiver[some]), whole.around)
    for one, own in zip(everything, effect(part, seeds, others), strict=True):
        np.testing.assert_array_equal(one[some], own)
    last = hop_of(spots[2:], obstacles=obstacles)
    rows = np.flatnonzero(whole.lane[whole.packet] == 2)
    for one, own in zip(everything, effect(last, seeds[2:], others[-12:]), strict=True):
        np.testing.assert_array_equal(one[rows], own)
    assert 0 < everything[0].astype(float).sum() < everything[0].size
