"""Beliefs along a course: the timetable, lateness against it, and what samples make of both."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import agentsc
from agentsc.protocol.joint.lags import CONTEXTS, KNOTS, MOST, Lags, context, lateness, made, timetable
from agentsc.protocol.joint.order import NEVER, Course, Progress

DISTANCE, HORIZON = 0.105, 32


def crossing() -> Course:
    """Two agents cross at right angles, the second one some steps after the first."""
    along = np.linspace(-0.5, 0.5, 21, dtype=np.float32)
    wait = np.full(6, -0.5, np.float32)
    first = np.stack([np.append(along, wait + 1.0), np.zeros(27)], -1)
    second = np.stack([np.zeros(27), np.append(wait, along)], -1)
    course = Course.of(np.stack([first, second], 1).astype(np.float32), DISTANCE)
    assert course is not None
    return course


def seen_by(progress: Progress, since: int, until: int = 200) -> NDArray[np.int32]:
    return timetable(
        progress.course, progress.agents, progress.steps, progress.done, progress.known, progress.known_at,
        np.full(len(progress.agents), since), progress.slack, until,
    )  # fmt: skip


def test_what_the_timetable_foretells_is_what_happens_when_every_word_comes_at_once() -> None:
    course = crossing()
    first, second = (Progress(course, np.array([k])) for k in (0, 1))
    foretold = seen_by(second, 7)[0]
    may = np.ones(1, bool)
    for tick in range(7, 80):
        first.extend(tick, may), second.extend(tick, may)
        for one, other, number in ((first, second, 0), (second, first, 1)):
            steps, done = one.word(np.array([0]))
            other.hear(np.array([0]), np.array([number]), steps, done.astype(np.int64))
    np.testing.assert_array_equal(foretold[0], [0, *first.done[0, 1:]])
    np.testing.assert_array_equal(foretold[1], [0, *second.done[0, 1:]])


def test_what_was_promised_late_holds_up_those_behind() -> None:
    progress = Progress(crossing(), np.array([1]))
    on_time = seen_by(progress, 0)[0]
    progress.hear(np.array([0]), np.array([0]), np.array([12]), np.array([40]))
    late = seen_by(progress, 0)[0]
    assert late[0, 12] == 40
    assert late[1, -1] > on_time[1, -1], "the second one has to wait for the first"
    assert (seen_by(progress, 0, until=20)[0, 0, 13:] == NEVER).all(), "nothing is looked at beyond that"


def test_steps_made_are_counted_from_a_timetable() -> None:
    at = np.array([[0, 3, 4, 9]], np.int32)
    assert made(at, np.array([2, 3, 8, 9, 50])).tolist() == [[0, 1, 2, 3, 3]]


def shifted(ticks: int, aside: float = 0.0) -> Lags:
    late = np.full((CONTEXTS, 4, KNOTS), ticks, np.int16)
    return Lags(late, np.full((CONTEXTS, 4, KNOTS), aside, np.float32))


@pytest.mark.parametrize("late", [0, 5, -5])
def test_samples_are_as_late_as_what_was_counted_and_lateness_finds_that(late: int) -> None:
    along = np.arange(HORIZON + 1 + 2 * MOST, dtype=np.float32) * 0.05
    way = np.stack([along, np.zeros_like(along)], -1)[None]
    samples = shifted(late).foretell(way, np.zeros(1, np.int64), np.array([9], np.uint64), 3, 1.6)
    np.testing.assert_allclose(samples[0, :, :, 0], np.tile(along[MOST - late :][: HORIZON + 1], (3, 1)), atol=1e-6)
    found, off = lateness(way, samples[:, 0], 1.6)
    assert (found == late).all() and (off == 0.0).all()
    aside = shifted(late, 0.5).foretell(way, np.zeros(1, np.int64), np.array([9], np.uint64), 3, 1.6)
    np.testing.assert_allclose(np.linalg.norm(aside - samples, axis=-1), 0.8, rtol=1e-5)


def test_rest_that_could_be_any_lateness_counts_as_none() -> None:
    way = np.zeros((1, HORIZON + 1 + 2 * MOST, 2), np.float32)
    found, off = lateness(way, np.zeros((1, HORIZON + 1, 2), np.float32), 1.0)
    assert (found == 0).all() and (off == 0.0).all()


def test_contexts_are_told_apart() -> None:
    until = np.array([-2.0, 0.0, 0.5, 0.9, 2.0])
    numbers = [
        context(until, np.full(5, gated), np.full(5, renewed)) for gated in (False, True) for renewed in (False, True)
    ]
    assert sorted(np.concatenate(numbers).tolist()) == list(range(CONTEXTS))


def test_equal_words_give_equal_samples_and_others_do_not() -> None:
    along = np.arange(HORIZON + 1 + 2 * MOST, dtype=np.float32) * 0.05
    way = np.stack([along, np.zeros_like(along)], -1)[None].repeat(2, 0)
    late = np.tile(np.arange(16, dtype=np.int16)[:, None], (CONTEXTS, 1, KNOTS))
    lags = Lags(late, np.zeros((CONTEXTS, 16, KNOTS), np.float32))
    same = lags.foretell(way, np.zeros(2, np.int64), np.array([4, 4], np.uint64), 8, 1.6)
    other = lags.foretell(way, np.zeros(2, np.int64), np.array([4, 5], np.uint64), 8, 1.6)
    np.testing.assert_array_equal(same[0], same[1])
    assert (other[0] != other[1]).any()


def test_runs_measure_beliefs_and_regions_cover_what_they_say() -> None:
    done = agentsc.run(scenario="weave", agents=8, protocol="intent", link="erasure:p=0.3", episodes=6, seed=11)
    metrics = done.metrics
    assert 0.8 <= metrics["intent_coverage90"]["mean"] <= 0.96
    assert metrics["intent_min_ade_m"]["mean"] < 0.05, "a radius"
    assert metrics["intent_min_fde_m"]["n"] >= 3, "other lanes are over before a horizon is"
