"""The machine scenario end to end, on small networks: budgets, what crosses, gates, closed forms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars
import pytest

import agentsc
from agentsc.cli import main
from agentsc.links.radio import packet_error
from agentsc.semantic import DECODERS, PERCEIVERS, RECEIVERS, quality
from agentsc.semantic import perceive as module
from agentsc.semantic.budget import Budget, Spread, bits_of, most_that_fit, shared
from agentsc.semantic.channel import SymbolChannel
from agentsc.semantic.detection import f1, objects
from agentsc.semantic.perceive import deliver, path_of
from agentsc.semantic.perceiver import Delivered, Pictured, Seen, Sent, Station, one_hot
from agentsc.semantic.perceivers.gesco import SIDES, noisy_map
from agentsc.semantic.receiver import Decoded, Decoder
from agentsc.semantic.simplify import fit, worth
from agentsc.semantic.source import of_scenes
from envs import keyed
from envs.errors import ConfigError
from envs.scenery import AGENT, FLOOR, GOAL, OBSTACLE, TRAIL
from policies import rows
from policies.scene.machine import machine_core
from policies.scene.map_code import MapCode
from policies.scene.presets import SCENES
from policies.scene.train import train

SMALL = {
    "map-coder": {"reach": 2, "width": 16, "hidden": 8, "steps": 30},
    "soft-map": {"planes": 8, "fine": 8, "coarse": 16, "blocks": 1, "steps": 30},
    "map-prior": {"width": 8, "multipliers": (1, 2), "steps": 12},
    "map-to-scene": {"width": 8, "multipliers": (1, 2), "guide": 8, "steps": 12},
}
METRICS = {
    "psnr_db", "ssim", "fd_task", "miou", "miou_sent", "f1", "f1_sent", "network_calls", "cpu_ms", "channel_uses",
    "bytes_equivalent",
}  # fmt: skip
QUICK = {"gesco": ":steps=2", "q-gesco": ":steps=2", "latent": ":steps=2", "hybrid": ":steps=2", "gated": ":steps=2"}


@pytest.fixture(scope="module")
def small(weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of all models, small ones."""
    folder = tmp_path_factory.mktemp("machine")
    made = dict(weights)
    for name, options in SMALL.items():
        preset = SCENES.create(name, **options, batch=8, held_out=16)
        made[name] = folder / f"{name}.safetensors"
        train(name, preset=preset, out=made[name])
    return made


@pytest.fixture(scope="module")
def station(small: dict[str, Path]) -> Station:
    needs = {need for name in PERCEIVERS for need in PERCEIVERS.get(name).needs}  # type: ignore[attr-defined]
    core, codec, maps = machine_core(needs, small)
    return Station(core, codec, maps, small)


def seen_by(station: Station, count: int, first: int = 0) -> Seen:
    source = of_scenes(first, count, 32, "birds-eye")
    labels, soft, _ = station.look(source.rgb)
    return Seen(source.rgb, labels, soft)


@pytest.mark.parametrize("name", list(RECEIVERS))
def test_every_path_gives_what_the_contract_says(name: str, small: dict[str, Path], tmp_path: Path) -> None:
    result = agentsc.perceive(
        scene=3, images=3, bits=512, decoder=name + QUICK.get(name, ""), weights=small, out=tmp_path / "out"
    )
    assert result.labels.shape == result.truth.shape == (3, 32, 32) and result.labels.max() < 6
    assert set(result.metrics) >= METRICS
    for metric, figure in result.metrics.items():
        assert set(figure) >= {"mean", "ci95", "n"}
        if figure["mean"] is None:
            assert metric.startswith(("fd_task", "psnr", "ssim")) and figure["reason"]
        else:
            assert np.isfinite(figure["mean"]) and figure["n"] == 3
    pictured = name in DECODERS or name in ("gesco", "q-gesco")
    assert (result.received is not None) == pictured == (result.metrics["psnr_db"]["mean"] is not None)
    assert result.metrics["channel_uses"]["mean"] == Budget(512, 10.0).uses == 149
    assert result.metrics["miou"]["mean"] == pytest.approx(quality.miou(result.labels, result.truth, 6).mean())
    kept = json.loads((tmp_path / "out" / "result.json").read_text())
    assert kept["metrics"] == json.loads(json.dumps(result.metrics)) and kept["config"]["bits"] == 512
    assert len(polars.read_parquet(tmp_path / "out" / "images.parquet")) == 3
    assert (tmp_path / "out" / "side-by-side.png").is_file()


def test_enough_scenes_have_a_frechet_distance(small: dict[str, Path]) -> None:
    found = agentsc.perceive(scene=0, images=64, bits=1600, decoder="gesco:steps=2,weight=1", weights=small).metrics
    assert found["fd_task"]["n"] == 64 and found["fd_task"]["ci95"][0] <= found["fd_task"]["mean"]
    assert found["network_calls"]["mean"] == 2, "one call a step without a second, free one"


def test_a_budget_is_what_the_nominal_channel_carries() -> None:
    assert Budget(128, 0.0).uses == 128 and Budget(128, 10.0 * np.log10(3.0)).uses == 64
    for bits in (128, 3200):
        for snr in (0.0, 7.3, 20.0):
            uses = Budget(bits, snr).uses
            assert uses * np.log2(1.0 + 10.0 ** (0.1 * snr)) >= bits - 1e-6
            assert (uses - 1) * np.log2(1.0 + 10.0 ** (0.1 * snr)) < bits
    assert bits_of("512") == bits_of(512.0) == 512
    assert most_that_fit((16, 32, 48), 40) == 32 and most_that_fit((16, 32), 5) == 16


@pytest.mark.parametrize("bits", [0, -5, "many", 3.5, float("nan"), float("inf"), 10**9, None, "1e400"])
def test_bad_bits_are_told_of(bits: object, small: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bits must be"):
        agentsc.perceive(scene=0, bits=bits, weights=small, out=tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"decoder": "mapp"}, "choose one of .*soft-map"),
        ({"decoder": "map:code=turbo"}, "code"),
        ({"decoder": "soft-map:users=0"}, "users"),
        ({"decoder": "soft-map:dropped=1"}, "dropped"),
        ({"decoder": "hybrid:first=0"}, "first"),
        ({"decoder": "gesco:labels=mine"}, "labels"),
        ({"scene": -1}, "scene"),
        ({"images": 0}, "images"),
        ({"link": "erasure:p=0.5"}, "snr_db"),
        ({"csi": "guess"}, "csi"),
        ({"families": ["mazy"]}, "maze"),
        ({"weights": {"map-coder": "no.safetensors"}, "decoder": "map"}, "no.safetensors"),
    ],
)
def test_what_cannot_be_perceived_is_refused(options: dict, word: str, small: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=word):
        agentsc.perceive(**{"scene": 0, "images": 2, "weights": small, **options})


@pytest.mark.parametrize("bits", [8, 24, 128])
@pytest.mark.parametrize("code", ["capacity", "ldpc", "capacity,backoff_db=5"])
def test_packets_never_have_more_bits_than_the_budget(bits: int, code: str, station: Station) -> None:
    source = of_scenes(0, 2, 32, "birds-eye")
    assert source.labels is not None
    chosen, seen = path_of(f"map:code={code}"), Seen(source.rgb, source.labels, one_hot(source.labels))
    for snr in (-2.0, 10.0):
        budget = Budget(bits, snr)
        sent = chosen.send(station, seen, budget)
        assert sent.packets is not None and sent.bits is not None
        assert (sent.bits <= min(bits, chosen.room(budget))).all()  # type: ignore[union-attr]
        for packet, used in zip(sent.packets, sent.bits, strict=True):
            assert packet is None or 8 * (len(packet) - 1) < used <= 8 * len(packet)
    roomy = chosen.room(Budget(3200, 10.0))  # type: ignore[union-attr]
    assert roomy == 3200 if code == "capacity" else roomy < 3200, "protection takes its share"


def test_a_map_that_fits_arrives_as_it_was(station: Station) -> None:
    seen = seen_by(station, 8)
    chosen, budget = path_of("map"), Budget(30_000, 10.0)
    sent = chosen.send(station, seen, budget)
    got = chosen.understand(station, Delivered(packets=sent.packets), np.zeros(8, np.uint64))
    assert np.array_equal(got.labels, seen.labels)
    lost = chosen.understand(station, Delivered(packets=[None] * 8), np.zeros(8, np.uint64))
    assert (lost.labels == FLOOR).all(), "of what is lost only the prior is left"


def test_what_matters_stays_longest() -> None:
    """An agent and a trail of as many cells, and room for one of them only."""
    code = MapCode.load()
    labels = np.full((32, 32), FLOOR, np.uint8)
    labels[4:7, 4:7], labels[20:23, 12:15] = AGENT, TRAIL
    whole = fit(code, labels, 1000)
    assert whole is not None and whole.whole and np.array_equal(whole.labels, labels)
    packed = fit(code, labels, whole.bits - 4)
    assert packed is not None and not packed.whole and packed.bits <= whole.bits - 4
    assert (packed.labels == AGENT).sum() == 9 and not (packed.labels == TRAIL).any()
    assert np.array_equal(code.decode(packed.packet), packed.labels)
    assert worth(packed.labels, labels) == pytest.approx((1.0 * (1006 / 1015) + 3.0) / 5.0)
    assert fit(code, labels, 1) is None


def test_more_bits_are_worth_more() -> None:
    code, maps = MapCode.load(), of_scenes(500, 6, 32, "birds-eye").labels
    assert maps is not None
    for labels in maps[:3]:
        found = [fit(code, labels, bits) for bits in (64, 128, 256, 1200)]
        values = [worth(each.labels, labels) for each in found if each is not None]
        assert len(values) == 4 and values[-1] == 1.0 and np.all(np.diff(values) > -0.05)


@pytest.mark.parametrize("name", ["map", "soft-map", "gesco:steps=2", "hybrid:steps=2", "jscc"])
def test_receivers_never_see_the_truth(name: str, small: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pictures with other true maps: the same bytes and symbols, so the same understanding."""
    options: dict = {"scene": 9, "images": 2, "bits": 256, "decoder": name, "weights": small}
    first = agentsc.perceive(**options)

    def changed(*arguments: object) -> object:
        source = of_scenes(*arguments)  # type: ignore[arg-type]
        assert source.labels is not None
        return replace(source, labels=((source.labels + 1) % 6).astype(np.uint8))

    monkeypatch.setattr(module, "of_scenes", changed)
    second = agentsc.perceive(**options)
    assert np.array_equal(first.labels, second.labels) and not np.array_equal(first.truth, second.truth)
    assert first.metrics["miou"]["mean"] != second.metrics["miou"]["mean"]
    if name == "map":
        truth = agentsc.perceive(**{**options, "decoder": "map:labels=true", "bits": 30_000})
        assert truth.metrics["miou"]["mean"] == 1.0, "an oracle does"


@pytest.mark.parametrize(
    "name", ["soft-map", "gesco:steps=2", "latent:steps=2,samples=2", "gated:steps=2,entropy=0", "hybrid:steps=2"]
)
def test_a_scene_does_not_depend_on_what_is_sent_beside_it(name: str, station: Station) -> None:
    chosen, budget = path_of(name), Budget(256, 8.0)
    seen = seen_by(station, 40)
    keys = keyed.hash_words(1, np.arange(40))
    sent = chosen.send(station, seen, budget)
    delivered, _ = deliver(SymbolChannel("rayleigh:snr_db=8", 1), chosen, sent, budget, keys, 1, 0)
    whole = chosen.understand(station, delivered, keys)
    assert delivered.arrival is not None
    cut = slice(9, 29)
    early = None if delivered.early is None else rows.take(delivered.early, cut)
    part = chosen.understand(station, Delivered(rows.take(delivered.arrival, cut), early), keys[cut])
    assert np.array_equal(whole.labels[cut], part.labels)


def test_a_decoder_may_cross_by_a_way_of_its_own(station: Station) -> None:
    """A picture sent as bits: the decoder's own sender has as many uses as all others."""
    asked: list[tuple] = []

    class Bits(Decoder):
        analog: ClassVar[bool] = False

        def send(self, receiver, channel, x, count, first, snr_db):  # type: ignore[no-untyped-def]
            asked.append((count, first, snr_db))
            return channel.send(np.ones((len(x), count), np.complex128), first=first), -x

        def decode(self, receiver, arrival, keys):  # type: ignore[no-untyped-def]
            return Decoded(-arrival, np.zeros(len(keys), np.int64))

    path, budget, seen = Pictured(Bits()), Budget(256, 10.0), seen_by(station, 4)
    sent = path.send(station, seen, budget)
    channel, keys = SymbolChannel("awgn:snr_db=10", 1), np.zeros(4, np.uint64)
    delivered, took = deliver(channel, path, sent, budget, keys, 1, 8, station)
    assert asked == [(budget.uses, 8, 10.0)] and (took["channel_uses"] == budget.uses).all()
    found = path.understand(station, delivered, keys)
    assert found.rgb == pytest.approx(seen.rgb, abs=1e-6) and np.array_equal(found.labels, station.look(seen.rgb)[0])


def test_gates_that_are_always_open_or_shut(station: Station) -> None:
    budget, keys = Budget(256, 5.0), keyed.hash_words(2, np.arange(8))
    seen, channel = seen_by(station, 8), SymbolChannel("rayleigh:snr_db=5", 3)
    sent = path_of("soft-map").send(station, seen, budget)
    delivered, _ = deliver(channel, path_of("soft-map"), sent, budget, keys, 3, 0)
    for generator in ("latent", "picture"):

        def understood(more: str, generator: str = generator) -> tuple[list, list]:
            made = path_of(f"gated:steps=2,generator={generator},{more}").understand(station, delivered, keys)
            return made.labels.tolist(), made.calls.tolist()

        always, never = understood("mode=always"), understood("mode=never")
        assert understood("entropy=0,good_db=1000") == always and min(always[1]) > 0
        assert understood("entropy=1000") == never and understood("entropy=0,good_db=-1000") == never
        assert never[0] == path_of("soft-map").understand(station, delivered, keys).labels.tolist()
        assert max(never[1]) == 0
        if generator == "latent":
            assert always[0] == path_of("latent:steps=2").understand(station, delivered, keys).labels.tolist()
        unsure = path_of("gated:mode=never").understand(station, delivered, keys).rows["entropy"]
        middle = float(np.median(unsure))
        mixed, calls = understood(f"entropy={middle},good_db=1000")
        for row in range(8):
            assert mixed[row] == (always if unsure[row] > middle else never)[0][row]
            assert (calls[row] > 0) == (unsure[row] > middle)


def test_a_hybrid_decides_at_once_and_again(station: Station, small: dict[str, Path]) -> None:
    budget, keys = Budget(512, 10.0), keyed.hash_words(2, np.arange(6))
    sent = path_of("soft-map").send(station, seen_by(station, 6), budget)
    channel = SymbolChannel("awgn:snr_db=10", 3)
    whole = path_of("hybrid:steps=2,first=1")
    delivered, _ = deliver(channel, whole, sent, budget, keys, 3, 0)
    made = whole.understand(station, delivered, keys)
    assert np.array_equal(made.provisional, path_of("soft-map").understand(station, delivered, keys).labels)
    half, _ = deliver(channel, path_of("hybrid:first=0.5"), sent, budget, keys, 3, 0)
    assert half.early is not None and half.arrival is not None
    gain = half.early.gain[:, :, 0]
    assert (gain[:, :74] > 0).all() and (gain[:, 74:] == 0).all(), "what comes later is not looked at"
    # Of 149 uses the last five repeat the first symbols.
    assert np.array_equal(half.early.received[:, 5:74], half.arrival.received[:, 5:74])
    assert not np.array_equal(half.early.received[:, :5], half.arrival.received[:, :5])
    found = agentsc.perceive(scene=0, images=2, decoder="hybrid:steps=2", weights=small).metrics
    assert {"provisional_miou", "provisional_f1"} <= set(found)


def test_repetitions_are_combined_as_is_best() -> None:
    """Gains and noise of every use, by hand: r = Σ g* y / √Σ|g|², and a symbol that is not sent has gain 0."""
    symbols = np.exp(2j * np.pi * keyed.uniform(1, np.arange(3)[:, None], np.arange(5)[None]))
    for uses in (3, 5, 13):
        spread = Spread(5, uses)
        channel = SymbolChannel("ofdm:snr_db=6,taps=3,decay=2,subcarriers=8", 4)
        heard = channel.send(spread.put(symbols))
        arrival = spread.take(heard, 6.0)
        for row in range(3):
            for k in range(5):
                at = [use for use in range(uses) if use % 5 == k]
                g, y = heard.gain[row, at], heard.received[row, at]
                strength = np.sqrt((np.abs(g) ** 2).sum())
                made = complex(*arrival.received[row, k])
                wanted = (np.conj(g) * y).sum() / strength if at else 0.0
                assert made == pytest.approx(wanted, abs=1e-5)
                assert arrival.gain[row, k].tolist() == pytest.approx([strength, 0.0], abs=1e-5)


def test_users_share_the_uses_without_meeting(station: Station) -> None:
    own = shared(12, 60, 3, 0.0, 1)
    assert own is not None and (own[:3].sum(axis=0) == 1).all(), "each use belongs to one of three users"
    assert np.array_equal(own[:3], own[3:6]) and shared(12, 60, 1, 0.0, 1) is None
    left = shared(400, 200, 1, 0.3, 1)
    assert left is not None and left.mean() == pytest.approx(0.7, abs=0.01)
    assert np.array_equal(left[7:9], shared(2, 200, 1, 0.3, 1, first=7)), "by the number of an image alone"  # type: ignore[arg-type]
    assert (shared(50, 4, 16, 0.99, 1).sum(axis=1) >= 1).all()  # type: ignore[union-attr]

    chosen, budget = path_of("soft-map:users=2,dropped=0.25"), Budget(2048, 10.0)
    sent = chosen.send(station, seen_by(station, 30), budget)
    keys = np.zeros(30, np.uint64)
    delivered, took = deliver(SymbolChannel("awgn:snr_db=10", 1), chosen, sent, budget, keys, 1, 0)
    assert took["channel_uses"].mean() == pytest.approx(0.375 * budget.uses, rel=0.05)
    assert took["bytes_equivalent"] == pytest.approx(took["channel_uses"] * np.log2(11.0) / 8.0)
    assert delivered.arrival is not None
    count = sent.symbols.shape[1]  # type: ignore[union-attr]
    mine = shared(30, budget.uses, 2, 0.25, 1)
    heard = np.stack([mine[:, k::count].any(axis=1) for k in range(count)], axis=1)  # type: ignore[index]
    assert np.array_equal(delivered.arrival.gain[:, :, 0] > 0.0, heard)


def test_missing_symbols_are_filled_in_from_what_maps_look_like() -> None:
    """With the shipped codec: half of the symbols gone costs far less than half of what they tell."""
    options: dict = {"scene": 40, "images": 24, "bits": 1600, "link": "awgn:snr_db=10"}
    whole = agentsc.perceive(**options, decoder="soft-map:labels=true").metrics
    half = agentsc.perceive(**options, decoder="soft-map:labels=true,users=2").metrics
    nothing = quality.miou(np.zeros((24, 32, 32), np.uint8), of_scenes(40, 24, 32, "birds-eye").labels, 6).mean()  # type: ignore[arg-type]
    assert half["channel_uses"]["mean"] == pytest.approx(0.5 * whole["channel_uses"]["mean"], abs=1.0)
    assert half["miou"]["mean"] > nothing + 0.6 * (whole["miou"]["mean"] - nothing)


def test_packets_are_lost_as_often_as_fading_says(station: Station) -> None:
    """Outage of one Rayleigh gain: P(log2(1 + |g|² γ) < R) = 1 − exp(−(2^R − 1)/γ)."""
    count, chosen = 3000, path_of("map")
    budget = Budget(90, 10.0)
    sent = Sent(packets=[b"x" * 12] * count, bits=np.full(count, 40))
    keys = keyed.hash_words(5, np.arange(count))
    _, took = deliver(SymbolChannel("rayleigh:snr_db=10", 5), chosen, sent, budget, keys, 5, 0)
    outage = 1.0 - np.exp(-(2.0 ** (40 / budget.uses) - 1.0) / 10.0)
    assert 1.0 - took["delivered"].mean() == pytest.approx(outage, abs=4.0 * np.sqrt(outage / count))
    _, took = deliver(SymbolChannel("awgn:snr_db=10", 5), chosen, sent, budget, keys, 5, 0)
    assert took["delivered"].all(), "no fade, no outage"


def test_ldpc_blocks_are_lost_as_often_as_tabulated(station: Station) -> None:
    count, chosen, budget = 4000, path_of("map:code=ldpc"), Budget(600, 4.0)
    bits = chosen.room(budget)  # type: ignore[union-attr]
    assert 0.3 * 600 < bits < 600
    sent = Sent(packets=[b"x"] * count, bits=np.full(count, bits))
    keys = keyed.hash_words(5, np.arange(count))
    # Half a decibel less than the mode was chosen for.
    channel = SymbolChannel("awgn:snr_db=3.2", 5)
    _, took = deliver(channel, chosen, sent, budget, keys, 5, 0)
    mode, _each = chosen._mode(4.0)  # type: ignore[union-attr]
    curve = packet_error.read_curves(packet_error.SHIPPED)[mode]
    lost = float(packet_error.tabulated(curve, np.asarray([10.0**0.32]), bits)[0])
    assert 0.0 < lost < 1.0
    assert 1.0 - took["delivered"].mean() == pytest.approx(lost, abs=4.0 * np.sqrt(lost * (1 - lost) / count) + 1e-3)


@pytest.mark.parametrize("side", SIDES)
def test_one_hot_maps_have_energy_one_and_survive_a_clean_channel(side: int, station: Station) -> None:
    chosen, seen = path_of("gesco"), seen_by(station, 4)
    uses = 3 * side**2
    budget = replace(Budget(8, 40.0), bits=int(uses * np.log2(1.0 + 1e4)))
    assert budget.uses == uses
    sent = chosen.send(station, seen, budget)
    assert sent.symbols is not None and sent.symbols.shape == (4, uses)
    assert np.mean(np.abs(sent.symbols) ** 2, axis=1) == pytest.approx(1.0)
    delivered, _ = deliver(SymbolChannel("awgn:snr_db=40", 1), chosen, sent, budget, np.zeros(4, np.uint64), 1, 0)
    assert delivered.arrival is not None
    received, posterior = noisy_map(delivered.arrival)
    assert received.shape == posterior.shape == (4, 6, side, side)
    assert np.abs(received - np.round(received)).max() < 0.1
    assert np.array_equal(received.argmax(1), posterior.argmax(1)) and posterior.max(1).min() > 0.999


def test_the_posterior_of_a_cell_is_bayes_rule(station: Station) -> None:
    """P(class | its three symbols), all classes alike likely, for one cell by hand."""
    seen, budget = seen_by(station, 2), Budget(300, 0.0)
    chosen = path_of("gesco")
    sent = chosen.send(station, seen, budget)
    delivered, _ = deliver(SymbolChannel("rayleigh:snr_db=0", 1), chosen, sent, budget, np.zeros(2, np.uint64), 1, 0)
    arrival = delivered.arrival
    assert arrival is not None
    posterior = noisy_map(arrival)[1]
    for row, place in ((0, 3), (1, 7)):
        g, r = arrival.gain[row, 3 * place, 0], arrival.received[row, 3 * place : 3 * place + 3].ravel()
        strength = arrival.gain[row, 3 * place : 3 * place + 3, 0].repeat(2)
        likely = [
            np.exp(-((r - strength * np.sqrt(3.0) * np.eye(6)[c]) ** 2).sum() / arrival.noise_variance[row])
            for c in range(6)
        ]
        assert g > 0.0
        assert posterior[row].reshape(6, -1)[:, place] == pytest.approx(np.asarray(likely) / sum(likely), rel=1e-3)


def test_detection_counts_by_hand() -> None:
    truth = np.full((1, 12, 12), FLOOR)
    truth[0, 0:4, 0:4] = OBSTACLE
    truth[0, 6:9, 6:9] = AGENT
    truth[0, 10, 1] = GOAL
    sizes = [(number, int(cells.sum())) for number, cells in objects(truth[0])]
    assert sizes == [(OBSTACLE, 16), (GOAL, 1), (AGENT, 9)]
    assert f1(truth, truth).tolist() == [1.0]
    made = truth.copy()
    made[0, 6:9, 6:9] = FLOOR
    made[0, 7:10, 6:9] = AGENT  # 6 of 12 cells: exactly a half is not enough
    assert f1(made, truth) == pytest.approx(2.0 * 2.0 / 6.0)
    made[0, 9, 6:9] = FLOOR  # 6 of 9 cells
    assert f1(made, truth).tolist() == [1.0]
    made[0, 10, 1] = FLOOR
    made[0, 0, 10] = OBSTACLE  # one missed, one invented
    assert f1(made, truth) == pytest.approx(2.0 * 2.0 / (3.0 + 3.0))
    empty = np.full((1, 12, 12), FLOOR)
    assert f1(empty, empty).tolist() == [1.0] and f1(empty, truth).tolist() == [0.0]
    corner = np.full((1, 4, 4), FLOOR)
    corner[0, 0, 0] = corner[0, 1, 1] = AGENT
    assert len(objects(corner[0])) == 1, "corners touch"
    assert quality.miou(made, truth, 6) == pytest.approx(
        (16 / 17 + 6 / 9 + 0.0 + (144 - 26 - 1) / (144 - 26 - 1 + 1 + 1 + 3)) / 4
    )
    assert one_hot(truth).sum(axis=1).min() == one_hot(truth).max() == 1.0


def test_the_command_prints_one_object_and_tells_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """With the shipped weights, as a newcomer would call it."""
    command = ["perceive", "--scene", "7", "--images", "4", "--link", "awgn:snr_db=10", "--bits", "800", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--decoder", "map"])
    assert ended.value.code in (0, None)
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"schema", "config", "metrics"} and printed["metrics"]["f1"]["n"] == 4
    assert printed["metrics"]["payload_bits"]["mean"] <= 800
    for wrong, word in ((["--bits", "0"], "bits"), (["--decoder", "maps"], "maps")):
        with pytest.raises(SystemExit) as ended:
            main([*command, *wrong])
        assert ended.value.code == 2 and word in capsys.readouterr().err
