"""How far a world's tasks and events have come: current goals, who is there, what stands where, who has seen it.

The arena moves; the story says what the moving means. A world without tasks and events has a story on
which nothing ever changes, and the arrays stay the same objects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.events import BOX, DIE, FAIL, GOAL, JOIN, START, Events, LateMaps
from envs.geometry import Obstacles
from envs.world import World

Float = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

REST = 0.02
"""An agent rests below this share of its top speed."""
_NEVER = 1 << 40


class Story:
    """What has happened so far in every lane.

    A changed array is a new object, so ``story.goals is goals`` says that no goal has changed.

    Attributes:
        goals: float32 [lane, agent, 2], metres, current ones.
        tasks_done: int64 [lane, agent], goals served.
        joined, failed: bool [lane, agent]. alive: bool [lane, agent], joined and not failed.
        running: bool [lane, agent], whose process has not died, or has started again.
        settled: bool [lane], all that was to happen to agents of a lane has, so that it may end. Boxes hold up nobody.
        visited_tick: int64 [lane, site], when an agent first rested at a site; -1 for not yet.
        visible, solid: bool [lane, box], late boxes that can be seen, and that stand.
        known: bool [lane, agent, box], late boxes that each agent has seen so far.
        obstructed: lane → its geometry, for lanes in which some late box stands, or obstacles that nobody knew.
    """

    def __init__(self, world: World) -> None:
        self.world, self.events = world, world.events or _no_events(world)
        lanes, agents = shape = world.starts.shape[:2]
        self.goals: Float = np.ascontiguousarray(world.goals, dtype=np.float32)
        self.tasks_done = np.zeros(shape, np.int64)
        self._rested = np.zeros(shape, np.int64)
        self._joins = self.events.when(JOIN, (lanes, agents), 0)
        self._fails = self.events.when(FAIL, (lanes, agents), _NEVER)
        self._last = np.maximum(self.events.last(lanes), self._joins.max(1, initial=0))
        sites = 0 if world.sites is None else world.sites.position.shape[1]
        self.visited_tick = np.full((lanes, sites), -1, np.int64)
        boxes = self.events.boxes.shape[1]
        self._due = self.events.when(BOX, (lanes, boxes), _NEVER)
        self.visible, self.solid = np.zeros((2, lanes, boxes), bool)
        self.known = np.zeros((lanes, agents, boxes), bool)
        self.maps = LateMaps(world.obstacles, self.events.boxes)
        self.obstructed: dict[int, Obstacles] = {}
        if world.unknown is not None:
            self.obstructed = {lane: world.truth(lane) for lane in range(lanes)}
        self.joined, self.failed = self._joins <= 0, self._fails <= 0
        self.alive = self.joined & ~self.failed
        self.running = self.events.running(0, (lanes, agents))
        self.settled = np.zeros(lanes, bool)
        self._happen(0, world.starts)

    def at_goal(self, position: Float) -> Flags:
        """bool [lane, agent]: who is where it should be.

        In a world of sites that is at any site, or anywhere once an agent is at every site; elsewhere it is
        within the tolerance of the agent's goal, or of one that is as good (`GoalQueue.anywhere`).
        """
        world = self.world
        if world.sites is not None:
            near = world.sites.near(position, world.goal_tolerance)
            held: Flags = np.all(np.any(near, axis=1), axis=1, keepdims=True)
            return np.asarray(np.any(near, axis=2) | held)
        if world.queue is not None:
            return world.queue.near(position, self.goals, world.goal_tolerance)
        away = position - self.goals
        away *= away
        return np.asarray(away[..., 0] + away[..., 1] <= np.float32(world.goal_tolerance**2))

    def advance(self, tick: int, position: Float, velocity: Float, at_goal: Flags) -> bool:
        """Take note of what agents have done by the start of ``tick``, and let happen what is due then.

        Args:
            position, velocity: float32 [lane, agent, 2], m and m/s. at_goal: bool [lane, agent].

        Returns:
            Whether another late box has turned solid.
        """
        world = self.world
        if world.queue is None and world.sites is None and world.events is None:
            return False
        rests = (velocity**2).sum(-1) < (REST * world.v_max) ** 2
        if world.queue is not None:
            self._serve(at_goal & rests & self.alive)
        if world.sites is not None:
            near = world.sites.near(position, world.goal_tolerance) & (rests & self.alive)[..., None]
            self.visited_tick[near.any(1) & (self.visited_tick < 0)] = tick
        return self._happen(tick, position)

    def _serve(self, resting: Flags) -> None:
        """Who has rested long enough at its goal is given the next one."""
        queue = self.world.queue
        assert queue is not None
        self._rested = np.where(resting, self._rested + 1, 0)
        served = self._rested >= queue.service_ticks
        if served.any():
            self.tasks_done = self.tasks_done + served
            self._rested[served] = 0
            self.goals = queue.current(self.tasks_done)

    def _happen(self, tick: int, position: Float) -> bool:
        """The events of one tick, in the order of their rows; whether another box stands."""
        events = self.events
        now = np.flatnonzero((events.tick == tick) & (events.kind == GOAL))
        if len(now):
            self.goals = self.goals.copy()
            self.goals[events.lane[now], events.subject[now]] = events.goal[now]
        if ((events.tick == tick) & np.isin(events.kind, (DIE, START))).any():
            self.running = events.running(tick, self.running.shape)
        joined, failed = self._joins <= tick, self._fails <= tick
        if (joined != self.joined).any() or (failed != self.failed).any():
            self.joined, self.failed, self.alive = joined, failed, joined & ~failed
        if self.world.queue is None and not self.settled.all():
            self.settled = self._last <= tick
        return self._build(tick, position) if events.boxes.shape[1] else False

    def _build(self, tick: int, position: Float) -> bool:
        """Announce, see and set down late boxes."""
        world, events = self.world, self.events
        self.visible = self._due - events.notice_ticks <= tick
        if not self.visible.any():
            return False
        away = events.distance(position)
        self.known = self.known | (
            self.visible[:, None] & self.joined[..., None] & (away <= np.float32(events.sense_m))
        )
        # A box never closes on an agent, nor on one that may be there a tick later.
        room = np.float32(world.radius + world.v_max * world.dt)
        fresh = (self._due <= tick) & ~self.solid & (away >= room).all(1)
        if not fresh.any():
            return False
        self.solid = self.solid | fresh
        for lane in np.flatnonzero(fresh.any(1)).tolist():
            self.obstructed[lane] = self.maps.of(lane, self.solid[lane])
        return True


def _no_events(world: World) -> Events:
    """Nothing ever happens."""
    return Events(boxes=np.zeros((world.lanes, 0, 5), np.float32))
