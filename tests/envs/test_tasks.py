"""Queues, sites and shapes: closed forms, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import ConfigError
from envs.scenarios import SCENARIOS
from envs.tasks import GoalQueue, Shape, Sites


def test_a_queue_starts_again_at_its_end():
    goals = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    queue = GoalQueue(goals, 2)
    done = np.array([[0, 1, 3], [4, 5, 11]])
    current = queue.current(done)
    for lane in range(2):
        for agent in range(3):
            assert np.array_equal(current[lane, agent], goals[lane, agent, done[lane, agent] % 4])
    assert np.array_equal(queue.select([1]).current(done[1:]), current[1:])


def sites(value=(4.0, 2.0, 1.0), deadline=np.inf, discount=0.0) -> Sites:
    value = np.array([value])
    position = np.stack([np.arange(value.shape[1]), np.zeros(value.shape[1])], -1).astype(np.float32)[None]
    return Sites(position, value, np.full_like(value, deadline), discount)


def test_worth_falls_with_time_and_ends_at_the_deadline():
    found = sites(deadline=2.0, discount=0.5).worth(np.array([[0.0, 2.0, 2.1]]))
    assert np.allclose(found, [[4.0, 2.0 * np.exp(-1.0), 0.0]])
    assert sites().worth(np.array([[np.inf, np.nan, 1.0]])).tolist() == [[0.0, 0.0, 1.0]]


def test_the_best_is_that_of_all_assignments():
    # Two agents, three sites: the second agent is late for the best site, and both are for the last one.
    trip = np.array([[[0.0, 1.0, 9.0], [3.0, 1.0, 9.0]]])
    assert sites(deadline=2.0).best(trip).tolist() == [6.0]
    assert sites(deadline=2.0).best(trip[:, :1]).tolist() == [4.0]
    rng = np.random.default_rng(0)
    found = sites((3.0, 2.0, 2.5), discount=0.7)
    trip = rng.uniform(0, 3, (1, 3, 3))
    worth = found.worth(trip)[0]
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    assert found.best(trip)[0] == pytest.approx(max(worth[range(3), order].sum() for order in orders))


def test_who_is_near_which_site():
    position = np.float32([[[0.04, 0.0], [1.0, 0.06], [2.0, 0.0]]])
    assert sites().near(position, 0.05)[0].tolist() == [[True, False, False], [False] * 3, [False, False, True]]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.floats(-3, 3), st.floats(-3.1, 3.1), st.integers(0, 99))
def test_a_shape_shifted_or_turned_is_still_that_shape(agents, shift, angle, seed):
    places = np.random.default_rng(seed).normal(size=(1, agents, 2)).astype(np.float32)
    moved = places[0] + np.float32([shift, -2 * shift])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = moved @ turn.T
    stiff, free = Shape(places), Shape(places, turns=True)
    assert stiff.error(0, moved) == pytest.approx(0, abs=1e-5)
    assert free.error(0, turned) == pytest.approx(0, abs=1e-5)
    centred = places[0] - places[0].mean(0)
    # Turning by an angle moves each place by the chord.
    chord = 2 * abs(np.sin(angle / 2)) * np.linalg.norm(centred, axis=-1).mean()
    assert stiff.error(0, turned) == pytest.approx(chord, abs=1e-5)


def test_no_turn_is_better_than_the_fitted_one():
    rng = np.random.default_rng(4)
    places, spots = rng.normal(size=(2, 6, 2)).astype(np.float32)

    def squares(angle: float) -> float:
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        gap = (spots - spots.mean(0)) - (places - places.mean(0)) @ turn.T
        return float((gap**2).sum())

    angles = np.linspace(-np.pi, np.pi, 7201)
    best = angles[np.argmin([squares(angle) for angle in angles])]
    turn = np.array([[np.cos(best), -np.sin(best)], [np.sin(best), np.cos(best)]])
    gap = (spots - spots.mean(0)) - (places - places.mean(0)) @ turn.T
    error = Shape(places[None], turns=True).error(0, spots)
    assert error == pytest.approx(np.linalg.norm(gap, axis=-1).mean(), abs=2e-3)
    assert Shape(places[None]).error(0, spots) > error


def test_the_gap_counts_for_everybody():
    shape = Shape(np.zeros((1, 2, 2), np.float32), gap=(0, 0, 1, 1))
    spots = np.array([[[0.5, 0.5], [5, 5]], [[0.5, 1.5], [5, 5]], [[0.5, 1.5], [0.1, 0.1]]])
    assert shape.outside(spots).tolist() == [False, True, False]
    assert Shape(np.zeros((1, 2, 2), np.float32)).outside(spots).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GoalQueue(np.zeros((1, 2, 1, 2), np.float32)), "world.queue.goals"),
        (lambda: GoalQueue(np.zeros((1, 2, 2, 2), np.float32), 0), "world.queue.service_ticks"),
        (lambda: sites((1.0, 0.0)), "world.sites.value"),
        (lambda: sites(discount=-1.0), "world.sites.discount"),
        (lambda: sites(deadline=0.0), "world.sites.deadline_s"),
        (lambda: Sites(np.zeros((1, 0, 2), np.float32), np.ones((1, 0)), np.ones((1, 0))), "world.sites.position"),
        (lambda: Shape(np.zeros((1, 2, 2), np.float32), gap=(1, 0, 0, 1)), "world.shape.gap"),
        (lambda: Shape(np.zeros((1, 3, 2), np.float32)).check(1, 2), r"world.shape.offsets .* \(1, 2, 2\)"),
        (lambda: sites().check(2, 3), "world.sites.position"),
        (lambda: GoalQueue(np.full((1, 2, 2, 2), np.nan, np.float32)).check(1, 2), "world.queue.goals must be finite"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


# --------------------------------------------------------------------------- the scenarios with tasks


def test_lifelong_goals_alternate_and_never_depend_on_other_agents():
    world = SCENARIOS.create("lifelong-warehouse", agents=12).build(3, [0, 5])
    goals = world.queue.goals
    shelf, station = goals[:, :, ::2], goals[:, :, 1::2]
    assert np.isin(station[..., 0], [0.5, 35.5]).all() and not np.isin(shelf[..., 0], [0.5, 35.5]).any()
    assert np.allclose(world.obstacles.signed_distance(shelf), 0.5)
    # Stations are shared, shelves are not: no place is visited by two agents.
    owners = [{tuple(spot) for spot in agent.tolist()} for agent in shelf[0]]
    assert sum(map(len, owners)) == len(set.union(*owners))
    assert len(np.unique(station[0].reshape(-1, 2), axis=0)) == 8
    assert not np.array_equal(goals[0], goals[1])
    longer = SCENARIOS.create("lifelong-warehouse", agents=12, max_ticks=9, service_ticks=3).build(3, [5])
    assert np.array_equal(longer.queue.goals[0], goals[1])


@pytest.mark.parametrize(("agents", "count"), [(10, 10), (4, 9), (9, 4)])
def test_coverage_has_any_number_of_sites_and_agents(agents, count):
    world = SCENARIOS.create("coverage", agents=agents, sites=count).build(1, range(4))
    assert world.sites.position.shape == (4, count, 2)
    assert (world.sites.value >= 1).all() and (world.sites.value <= 4).all()
    for lane in range(4):
        spots = np.concatenate([world.starts[lane], world.sites.position[lane]])
        gap = np.linalg.norm(spots[:, None] - spots, axis=-1) + 9 * np.eye(len(spots))
        assert gap.min() > 0.15
    # The drawn assignment gives every agent a site of its own, as far as both go.
    at_site = world.sites.near(world.goals, 1e-6)
    assert at_site.sum(2).max() == at_site.sum(1).max() == 1
    assert at_site.sum((1, 2)).tolist() == [min(agents, count)] * 4
    spare = world.goals[:, count:]
    assert np.array_equal(spare, world.starts[:, count:])


@pytest.mark.parametrize("form", ["line", "wedge", "block", "ring"])
@pytest.mark.parametrize("agents", [2, 3, 7])
def test_every_form_has_its_spacing_and_does_not_fit_through_the_gap(form, agents):
    world = SCENARIOS.create("formation", form=form, agents=agents).build(0, [0, 1])
    gap = np.linalg.norm(world.starts[:, :, None] - world.starts[:, None], axis=-1) + 9 * np.eye(agents)
    assert gap.min() == pytest.approx(1.0, abs=1e-5) or form == "wedge"
    assert gap.min() >= 1.0 - 1e-5
    assert np.ptp(world.starts[0, :, 1]) + 0.6 > 1.0
    for lane in (0, 1):
        assert world.shape.error(lane, world.starts[lane]) == pytest.approx(0, abs=1e-6)
        assert world.shape.error(lane, world.goals[lane]) == pytest.approx(0, abs=1e-6)
    assert world.shape.outside(world.starts).all() and world.shape.outside(world.goals).all()


def test_formation_refuses_a_gap_that_it_fits_through():
    with pytest.raises(ConfigError, match=r"formation.gap must be narrower than the shape, 4\.6 m, got 5 m"):
        SCENARIOS.create("formation", agents=5, gap=5).build(0, [0])
    with pytest.raises(ConfigError, match="formation.spacing must be at least two radii"):
        SCENARIOS.create("formation", radius=0.45, spacing=0.8).build(0, [0])
