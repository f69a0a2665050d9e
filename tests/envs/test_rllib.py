"""The facade under Ray RLlib's PettingZoo wrapper, where RLlib is installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import envs
from envs.scenarios import SCENARIOS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # RLlib needs more than Ray: dm-tree, pandas and pyarrow.
    wrapper = pytest.importorskip(
        "ray.rllib.env.wrappers.pettingzoo_env",
        reason="RLlib is not installed (pip install dm-tree pandas pyarrow)",
        exc_type=ImportError,
    )


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_steps_under_rllibs_wrapper(name):
    env = wrapper.ParallelPettingZooEnv(envs.parallel_env(name, max_cycles=3))
    assert set(env.possible_agents) == set(env.par_env.possible_agents)
    observations, _ = env.reset(seed=4)
    assert env.observation_space.contains(observations)
    for cycle in range(3):
        observations, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observations)
        assert set(rewards) == set(env.possible_agents) and np.isfinite(list(rewards.values())).all()
        assert truncated["__all__"] == (cycle == 2) and not terminated["__all__"]
    env.close()
