"""Any scenario as a PettingZoo environment: `parallel_env` (all agents at once) and `env` (in turns)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils import parallel_to_aec

from envs.arena import Arena
from envs.errors import ConfigError
from envs.geometry import Obstacles, segment_clearance
from envs.navigation import NavigationGrid
from envs.scenarios import SCENARIOS, Scenario
from envs.world import World

Float = NDArray[np.float32]

RAYS = 16
COLLISION_PENALTY = 10.0
_AROUND = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij"), axis=-1).reshape(9, 2)
_HERE = 4  # the node itself among the nine around it
_MARCH = 32  # steps of a ray, each as long as the way is known to be clear


def cast(obstacles: Obstacles, origins: Float, angles: Float, reach: float) -> Float:
    """Distance from each origin to the nearest obstacle in each direction.

    Args:
        obstacles: the geometry.
        origins: float32 [..., 2], metres.
        angles: float32 [R], rad from the x-axis towards the y-axis.
        reach: greatest distance, metres.

    Returns:
        float32 [..., R], metres: ``reach`` where nothing is nearer, 0 inside an obstacle. At most a
        thousandth of ``reach`` too far; a ray that grazes a surface may be stopped by it early.

    Reference: J. C. Hart, "Sphere tracing", The Visual Computer 1996.
    """
    direction = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
    way = np.zeros((*origins.shape[:-1], len(angles)), np.float32)
    rays = np.broadcast_to(origins[..., None, :], (*way.shape, 2)).reshape(-1, 2)
    heading = np.broadcast_to(direction, (*way.shape, 2)).reshape(-1, 2)
    flat = way.reshape(-1)
    live = np.arange(len(flat))
    touch = np.float32(1e-3 * reach)
    for _ in range(_MARCH):
        room, outward = obstacles.distance_and_gradient(rays[live] + flat[live, None] * heading[live])
        # Who starts close to a surface and heads away from it has not arrived there.
        leaving = (room > 0) & ((outward * heading[live]).sum(-1) > 0)
        flat[live] += np.where(leaving, np.maximum(room, touch), room.clip(0, None))
        live = live[((room > touch) | leaving) & (flat[live] < reach)]
        if not len(live):
            break
    return way.clip(0, reach)


class AgentscEnv(ParallelEnv[str, Float, Float]):
    """One episode of a scenario at a time, for learning and for comparing with other libraries.

    | facts | |
    |---|---|
    | agents | ``agent_0`` … ``agent_{A-1}``, all from the start to the end of an episode |
    | action | ``Box(-1, 1, (2,))``: velocity / top speed (``single``), acceleration / limit (``double``); \
vectors beyond a limit are shortened to it |
    | observation | ``Box((8 + 16 + 5·neighbours,))``, float32, metres and m/s: own position 2, own \
velocity 2, goal relative to own position 2, unit direction of the shortest way 2, ranges along 16 rays \
counter-clockwise from the x-axis, then for each of the nearest peers in range, nearest first: relative \
position 2, relative velocity 2, and 1 (five zeros where there is none) |
    | reward | metres nearer to the goal along the shortest way, per v_max·dt (so full speed earns 1), minus \
10 in a tick with a collision with a peer, an obstacle or the wall |
    | state | ``Box((6·A,))``: positions, velocities, goals |
    | termination | for all agents at once, when all that have not failed are within the goal tolerance and nothing \
is still to happen to any; never where tasks follow each other |
    | truncation | for all agents at once, after ``max_cycles`` ticks |
    | infos | ``at_goal``, ``hit`` (a peer), ``crashed`` (an obstacle), ``alive`` (joined and not failed), \
``tasks_done``; a collision is recorded, never resolved |
    | events | goals are the current ones; a change of goal earns nothing; late boxes are on the map for rays and \
ways from their announcement on, for all agents; who has not joined or has failed rests, whatever its action |
    | seeding | ``reset(seed=s)`` starts episode 0 of seed s; ``reset()`` goes on to the next episode |
    | render | ``rgb_array``, ``human`` |

    Peers are sensed within ``sensing`` metres, through obstacles, without noise.

    Version history:
        * v0: first version.

    Args:
        scenario: what to build episodes from.
        max_cycles: ticks before truncation; None is the scenario's time limit.
        render_mode: ``rgb_array``, ``human`` or None.
        neighbours: how many peers are observed.
        sensing: range of rays and of sensing peers, metres; None is twenty agent radii.
        seed: the seed before the first ``reset(seed=…)``.
        size: width and height of a rendered frame, pixels.

    Raises:
        ConfigError: a value is out of bounds, or the agents do not fit.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "is_parallelizable": True}

    def __init__(
        self,
        scenario: Scenario,
        max_cycles: int | None = None,
        render_mode: Literal["human", "rgb_array"] | None = None,
        neighbours: int = 4,
        sensing: float | None = None,
        seed: int = 0,
        size: tuple[int, int] = (600, 600),
    ) -> None:
        if max_cycles is not None and max_cycles < 1:
            raise ConfigError(f"max_cycles must be at least 1, got {max_cycles} (ticks before truncation)")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode must be 'human', 'rgb_array' or None, got {render_mode!r}")
        if neighbours < 0:
            raise ConfigError(f"neighbours must be at least 0, got {neighbours} (peers observed)")
        if sensing is not None and not 0 < sensing < np.inf:
            raise ConfigError(f"sensing must be positive, got {sensing} (metres)")
        self.scenario = scenario
        self.render_mode = render_mode
        self.size = size
        self.world: World = scenario.build(seed, [0])
        self.max_cycles = max_cycles or self.world.max_ticks
        self.sensing = sensing or 20 * self.world.radius
        self.metadata = {
            **type(self).metadata,
            "name": f"agentsc_{scenario.name}_v0",
            "render_fps": max(1, round(1 / self.world.dt)),
        }
        self.possible_agents = [f"agent_{index}" for index in range(self.world.agents)]
        self.agents: list[str] = []
        self._seed, self._episode = seed, -1
        self._angles = (2 * np.pi / RAYS * np.arange(RAYS)).astype(np.float32)
        self._peers = min(neighbours, self.world.agents - 1)
        self._blank = neighbours - self._peers
        self._window: Any = None
        free, speed, reach = np.inf, self.world.v_max, self.sensing
        low = [-free] * 2 + [-speed] * 2 + [-free] * 2 + [-1.0] * 2 + [0.0] * RAYS
        low += ([-reach] * 2 + [-2 * speed] * 2 + [0.0]) * neighbours
        high = [-bound for bound in low[:8]] + [reach] * RAYS
        high += ([reach] * 2 + [2 * speed] * 2 + [1.0]) * neighbours
        # A rounding's width, so that a speed at the limit is inside.
        edge = np.float32(1 + 1e-5)
        self.observation_spaces = {
            name: Box(
                edge * np.asarray(low, np.float32), edge * np.asarray(high, np.float32), dtype=np.float32
            )
            for name in self.possible_agents
        }
        self.action_spaces = {name: Box(-1.0, 1.0, (2,), np.float32) for name in self.possible_agents}
        self.state_space = Box(-np.inf, np.inf, (6 * self.world.agents,), np.float32)
        self._ways: NavigationGrid | None = None
        self._map, self._goals = self.world.obstacles, self.world.goals
        self._arena = Arena(self.world)

    def observation_space(self, agent: str) -> Box:
        """The agent's observation space, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box:
        """The agent's action space, always the same object."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Float], dict[str, dict[str, Any]]]:
        """Start an episode: the first one of a seed given, else the next one.

        Args:
            seed: starts again at episode 0 of this seed.
            options: ``{"episode": number}`` asks for that episode; other keys are ignored.

        Returns:
            Observations and infos by agent.
        """
        self._episode += 1
        if seed is not None:
            self._seed, self._episode = int(seed), 0
        if options and "episode" in options:
            self._episode = int(options["episode"])
        self.world = world = self.scenario.build(self._seed, [self._episode])
        self._arena = Arena(world)
        self._survey()
        self._left, self._guide = self._look_ahead()
        self.agents = list(self.possible_agents)
        quiet = np.zeros(world.agents, bool)
        at_goal = self._arena.story.at_goal(self._arena.position)[0]
        infos = self._infos(at_goal, quiet, quiet)
        if self.render_mode == "human":
            self.render()
        return self._observations(), infos

    def step(
        self, actions: dict[str, Float]
    ) -> tuple[
        dict[str, Float], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]
    ]:
        """Advance by one tick.

        Args:
            actions: float [2] by agent; an agent without one is given zeros.

        Returns:
            Observations, rewards, terminations, truncations and infos by agent; empty after the end.

        Raises:
            ValueError: an action for an agent that is not there, or one that is not finite.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        strange = actions.keys() - set(self.agents)
        if strange:
            raise ValueError(f"actions must be for live agents, got one for {min(strange)!r}")
        world = self.world
        command = np.zeros((1, world.agents, 2), np.float32)
        for index, name in enumerate(self.possible_agents):
            if name in actions:
                command[0, index] = actions[name]
        if not np.isfinite(command).all():
            raise ValueError("actions must be finite numbers in [-1, 1]")
        limit = world.v_max if world.dynamics == "single" else world.a_max
        story = self._arena.story
        command = command.clip(-1, 1) * np.float32(limit)
        if not story.alive.all():
            stop = 0.0 if world.dynamics == "single" else -self._arena.velocity / np.float32(world.dt)
            command = np.where(story.alive[..., None], command, stop)
        done = self._arena.step(command)

        before = self._left
        self._left, self._guide = self._look_ahead()
        collided = done.hit[0] | done.crashed[0]
        reward = (before - self._left) / (world.v_max * world.dt) - COLLISION_PENALTY * collided
        if self._survey():
            self._left, self._guide = self._look_ahead()
        terminated = bool((done.at_goal[0] | story.failed[0]).all() and story.settled[0])
        truncated = not terminated and self._arena.tick >= self.max_cycles
        names = self.agents
        if terminated or truncated:
            self.agents = []
        if self.render_mode == "human":
            self.render()
        return (
            self._observations(),
            {name: float(value) for name, value in zip(names, reward, strict=True)},
            dict.fromkeys(names, terminated),
            dict.fromkeys(names, truncated),
            self._infos(done.at_goal[0], done.hit[0], done.crashed[0]),
        )

    def state(self) -> Float:
        """Positions, velocities and goals of all agents, float32 [6·A], metres and m/s."""
        parts = (self._arena.position, self._arena.velocity, self._arena.goals)
        return np.concatenate([part.ravel() for part in parts])

    def render(self) -> NDArray[np.uint8] | None:
        """The frame, uint8 [height, width, 3], for ``rgb_array``; shown in a window for ``human``."""
        if self.render_mode is None:
            return None
        from envs.render import Window, draw_world

        story = self._arena.story
        frame = draw_world(
            self.world, self._arena.position[0], self._arena.velocity[0], self.size,
            goals=story.goals[0], alive=story.alive[0], late=story.visible[0] + story.solid[0].astype(np.int64),
        )  # fmt: skip
        if self.render_mode == "rgb_array":
            return frame
        if self._window is None:
            self._window = Window(self.size, self.metadata["name"])
        self._window.show(frame)
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _survey(self) -> bool:
        """Ways on the map as it is announced, and fields to the current goals; whether anything has changed."""
        story, world = self._arena.story, self.world
        self._map = story.maps.of(0, story.visible[0])
        moved = self._ways is None or self._ways.obstacles is not self._map
        if moved:
            self._ways = NavigationGrid(self._map, world.radius, world.cell, world.flow)
        if not moved and self._goals is story.goals:
            return False
        assert self._ways is not None
        self._goals = story.goals
        self._fields = self._ways.fields(story.goals[0])
        return True

    def _look_ahead(self) -> tuple[Float, Float]:
        """Length of each agent's way to its goal, float32 [agent], and its unit direction [agent, 2].

        The way leads through the best of the goal itself and the nine nodes around the agent that
        it can drive straight to; where there is none, outside the free space, to the nearest node.
        """
        assert self._ways is not None
        world, ways, spots = self.world, self._ways, self._arena.position[0]
        row = np.arange(world.agents)
        iy, ix = ways.node(spots)
        y, x = iy[:, None] + _AROUND[:, 0], ix[:, None] + _AROUND[:, 1]
        outside = (y < 0) | (x < 0) | (y >= ways.shape[0]) | (x >= ways.shape[1])
        y, x = y.clip(0, ways.shape[0] - 1), x.clip(0, ways.shape[1] - 1)
        ends = np.concatenate([ways.point(y, x), self._goals[0][:, None]], axis=1)
        onward = np.where(outside, np.inf, self._fields[row[:, None], y, x])
        onward = np.pad(onward, ((0, 0), (0, 1)))
        change = ends - spots[:, None]
        length = np.linalg.norm(change, axis=-1)

        room = self._map.signed_distance(np.concatenate([spots[:, None], ends], axis=1))
        need = np.minimum(np.minimum(room[:, :1], room[:, 1:]), world.radius * (1 - 5e-4))
        reach = segment_clearance(self._map, spots[:, None], ends, world.radius, 2e-4 * world.radius)
        cost = np.where((reach >= need - 3e-4 * world.radius) & (need > 0), length + onward, np.inf)
        left = cost.min(axis=1)
        # A node nearer than a tick's way is behind the agent before it can be steered to.
        passing = length < max(0.3 * world.cell, world.v_max * world.dt)
        passing[:, -1] = False
        ahead = np.where(passing, np.inf, cost)
        best = np.where(np.isfinite(ahead).any(axis=1), ahead.argmin(axis=1), cost.argmin(axis=1))
        lost = ~np.isfinite(left)
        if lost.any():
            best = np.where(lost, _HERE, best)
            left = np.where(lost, length[:, _HERE] + onward[:, _HERE], left)
            left = np.where(np.isfinite(left), left, length[:, -1])
        heading = change[row, best] / np.maximum(length[row, best], 1e-9)[:, None]
        return left.astype(np.float32), heading.astype(np.float32)

    def _observations(self) -> dict[str, Float]:
        world, spots, speeds = self.world, self._arena.position[0], self._arena.velocity[0]
        goal = self._goals[0] - spots

        # What nobody is told of can still be felt: rays end where something stands.
        solid = self._map if world.unknown is None else self._arena.story.obstructed[0]
        ranges = cast(solid, spots, self._angles, self.sensing)

        offset = spots - spots[:, None]
        gap = np.linalg.norm(offset, axis=-1)
        np.fill_diagonal(gap, np.inf)
        near = np.argsort(gap, axis=1, kind="stable")[:, : self._peers]
        row = np.arange(world.agents)[:, None]
        heard = (gap[row, near] <= self.sensing)[..., None]
        relative = (speeds - speeds[:, None])[row, near]
        peers = np.concatenate([offset[row, near], relative, np.ones_like(heard)], axis=-1) * heard
        peers = np.pad(peers, ((0, 0), (0, self._blank), (0, 0)))

        peers = peers.reshape(world.agents, -1)
        table = np.concatenate([spots, speeds, goal, self._guide, ranges, peers], axis=1)
        return dict(zip(self.possible_agents, table.astype(np.float32), strict=True))

    def _infos(
        self, at_goal: NDArray[np.bool_], hit: NDArray[np.bool_], crashed: NDArray[np.bool_]
    ) -> dict[str, dict[str, Any]]:
        story = self._arena.story
        columns = {"at_goal": at_goal, "hit": hit, "crashed": crashed}
        columns |= {"alive": story.alive[0], "tasks_done": story.tasks_done[0]}
        return {name: {k: v[row].item() for k, v in columns.items()} for row, name in enumerate(self.possible_agents)}


OPTIONS = ("max_cycles", "render_mode", "neighbours", "sensing", "seed", "size")
"""Parameters of the environment; all others are the scenario's."""


def parallel_env(name: str, **parameters: Any) -> AgentscEnv:
    """The parallel environment of a scenario.

    Args:
        name: a scenario, as in ``agentsc list scenarios``.
        parameters: those of `AgentscEnv` (``max_cycles``, ``render_mode``, ``neighbours``,
            ``sensing``, ``seed``, ``size``); all others are the scenario's.

    Raises:
        ConfigError: unknown scenario or parameter, or agents that do not fit.
    """
    options = {key: parameters.pop(key) for key in OPTIONS if key in parameters}
    return AgentscEnv(SCENARIOS.create(name, **parameters), **options)


def env(name: str, **parameters: Any) -> AECEnv[str, Float, Float]:
    """The same environment with agents acting in turns (PettingZoo's AEC interface)."""
    return parallel_to_aec(parallel_env(name, **parameters))
