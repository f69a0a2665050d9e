"""Train one shared policy on a scenario with Ray RLlib: a few PPO iterations on the CPU.

    pip install 'agentsc[rllib]'
    python experiments/examples/rllib_train.py [--scenario circle] [--agents 4] [--iterations 1]

Every agent of the PettingZoo environment is controlled by the same network, which sees what
`envs.pettingzoo_env` calls an observation: no messages, only what the agent senses itself. It is an
example of the plumbing, not a result: one iteration teaches next to nothing.
"""

from __future__ import annotations

import argparse
import os
import secrets
import time
from typing import Any

# Ray reads these when it is imported: nobody else may use this cluster, and it reports nothing.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env

import envs

SHARED = "shared"
"""The one policy of all agents."""


def configure(scenario: str, agents: int, steps: int, seed: int) -> PPOConfig:
    """PPO with one policy for all agents, everything in this process.

    Args:
        scenario: as in ``agentsc list scenarios``.
        agents: number of agents.
        steps: environment steps (of all agents at once) in an iteration.
        seed: of the environment, the network and the sampling.
    """
    register_env(
        "agentsc", lambda options: ParallelPettingZooEnv(envs.parallel_env(scenario, agents=agents, seed=seed))
    )
    return (
        PPOConfig()
        .environment("agentsc")
        .framework("torch")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=1, rollout_fragment_length="auto")
        .learners(num_learners=0, num_gpus_per_learner=0)
        .multi_agent(policies={SHARED}, policy_mapping_fn=lambda agent, episode, **rest: SHARED)
        .rl_module(rl_module_spec=RLModuleSpec(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64])))
        .training(train_batch_size_per_learner=steps, minibatch_size=256, num_epochs=4, lr=3e-4, gamma=0.99)
        .debugging(seed=seed, log_level="ERROR")
    )


def train(scenario: str, agents: int, iterations: int, steps: int, seed: int) -> list[dict[str, Any]]:
    """Train and say how it goes.

    Returns:
        For every iteration: environment steps so far, episodes, mean return of an episode summed over
        agents (None before the first episode ends), loss, seconds.
    """
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    algorithm = configure(scenario, agents, steps, seed).build_algo()
    rows: list[dict[str, Any]] = []
    try:
        for iteration in range(iterations):
            began = time.perf_counter()
            result = algorithm.train()
            runners = result["env_runners"]
            mean = runners.get("episode_return_mean")
            rows.append(
                {
                    "iteration": iteration + 1,
                    "env_steps": int(result["num_env_steps_sampled_lifetime"]),
                    "episodes": int(runners.get("num_episodes_lifetime", 0)),
                    "return_mean": None if mean is None else float(mean),
                    "loss": float(result["learners"][SHARED]["total_loss"]),
                    "seconds": time.perf_counter() - began,
                }
            )
            print(rows[-1], flush=True)
    finally:
        algorithm.stop()
        ray.shutdown()
    return rows


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="circle")
    parser.add_argument("--agents", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2048, help="environment steps in an iteration")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train(options.scenario, options.agents, options.iterations, options.steps, options.seed)


if __name__ == "__main__":
    main()
