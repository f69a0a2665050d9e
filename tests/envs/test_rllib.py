"""The facade under Ray RLlib's PettingZoo wrapper, where RLlib is installed."""

from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from pathlib import Path

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


def test_the_example_trains_a_shared_policy():
    """In a process of its own: RLlib keeps state in the interpreter and in Ray."""
    example = Path(__file__).parents[2] / "experiments" / "examples" / "rllib_train.py"
    line = [sys.executable, str(example), "--scenario", "highways", "--agents", "3", "--steps", "260"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    row = ast.literal_eval(done.stdout.splitlines()[-1])
    assert row["iteration"] == 1 and row["env_steps"] == 260 and row["episodes"] >= 1
    assert np.isfinite(row["loss"]) and np.isfinite(row["return_mean"])
