"""Recordings: what goes in comes out, in memory and from a file, and frames between ticks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake import fake_recording

from agentsc.view.recording import PACKET, Recorder, Recording, Scene, Tick, open_recording, packet_rows
from envs.errors import ConfigError


def scene(agents: int = 2, dt: float = 0.5) -> Scene:
    starts = np.stack([np.zeros(agents), np.arange(agents)], axis=1).astype(np.float32)
    return Scene(
        bounds=(0.0, 0.0, 10.0, 10.0), boxes=np.zeros((0, 5), np.float32), starts=starts, goals=starts + 5,
        radius=0.3, separation=0.6, dt=dt, rounds_per_tick=2, meta={"scenario": "test"},
    )  # fmt: skip


def moving(ticks: int = 8, agents: int = 2, skip: tuple[int, ...] = ()) -> Recording:
    recorder = Recorder(scene(agents))
    for t in range(ticks):
        if t not in skip:
            recorder.record(
                tick=t, position=recorder.scene.starts + (t + 1.0, 0.0), closest=1.0 + t, pair=(0, 1)
            )
    return recorder.finish()


def test_positions_are_interpolated_between_ticks() -> None:
    recording = moving()
    for time_s in (0.0, 0.1, 0.5, 1.3, 4.0):
        np.testing.assert_allclose(recording.frame(time_s).position[0], [time_s / 0.5, 0.0], atol=1e-5)
    assert recording.duration_s == 4.0
    assert recording.frame(99.0).time_s == 4.0
    assert recording.positions.shape == (9, 2, 2)


def test_a_tick_that_was_dropped_leaves_a_straight_line() -> None:
    recording = moving(skip=(0, 3, 4))
    for time_s in (0.2, 1.6, 2.1, 2.4):
        np.testing.assert_allclose(recording.frame(time_s).position[0], [time_s / 0.5, 0.0], atol=1e-5)


def test_the_trail_ends_where_the_agent_is_and_has_the_length_asked_for() -> None:
    frame = moving().frame(3.25, trail_s=1.0)
    np.testing.assert_allclose(frame.trail[-1], frame.position)
    assert frame.trail[0, 0, 0] == pytest.approx((3.25 - 1.0) / 0.5, abs=1.01)


def test_an_empty_recording_shows_the_start() -> None:
    frame = Recorder(scene()).frame(0.0)
    np.testing.assert_array_equal(frame.position, scene().starts)
    assert len(frame.packets) == 0
    assert np.isnan(frame.plans).all()


def test_packets_are_shown_while_they_fly_and_lost_ones_for_a_moment() -> None:
    recorder = Recorder(scene())
    sent = packet_rows(
        tick=0, sender=[0, 0, 1], receiver=1, sections=1, bits=72, sent_s=0.1, arrival_s=[0.1, 2.2, np.nan]
    )
    for t in range(8):
        recorder.record(tick=t, position=scene().starts, packets=sent if t == 0 else np.empty(0, PACKET))

    def seen(time_s: float) -> int:
        return len(recorder.frame(time_s, flight_s=0.4).packets)

    # Before it is sent; all three; the quick one has arrived; the lost one has faded; the late one too.
    assert [seen(t) for t in (0.05, 0.3, 0.7, 1.5, 2.3)] == [0, 3, 2, 1, 0]


def test_the_strip_averages_a_second_and_shares_a_broadcast_among_its_receivers() -> None:
    recorder = Recorder(scene(agents=3, dt=0.5))
    lost_for_one = packet_rows(
        tick=0, sender=0, receiver=[1, 2], sections=1, bits=60, sent_s=0.0, arrival_s=[0.0, np.nan]
    )
    for t in range(4):
        recorder.record(tick=t, position=scene(3).starts, bits=np.array([60, 0, 0]), packets=lost_for_one)
    strip = recorder.strip()
    np.testing.assert_allclose(strip.time_s, [0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(strip.sent, 60 / 0.5 / 3)
    np.testing.assert_allclose(strip.lost, 30 / 0.5 / 3)


def test_a_recorder_keeps_copies() -> None:
    recorder = Recorder(scene())
    position = scene().starts.copy()
    recorder.record(tick=0, position=position)
    position += 100
    np.testing.assert_array_equal(recorder.ticks[0].position, scene().starts)


def test_a_recording_survives_its_file(tmp_path: Path) -> None:
    before = fake_recording(5, most_ticks=30)
    after = Recording.load(before.save(tmp_path / "recording-0.npz"))
    assert after.scene.meta == before.scene.meta
    for name in ("bounds", "radius", "separation", "dt", "rounds_per_tick"):
        assert getattr(after.scene, name) == pytest.approx(getattr(before.scene, name))
    np.testing.assert_array_equal(after.positions, before.positions)
    np.testing.assert_array_equal(after.scene.boxes, before.scene.boxes)
    for old, new in zip(before.ticks, after.ticks, strict=True):
        for name in Tick.__dataclass_fields__:
            if name == "closest":  # kept as float32
                assert new.closest == pytest.approx(old.closest, rel=1e-6)
            elif name == "packets":
                for column in PACKET.names or ():
                    np.testing.assert_array_equal(old.packets[column], new.packets[column])
            else:
                np.testing.assert_array_equal(getattr(old, name), getattr(new, name), err_msg=name)
    np.testing.assert_array_equal(open_recording(tmp_path).positions, before.positions)


def test_fields_that_nobody_gave_stay_unknown_in_the_file(tmp_path: Path) -> None:
    recorder = Recorder(scene())
    recorder.record(tick=0, position=scene().starts)
    recorder.record(
        tick=1, position=scene().starts, plans=np.ones((2, 4, 2)), pending=np.array([True, False])
    )
    after = Recording.load(recorder.finish().save(tmp_path / "r.npz"))
    assert after.ticks[0].beliefs is None
    assert np.isnan(after.frame(0.25).plans).all()
    assert after.frame(0.75).plans.shape == (2, 4, 2)
    assert after.frame(0.75).pending.tolist() == [True, False]


@pytest.mark.parametrize("content", [b"", b"not a zip at all", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_one_clear_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="bad.npz.*damaged or not a recording"):
        Recording.load(path)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.npz.*does not exist"):
        open_recording(tmp_path / "none.npz")
    with pytest.raises(ConfigError, match="holds no recording"):
        open_recording(tmp_path)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ConfigError, match="damaged or not a recording"):
        Recording.load(tmp_path / "other.npz")
    with pytest.raises(ConfigError, match="writable"):
        moving().save(tmp_path / "nowhere" / "r.npz")


def test_ticks_out_of_order_and_unknown_columns_are_refused() -> None:
    recorder = Recorder(scene())
    recorder.record(tick=3, position=scene().starts)
    with pytest.raises(ValueError, match="in order"):
        recorder.record(tick=3, position=scene().starts)
    with pytest.raises(TypeError, match="packet columns"):
        packet_rows(tick=0, sender=1)
