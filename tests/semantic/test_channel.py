"""The symbol channel against closed forms: noise, capacity, outage, echoes, and what pilots can tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import exp1

from agentsc.semantic.channel import SymbolChannel, through_echoes
from envs import keyed
from envs.errors import ConfigError

OFDM = "ofdm:snr_db={},taps=8,decay=4,subcarriers=64"


def symbols(count: int, length: int, seed: int = 3) -> np.ndarray:
    """QPSK: every row has energy 1 exactly."""
    bits = keyed.uniform(seed, np.arange(count)[:, None, None], np.arange(length)[:, None], np.arange(2)) < 0.5
    return (np.where(bits[..., 0], 1, -1) + 1j * np.where(bits[..., 1], 1, -1)) / np.sqrt(2.0)


@pytest.mark.parametrize("snr_db", [-3.0, 0.0, 10.0])
def test_noise_is_complex_gaussian_of_the_stated_power(snr_db: float) -> None:
    sent = symbols(200, 500)
    heard = SymbolChannel(f"awgn:snr_db={snr_db}", 1).send(sent)
    noise = heard.received - sent
    level = 10.0 ** (-snr_db / 10.0)
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(level, rel=0.02)
    assert noise.real.var() == pytest.approx(level / 2.0, rel=0.02), "half of it per real number"
    assert heard.noise_variance == pytest.approx(level) and np.all(heard.gain == 1.0)


def test_capacity_over_awgn_is_shannons() -> None:
    heard = SymbolChannel("awgn:snr_db=7", 1).send(symbols(4, 96))
    assert heard.capacity_bits == pytest.approx(96 * np.log2(1.0 + 10.0**0.7))


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_capacity_and_outage_in_rayleigh_fading_are_the_closed_forms(snr_db: float) -> None:
    snr = 10.0 ** (snr_db / 10.0)
    heard = SymbolChannel(f"rayleigh:snr_db={snr_db}", 5).send(symbols(60_000, 2))
    per_use = heard.capacity_bits / 2.0
    ergodic = np.exp(1.0 / snr) * exp1(1.0 / snr) / np.log(2.0)
    assert per_use.mean() == pytest.approx(ergodic, rel=0.01)
    for rate in (0.5, 1.0, 2.0):
        outage = 1.0 - np.exp(-(2.0**rate - 1.0) / snr)
        error = np.sqrt(outage * (1.0 - outage) / len(per_use))
        assert abs((per_use < rate).mean() - outage) < 4.0 * error


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
@pytest.mark.parametrize("pilots", [1, 4])
def test_errors_of_estimated_gains_are_the_closed_forms(snr_db: float, pilots: int) -> None:
    noise = 10.0 ** (-snr_db / 10.0) / pilots
    profile = np.exp(-np.arange(8) / 4.0)
    profile /= profile.sum()
    line = 10.0**0.3
    cases = {
        f"rayleigh:snr_db={snr_db}": {"ls": noise, "mmse": noise / (1.0 + noise)},
        f"rician:snr_db={snr_db},k_db=3": {
            "ls": noise,
            "mmse": noise / (line + 1.0) / (1.0 / (line + 1.0) + noise),
        },
        OFDM.format(snr_db): {"ls": noise, "mmse": (profile * noise / 64 / (profile + noise / 64)).sum()},
    }
    for spec, errors in cases.items():
        for csi, error in errors.items():
            heard = SymbolChannel(spec, 2, csi=csi, pilots=pilots).send(symbols(6000, 64))
            found = np.abs(heard.gain - heard.true_gain) ** 2
            assert found.mean() == pytest.approx(error, rel=0.05), (spec, csi)
            assert heard.noise_variance - heard.true_noise == pytest.approx(error), "it knows how unsure"


@pytest.mark.parametrize("length", [64, 100, 7])
def test_a_prefix_as_long_as_the_echoes_makes_every_subcarrier_flat(length: int) -> None:
    channel = SymbolChannel(OFDM.format(10), 4)
    sent = symbols(20, length)
    heard = channel.send(sent)
    taps = channel._analog.taps(np.arange(20))
    assert heard.true_gain == pytest.approx(np.fft.fft(taps, 64, axis=1)[:, np.arange(length) % 64])
    for prefix in (7, 12, 70):
        assert through_echoes(sent, taps, 64, prefix) == pytest.approx(heard.true_gain * sent, abs=1e-12)
    short = through_echoes(sent, taps, 64, 2)
    assert np.mean(np.abs(short - heard.true_gain * sent) ** 2) > 1e-3, "a short prefix lets echoes leak"


def test_what_an_image_takes_is_counted() -> None:
    uses = SymbolChannel(OFDM.format(10), 1, csi="mmse", pilots=2).uses(256)
    assert (uses.data, uses.pilots, uses.prefix, uses.total) == (256, 128, 6 * 12, 256 + 128 + 72)
    flat = SymbolChannel("rayleigh:snr_db=3", 1, csi="ls", pilots=3).uses(256)
    assert (flat.data, flat.pilots, flat.prefix) == (256, 3, 0)
    assert SymbolChannel("rayleigh:snr_db=3", 1, csi="known", pilots=3).uses(256).total == 256
    assert SymbolChannel("awgn:snr_db=3", 1, csi="ls", pilots=3).uses(256).total == 256, "nothing to estimate"


def test_relative_to_received_power_a_fade_brings_its_noise_down_with_it() -> None:
    sent = symbols(500, 64)
    heard = SymbolChannel("rayleigh:snr_db=10", 3, reference="received").send(sent)
    arrived = np.mean(np.abs(heard.true_gain * sent) ** 2, axis=1)
    assert heard.true_noise == pytest.approx(0.1 * arrived)
    noise = heard.received - heard.true_gain * sent
    assert np.mean(np.abs(noise) ** 2 / heard.true_noise[:, None]) == pytest.approx(1.0, rel=0.02)


def test_what_an_image_meets_is_its_own() -> None:
    channel, sent = SymbolChannel(OFDM.format(5), 9, csi="mmse"), symbols(6, 96)
    whole, part = channel.send(sent), channel.send(sent[2:5], first=2)
    assert np.array_equal(whole.received[2:5], part.received) and np.array_equal(whole.gain[2:5], part.gain)
    again = channel.send(sent, use=1)
    assert not np.array_equal(again.received, whole.received), "another transmission is another draw"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"spec": "erasure:p=0.1"}, "snr_db"),
        ({"spec": "awgn"}, "snr_db"),
        ({"spec": "awgn:snr_db=3+delay:ms=3"}, "one radio link"),
        ({"csi": "guessed"}, "csi"),
        ({"pilots": 0}, "pilots"),
        ({"reference": "somewhere"}, "reference"),
        ({"spec": "ofdm:snr_db=3,taps=20,subcarriers=16"}, "taps"),
    ],
)
def test_what_cannot_be_is_refused(options: dict, word: str) -> None:
    options = {"spec": "rayleigh:snr_db=3", **options}
    with pytest.raises(ConfigError, match=word):
        SymbolChannel(options.pop("spec"), 1, **options)


def test_symbols_of_another_energy_are_refused() -> None:
    sent = symbols(3, 16)
    sent[1] *= 2.0
    with pytest.raises(ConfigError, match="row 1"):
        SymbolChannel("awgn:snr_db=3", 1).send(sent)
