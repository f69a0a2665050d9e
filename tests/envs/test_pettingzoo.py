"""The PettingZoo facade: PettingZoo's own conformance tests for every scenario, then our semantics."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from functools import partial
from types import SimpleNamespace

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import envs
from envs import pettingzoo_env
from envs.errors import ConfigError
from envs.geometry import Obstacles
from envs.scenarios import SCENARIOS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # pettingzoo.test warns about itself
    from pettingzoo.test import max_cycles_test, parallel_api_test, parallel_seed_test, render_test

NAMES = sorted(SCENARIOS)
# PettingZoo reports many a breach as a warning only.
strict = pytest.mark.filterwarnings("error::UserWarning")


def actions(env, value=None):
    """The same action for everybody, or random ones from the seeded spaces."""
    if value is None:
        return {name: env.action_space(name).sample() for name in env.agents}
    return dict.fromkeys(env.agents, np.float32(value))


# -------------------------------------------------------------------------- PettingZoo's own tests


@strict
@pytest.mark.parametrize("name", NAMES)
def test_parallel_api(name, capsys):
    parallel_api_test(envs.parallel_env(name), num_cycles=40)
    assert "Passed" in capsys.readouterr().out


@strict
@pytest.mark.parametrize("name", NAMES)
def test_seeding(name):
    parallel_seed_test(partial(envs.parallel_env, name), num_cycles=4)
    one, other = envs.parallel_env(name), envs.parallel_env(name)
    starts = [env.reset(seed=seed)[0]["agent_0"] for env, seed in ((one, 1), (other, 2))]
    assert np.array_equal(*starts) == (name in ("circle", "rmader-circle", "scene"))


@strict
@pytest.mark.parametrize("name", NAMES)
def test_rendering(name):
    render_test(partial(pettingzoo_env.env, name))
    env = envs.parallel_env(name, render_mode="rgb_array", size=(320, 200))
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (200, 320, 3) and len(np.unique(frame.reshape(-1, 3), axis=0)) > 3
    assert envs.parallel_env(name).render() is None


@strict
@pytest.mark.parametrize("name", NAMES)
def test_max_cycles(name):
    max_cycles_test(
        SimpleNamespace(parallel_env=partial(envs.parallel_env, name), env=partial(pettingzoo_env.env, name))
    )


# ------------------------------------------------------------------------------------ conformance


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dynamics", ["single", "double"])
def test_observations_and_state_are_in_their_spaces(name, dynamics):
    env = envs.parallel_env(name, dynamics=dynamics, max_cycles=12)
    observations, _ = env.reset(seed=3)
    for _ in range(12):
        for agent, observation in observations.items():
            assert env.observation_space(agent).contains(observation), agent
        assert env.state_space.contains(env.state())
        observations, rewards, terminated, truncated, infos = env.step(actions(env))
        assert set(observations) == set(rewards) == set(infos) == set(env.possible_agents)
        assert all(np.isfinite(list(rewards.values())))
    assert all(truncated.values()) and not any(terminated.values()) and env.agents == []
    assert env.step({}) == ({}, {}, {}, {}, {})


@pytest.mark.parametrize("name", NAMES)
def test_the_environment_names_itself(name):
    env = envs.parallel_env(name)
    assert env.metadata["name"] == f"agentsc_{name}_v0"
    assert env.metadata["render_fps"] == round(1 / env.world.dt)
    assert env.max_cycles == env.world.max_ticks
    assert type(env).metadata.get("name") is None


@pytest.mark.parametrize("name", NAMES)
def test_a_second_environment_changes_nothing_in_the_first(name):
    def run(disturb: bool) -> list[float]:
        env = envs.parallel_env(name)
        env.reset(seed=8)
        seen = []
        for _ in range(3):
            if disturb:
                other = envs.parallel_env(name, seed=5)
                other.reset()
                other.step(actions(other, [1, 0]))
            seen += [float(o.sum()) for o in env.step(actions(env, [0.5, -0.5]))[0].values()]
        return seen

    assert run(False) == run(True)


# -------------------------------------------------------------------------------------- semantics


def test_episodes_follow_each_other_and_a_seed_starts_again():
    env = envs.parallel_env("random", agents=3)
    first = [env.reset(seed=4)[0]["agent_0"]] + [env.reset()[0]["agent_0"] for _ in range(3)]
    again = [env.reset(seed=4)[0]["agent_0"]] + [env.reset()[0]["agent_0"] for _ in range(3)]
    assert np.array_equal(first, again) and len(np.unique(np.array(first), axis=0)) == 4
    assert np.array_equal(env.reset(seed=4, options={"episode": 2})[0]["agent_0"], first[2])
    assert np.array_equal(envs.parallel_env("random", agents=3, seed=4).reset()[0]["agent_0"], first[0])


def test_the_facade_is_the_world_of_its_episode():
    env = envs.parallel_env("highways", agents=4)
    env.reset(seed=6)
    env.reset()
    world = SCENARIOS.create("highways", agents=4).build(6, [1])
    parts = [world.starts.ravel(), np.zeros(8), world.goals.ravel()]
    assert np.array_equal(env.state(), np.concatenate(parts))


def test_an_observation_reads_as_documented():
    env = envs.parallel_env("circle", agents=4, neighbours=5)
    env.reset(seed=0)
    # Agent 0 at (.8, 0) drives up, agent 1 at (0, .8) drives left, at half speed.
    orders = {"agent_0": np.float32([0, 0.5]), "agent_1": np.float32([-0.5, 0])}
    seen = env.step(orders)[0]["agent_0"]
    pace, dt = 0.32, 5 / 64
    here = np.array([0.8, pace * dt])
    assert seen.shape == (8 + 16 + 5 * 5,)
    assert np.allclose(seen[:2], here, atol=1e-6)
    assert np.allclose(seen[2:4], [0, pace], atol=1e-6)
    assert np.allclose(seen[4:6], [-0.8 - here[0], -here[1]], atol=1e-6)
    assert np.allclose(seen[6:8], seen[4:6] / np.linalg.norm(seen[4:6]), atol=1e-6)
    # Rays: a quarter turn apart, to the walls of the empty arena, no farther than the sensing range 1.
    assert np.allclose(seen[8:24:4], [0.2, 1 - here[1], 1, 1], atol=1e-5)
    # Peers within 1 m: nobody (the nearest is 1.1 m away).
    assert not seen[24:].any()
    wide = envs.parallel_env("circle", agents=4, neighbours=5, sensing=2.0)
    wide.reset(seed=0)
    peers = wide.step(orders)[0]["agent_0"][24:].reshape(5, 5)
    assert peers[:, 4].tolist() == [1, 1, 1, 0, 0] and not peers[3:].any()
    assert np.allclose(peers[0], [-pace * dt - here[0], 0.8 - here[1], -pace, -pace, 1], atol=1e-6)


def test_full_speed_towards_the_goal_earns_one_and_ends_the_episode():
    env = envs.parallel_env("random", agents=1)
    observation = env.reset(seed=2)[0]["agent_0"]
    total = 0
    while env.agents:
        assert total < 60
        length = np.linalg.norm(observation[4:6])
        heading = observation[4:6] / length
        observations, rewards, terminated, truncated, infos = env.step({"agent_0": heading})
        observation = observations["agent_0"]
        if length > 0.1:
            assert rewards["agent_0"] == pytest.approx(1, abs=0.02)
        total += 1
    assert terminated["agent_0"] and not truncated["agent_0"] and infos["agent_0"]["at_goal"]


def test_collisions_cost_ten_and_are_told():
    env = envs.parallel_env("circle", agents=2, max_cycles=40)
    env.reset(seed=0)
    met = []
    while env.agents:
        rewards, infos = _step(env, {"agent_0": [-1, 0], "agent_1": [1, 0]})
        assert infos["agent_0"]["hit"] == infos["agent_1"]["hit"]
        assert rewards["agent_0"] == pytest.approx(1 - 10 * infos["agent_0"]["hit"], abs=0.05)
        met.append(infos["agent_0"]["hit"])
    # They close in from 1.6 m at .1 m a tick. Some time in ticks 15 to 16 less than .1 m is left, and
    # again while they part, in the tick after (rounding decides whether the exact .1 m counts).
    assert met.index(True) in (14, 15) and 2 <= sum(met) <= 3


def test_leaving_the_arena_is_a_crash_with_finite_numbers():
    env = envs.parallel_env("highways", agents=2)
    env.reset(seed=0)
    crashed = []
    for _ in range(80):
        rewards, infos = _step(env, {"agent_0": [1, 0.03], "agent_1": [0, 0]})
        crashed.append(infos["agent_0"]["crashed"])
        assert np.isfinite(rewards["agent_0"])
    assert crashed[-1] and not crashed[0] and env.state()[0] > 1


def _step(env, orders):
    """Rewards and infos of one step, after checking the observations."""
    observations, rewards, _, _, infos = env.step({name: np.float32(order) for name, order in orders.items()})
    assert all(np.isfinite(observation).all() for observation in observations.values())
    return rewards, infos


def test_following_the_guide_reaches_goals_around_the_shelves():
    env = envs.parallel_env("warehouse", agents=3, goal_tolerance=0.45)
    observations, _ = env.reset(seed=1)
    cycles = 0
    while env.agents and cycles < 400:
        guide = {name: observations[name][6:8] for name in env.agents}
        observations, _, terminated, _, infos = env.step(guide)
        assert not any(info["crashed"] for info in infos.values())
        cycles += 1
    assert all(terminated.values())


def test_an_environment_travels_to_other_processes():
    env = envs.parallel_env("conveyor", agents=3)
    env.reset(seed=1)
    twin = pickle.loads(pickle.dumps(env))
    left, right = env.step(actions(env, [0.3, 0.1])), twin.step(actions(twin, [0.3, 0.1]))
    assert all(np.array_equal(left[0][name], right[0][name]) for name in env.possible_agents)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"render_mode": "ansi"}, "render_mode must be"),
        ({"max_cycles": 0}, "max_cycles must be at least 1, got 0"),
        ({"neighbours": -1}, "neighbours must be at least 0"),
        ({"sensing": 0.0}, "sensing must be positive"),
        ({"wings": 2}, "scenario.circle"),
        ({"agents": 90}, "scenario.circle.agents"),
    ],
)
def test_bad_parameters_are_refused(parameters, says):
    with pytest.raises(ConfigError, match=says):
        envs.parallel_env("circle", **parameters)


def test_an_unknown_scenario_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'circle'"):
        envs.parallel_env("cirle")


def test_bad_actions_are_refused():
    env = envs.parallel_env("circle", agents=2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="agent_7"):
        env.step({"agent_7": np.zeros(2)})
    with pytest.raises(ValueError, match="finite"):
        env.step({"agent_0": np.array([np.nan, 0])})


def test_importing_the_package_is_light():
    heavy = ("torch", "pettingzoo", "gymnasium", "pygame", "ray")
    code = f"import sys, envs, envs.scenarios; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------- rays


@settings(max_examples=60, deadline=None)
@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(0.05, 0.3), st.floats(-3.1, 3.1))
@example(0.25, 0.015625, 0.25, 0.0)  # starts half a millimetre off the circle, heading away
def test_a_ray_meets_a_circle_where_the_quadratic_says(x, y, radius, angle):
    obstacles = Obstacles([(0, 0, radius, radius, radius)], cutoff=0.5)
    assume(abs(np.hypot(x, y) - radius) > 1e-6)  # nearer than that, float32 cannot tell the sides apart
    origin, unit = np.array([x, y]), np.array([np.cos(angle), np.sin(angle)])
    b, c = origin @ unit, origin @ origin - radius**2
    miss = origin @ origin - b * b  # squared distance of the line from the centre
    seen = pettingzoo_env.cast(obstacles, origin.astype(np.float32), np.float32([angle]), 1.0)[0]
    if c <= 0:
        exact = 0.0
    elif miss < radius**2 and -b - np.sqrt(radius**2 - miss) > 0:
        exact = min(-b - np.sqrt(radius**2 - miss), 1.0)
    else:
        exact = 1.0
    assert seen <= exact + 1e-3
    if abs(np.sqrt(max(miss, 0)) - radius) > 0.05:
        assert seen == pytest.approx(exact, abs=0.01)


# ------------------------------------------------------------------------------------ tasks and events


def test_a_task_served_brings_the_next_goal_and_never_an_end():
    env = envs.parallel_env("lifelong-warehouse", agents=1, service_ticks=2, max_cycles=400)
    observation = env.reset(seed=1)[0]["agent_0"]
    queue, done = env.world.queue.goals[0, 0], 0
    while env.agents:
        goal = env.state()[4:6]
        assert np.array_equal(goal, queue[done % len(queue)])
        # Along the shortest way, and no farther than the goal.
        action = observation[6:8] * min(1.0, np.linalg.norm(observation[4:6]) / 0.25)
        observations, rewards, terminated, truncated, infos = env.step({"agent_0": action})
        observation = observations["agent_0"]
        assert infos["agent_0"]["tasks_done"] in (done, done + 1) and not terminated["agent_0"]
        assert rewards["agent_0"] > -0.1  # a goal that is far away costs nothing
        done = infos["agent_0"]["tasks_done"]
    assert done >= 4 and truncated["agent_0"]


def test_events_are_seen_on_the_map_and_by_those_concerned():
    options = {"agents": 6, "failures": 1, "joins": 1, "role_changes": 1, "max_cycles": 140}
    env = envs.parallel_env("surprise", **options, render_mode="rgb_array", size=(240, 240))
    env.reset(seed=3)
    events, start = env.world.events, env.state()
    failing, joining = (int(events.subject[events.kind == kind][0]) for kind in (1, 2))
    fails, joins = (int(events.tick[events.kind == kind][0]) for kind in (1, 2))
    frames, tick = [env.render()], 0
    while env.agents:
        before = env.state()
        infos = env.step(actions(env, [0.3, 0.2]))[4]
        tick += 1
        assert infos[f"agent_{failing}"]["alive"] == (tick < fails)
        assert infos[f"agent_{joining}"]["alive"] == (tick >= joins)
        moved = (env.state() - before)[:12].reshape(6, 2)
        assert moved[failing].any() == (tick <= fails) and moved[joining].any() == (tick > joins)
        frames.append(env.render())
    assert not np.array_equal(env.state()[24:], start[24:])  # goals were swapped
    amber = [(np.abs(frame.astype(int) - (255, 190, 60)).sum(-1) < 20).sum() for frame in frames]
    assert amber[0] == 0 and max(amber) > 20


def test_late_boxes_turn_rays_and_ways_once_they_are_announced():
    env = envs.parallel_env(
        "surprise", agents=1, obstacles=0, doors=9, failures=0, joins=0, role_changes=0, first_s=0, window_s=0
    )
    blind = envs.parallel_env("surprise", agents=1, obstacles=0, doors=0, failures=0, joins=0, role_changes=0)
    longer = 0
    for seed in range(12):
        observation, other = env.reset(seed=seed)[0]["agent_0"], blind.reset(seed=seed)[0]["agent_0"]
        assert np.array_equal(observation[:6], other[:6])
        longer += env._left[0] > blind._left[0] + 0.5
    assert longer >= 2
