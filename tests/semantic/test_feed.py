"""The operator's feed: codes, the two ends under any loss, and the film end to end on small networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import agentsc
from agentsc.cli import main
from agentsc.semantic.feed.bits import Damaged, Reader, Writer, unzigzag, zigzag
from agentsc.semantic.feed.ends import AHEAD_S, FADE_S, LEAST, Screen, Station
from agentsc.semantic.feed.paint import tiles, whole
from agentsc.semantic.feed.tokens import HEADINGS, LINES, SPEEDS, Facts, Lattice, Objects, decode
from agentsc.view.recording import Recorder, Recording, Scene
from envs.errors import ConfigError

BOUNDS = (0.0, 0.0, 12.0, 10.0)
LATTICE = Lattice.of(BOUNDS, 1.0, 10.0)


def objects_of(rng: np.random.Generator, agents: int) -> Objects:
    return Objects(
        rng.integers(LINES, size=(agents, 2)), rng.integers(HEADINGS, size=agents), rng.integers(SPEEDS, size=agents)
    )


def facts_of(rng: np.random.Generator, agents: int, boxes: int = 2) -> Facts:
    box = np.concatenate([rng.integers(3, size=(boxes, 1)), rng.integers(LINES, size=(boxes, 4))], axis=1)
    return Facts(rng.integers(LINES, size=(agents, 2)), rng.random(agents) < 0.8, box)


def recording(agents: int = 4, ticks: int = 40, late: int = 0) -> Recording:
    """Agents in a straight line across a small arena with two boxes."""
    starts = np.stack([np.full(agents, 1.0), 1.0 + np.arange(agents)], -1).astype(np.float32)
    goals = starts + np.array([8.0, 0.0], np.float32)
    scene = Scene(
        bounds=BOUNDS, boxes=np.array([[5, 8, 1, 0.5, 0], [3, 9, 0.5, 0.5, 0]], np.float32), starts=starts, goals=goals,
        radius=0.3, separation=0.6, dt=0.25, rounds_per_tick=2, meta={"scenario": "line"},
        late=np.array([[9, 8, 0.5, 0.5, 0]] * late, np.float32).reshape(-1, 5),
    )  # fmt: skip
    tape = Recorder(scene)
    for tick in range(ticks):
        step = np.array([min(0.2 * (tick + 1), 8.0), 0.0], np.float32)
        extra = {"late": np.full(late, 2 if tick > 10 else 0, np.uint8)} if late else {}
        tape.record(tick=tick, position=starts + step, **extra)
    return tape.finish()


@given(st.lists(st.integers(0, 60_000), max_size=80), st.lists(st.integers(0, 4095), max_size=20))
def test_numbers_come_back_from_bits(rice: list[int], fixed: list[int]) -> None:
    out = Writer()
    out.write(fixed, 12)
    out.write_rice(rice)
    out.write(5, 3)
    reader = Reader(out.bytes(), out.count)
    assert reader.read(len(fixed), 12).tolist() == fixed
    assert reader.read_rice(len(rice)).tolist() == rice
    assert reader.read_one(3) == 5 and reader.left == 0
    with pytest.raises(Damaged):
        reader.read_one(1)


def test_signs_fold_and_unfold() -> None:
    numbers = np.arange(-9, 10)
    assert unzigzag(zigzag(numbers)).tolist() == numbers.tolist()
    assert sorted(zigzag(numbers).tolist()) == list(range(19))


def test_small_steps_cost_few_bits() -> None:
    near, far = Writer(), Writer()
    near.write_rice(np.tile([0, 1, 2, 1], 32))
    far.write_rice(np.full(128, 3000))
    assert near.count < 3 * 128 < far.count


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.0, 0.9))
def test_the_screen_holds_what_the_station_saw_whatever_is_lost(seed: int, agents: int, loss: float) -> None:
    rng = np.random.default_rng(seed)
    facts = facts_of(rng, agents)
    station, screen = Station(LATTICE, facts), Screen(LATTICE, agents)
    saw: dict[int, tuple[Objects, Facts]] = {}
    on_the_air: list[tuple[int, Any, int]] = []
    newest = -1
    for number in range(25):
        if rng.random() < 0.2:
            facts = facts_of(rng, agents)
        objects = objects_of(rng, agents)
        saw[number] = objects, facts
        on_the_air.append((number, *station.speak(number, objects, facts)))
        rng.shuffle(on_the_air)  # late ones come in any order
        for _ in range(int(rng.integers(0, 3))):
            if on_the_air:
                sent, data, bits = on_the_air.pop()
                if rng.random() >= loss:
                    answer = screen.hear(data, bits)
                    newest = max(newest, sent) if answer is not None else newest
                    if answer is not None and rng.random() >= loss:
                        station.hear(*answer)
        shown = screen.show(number * LATTICE.frame_s)
        if newest < 0:
            assert shown.opacity == 0.0 and np.isnan(shown.age_s)
            continue
        truth = saw[newest][0]
        assert shown.age_s == pytest.approx((number - newest) * LATTICE.frame_s, abs=1e-9)
        moved = truth.velocity(LATTICE) * min(shown.age_s, AHEAD_S)
        assert np.allclose(shown.at, LATTICE.place(truth.at) + moved, atol=1e-4)
        known = np.isfinite(shown.goals[:, 0])
        # A goal that is shown was one at the time of some packet; the newest packet has all that was not confirmed.
        every = np.stack([LATTICE.place(f.goals) for _, f in saw.values()])
        assert (np.abs(every - shown.goals).max(-1)[:, known] < 1e-5).any(0).all()


def test_facts_are_told_until_they_are_confirmed_and_no_longer() -> None:
    rng = np.random.default_rng(1)
    facts, objects = facts_of(rng, 6), objects_of(rng, 6)
    station, screen = Station(LATTICE, facts), Screen(LATTICE, 6)
    first = station.speak(0, objects, facts)[1]
    second, bits = station.speak(1, objects, facts)
    assert bits == first  # nobody has confirmed anything
    answer = screen.hear(second, bits)
    assert answer is not None
    station.hear(*answer)
    quiet = station.speak(2, objects, facts)[1]
    assert quiet < first / 3
    shown = screen.show(0.2)
    assert np.array_equal(shown.goals, LATTICE.place(facts.goals)) and np.array_equal(shown.there, facts.there)
    assert all(np.array_equal(shown.boxes[k], box) for k, box in enumerate(facts.boxes) if box.any())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 200))
def test_what_arrives_damaged_is_refused_and_changes_nothing(seed: int, flip: int) -> None:
    rng = np.random.default_rng(seed)
    facts, objects = facts_of(rng, 5), objects_of(rng, 5)
    station, screen = Station(LATTICE, facts), Screen(LATTICE, 5)
    data, bits = station.speak(0, objects, facts)
    broken = data.copy()
    broken[flip % len(data)] ^= 1 << (flip % 8)
    if flip % bits >= bits - 8 * len(data) % 8 and (broken == data).all():
        return
    before = screen.show(0.0)
    last = len(data) * 8 - bits  # filling behind the packet's end may be anything
    if not (flip % len(data) == len(data) - 1 and flip % 8 < last):
        assert screen.hear(broken, bits) is None and screen.refused == 1
        assert screen.show(0.0).opacity == before.opacity
    # Noise with a checksum that happens to hold is still no packet, or one that makes sense.
    from agentsc.links.framing import with_checksum

    noise = rng.integers(256, size=(1, 40)).astype(np.uint8)
    noise[0, 0] = 14
    packet, count = with_checksum(noise, np.array([320]))
    screen.hear(packet[0], int(count[0]))
    with pytest.raises(Damaged):
        decode(data[:6], 48, 5, None, LATTICE)


def test_stale_objects_move_on_for_a_second_and_fade() -> None:
    facts = Facts(np.zeros((1, 2), np.int64), np.ones(1, bool), np.zeros((0, 5), np.int64))
    station = Station(LATTICE, facts)
    ahead, held = Screen(LATTICE, 1), Screen(LATTICE, 1, "hold")
    packet = station.speak(0, Objects(np.array([[1000, 1000]]), np.array([0]), np.array([SPEEDS - 1])), facts)
    assert ahead.hear(*packet) and held.hear(*packet)
    for age in (0.0, 0.5, AHEAD_S, FADE_S, 60.0):
        moving, still = ahead.show(age), held.show(age)
        assert moving.at[0, 0] - still.at[0, 0] == pytest.approx(min(age, AHEAD_S) * LATTICE.v_max, abs=1e-5)
        assert moving.opacity == still.opacity
        assert moving.opacity == pytest.approx(1.0 if age <= AHEAD_S else LEAST, abs=1e-6)


def test_tiles_make_the_picture_again() -> None:
    picture = np.random.default_rng(0).random((3, 64, 96)).astype(np.float32)
    assert np.array_equal(whole(tiles(picture, 32), 3), picture)


def test_a_film_and_its_figures(weights: dict[str, Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"weights": weights, "pixels": 64, "seconds": 6.0, "against": 2}
    result = agentsc.feed(recording(late=1), link="erasure:p=0.3", out=tmp_path / "feed", **options)
    assert result.shown.shape == result.true.shape == (61, 3, 64, 64)
    figures = {name: figure["mean"] for name, figure in result.metrics.items()}
    assert figures["position_error_m"] < 0.1 and 0.1 <= figures["age_s"] < 0.6
    assert 0.1 < figures["lost_share"] < 0.5 and figures["refused"] == 0
    # Tokens cost a fraction of pictures, and what does not move costs next to nothing.
    assert figures["saving"] > 5 and figures["feed_bits_per_s"] < 0.2 * figures["every_frame_bits_per_s"]
    assert {p.name for p in (tmp_path / "feed").iterdir()} == {
        "result.json", "frames.parquet", "feed.gif", "still.png"
    }  # fmt: skip
    kept = json.loads((tmp_path / "feed" / "result.json").read_text())
    assert kept["metrics"] == json.loads(json.dumps(result.metrics))
    assert len(polars.read_parquet(tmp_path / "feed" / "frames.parquet")) == 61
    with Image.open(tmp_path / "feed" / "feed.gif") as film:
        assert film.n_frames >= 50 and film.size[0] > 2 * film.size[1] - 64  # type: ignore[attr-defined]
    again = agentsc.feed(recording(late=1), link="erasure:p=0.3", **options)
    assert np.array_equal(again.shown, result.shown)


def test_the_screen_shows_only_what_reached_it(weights: dict[str, Path]) -> None:
    options: dict[str, Any] = {"weights": weights, "pixels": 32, "seconds": 3.0, "against": 0}
    nothing = agentsc.feed(recording(), link="erasure:p=1.0", **options)
    assert nothing.metrics["position_error_m"]["mean"] is None
    assert nothing.metrics["every_frame_psnr_db"]["mean"] is None
    # With no packet there is the background alone: the same picture from its arrival on.
    assert np.array_equal(nothing.shown[2], nothing.shown[-1])
    clear = agentsc.feed(recording(), link="perfect", **options)
    assert clear.metrics["psnr_db"]["mean"] > nothing.metrics["psnr_db"]["mean"]
    late = agentsc.feed(recording(), link="delay:ms=500", **options)
    assert late.metrics["age_s"]["mean"] >= 0.5 > clear.metrics["age_s"]["mean"]


def test_moving_on_beats_holding_where_packets_are_late(weights: dict[str, Path]) -> None:
    options: dict[str, Any] = {"weights": weights, "pixels": 32, "seconds": 6.0, "against": 0, "link": "delay:ms=400"}
    ahead, held = (agentsc.feed(recording(), stale=stale, **options) for stale in ("extrapolate", "hold"))
    assert ahead.metrics["position_error_m"]["mean"] < 0.25 * held.metrics["position_error_m"]["mean"]


def test_key_frames_can_be_sent_again(weights: dict[str, Path]) -> None:
    options: dict[str, Any] = {"weights": weights, "pixels": 32, "seconds": 2.0, "against": 0}
    once, often = agentsc.feed(recording(), **options), agentsc.feed(recording(), refresh_s=0.5, **options)
    assert often.metrics["key_bits"]["mean"] == pytest.approx(5 * once.metrics["key_bits"]["mean"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fps": 0.0}, "fps must be a positive number, got 0.0"),
        ({"fps": 500.0}, "fps must be at most 100"),
        ({"pixels": 50}, "pixels must be a multiple of 32"),
        ({"stale": "guess"}, "stale must be extrapolate or hold, got 'guess'"),
        ({"film": "avi"}, "film must be gif or mp4, got 'avi'"),
        ({"against": -1}, "against must be at least 0"),
        ({"link": "erasures:p=0.2"}, "link 'erasures' is not known"),
        ({"image_link": "erasure:p=0.2"}, "snr_db"),
        ({"cbr": "none"}, "cbr must be a positive number"),
        ({"decoder": "magic"}, "decoder 'magic' is not known"),
        ({"seconds": -1.0}, "seconds must be a positive number"),
    ],
)
def test_what_cannot_be_sent_is_refused_first(
    weights: dict[str, Path], tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        agentsc.feed(recording(), weights=weights, out=tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["feed", str(tmp_path / "nothing.npz")])
    assert ended.value.code == 2 and "does not exist" in capsys.readouterr().err


def test_the_command_prints_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(ticks=4).save(tmp_path / "line.npz")
    with pytest.raises(SystemExit) as ended:
        main(["feed", str(path), "--pixels", "32", "--against", "0", "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1 and told["config"]["agents"] == 4 and told["metrics"]["token_bits_per_s"]["mean"] > 0
