"""The loop: lanes advance together, tick by tick; the one place where everything meets.

world → (what radios delivered) → fleet → (packets) → medium, several rounds per tick; then the
fleet's commands move the world, and recorders are told.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agentsc.actors.fleet import Fleet, LocalFleet, Maker
from agentsc.experiment.config import RunConfig
from agentsc.experiment.log import Progress, ProgressCallback, RunLog
from agentsc.experiment.outcome import outcome
from agentsc.experiment.regions import inside_region
from agentsc.intent.codes import PLAN_CODES
from agentsc.intent.fields import MAX_ROUNDS
from agentsc.links.age import AgeOfInformation
from agentsc.links.framing import overhead_bits
from agentsc.links.medium import Deliveries, Medium, Packets
from agentsc.links.topology import MOST_AGENTS, OverTime
from agentsc.protocol import PROTOCOLS, Beliefs, Setup, Variant
from agentsc.protocol.architectures import Hosted
from agentsc.view.recording import PACKET, Sink, packet_rows
from envs.arena import Arena, Step
from envs.errors import ConfigError
from envs.navigation import NavigationGrid
from envs.world import World

if TYPE_CHECKING:
    from agentsc.mapping.service import MapService, Sharing


def make_fleet(config: RunConfig, variant: Variant, setup: Setup) -> Fleet:
    """The fleet where the configuration wants it, or where its architecture puts its machines."""
    weights, device = config.prior.weights, config.device
    options = config.prior.sampling

    def blocks(maker: Maker, setup: Setup) -> Fleet:
        more: tuple[str, ...] = getattr(maker, "priors", ())
        own = weights if setup.prior == config.prior.name else None
        if config.backend == "ray":
            from agentsc.actors.ray_fleet import RayFleet

            return RayFleet(maker, setup, own, device, config.hosts, more, **options)
        return LocalFleet(maker, setup, own, device, more, **options)

    if variant.hosted:
        from agentsc.hosting.fleet import HostedFleet

        return HostedFleet(variant, setup, blocks)
    return blocks(variant, setup)


def run_lanes(
    config: RunConfig,
    world: World,
    *,
    progress: ProgressCallback | None = None,
    recorder: Mapping[int, Sink] | None = None,
) -> RunLog:
    """Run all lanes of a world to their ends.

    Args:
        config: resolved. world: built from it.
        progress: called after every tick.
        recorder: lane index → where its ticks are sent.

    Raises:
        ConfigError: the episode is longer than a packet's round counter.
    """
    rounds = config.rounds_per_tick
    if world.max_ticks * rounds >= MAX_ROUNDS:
        raise ConfigError(
            f"ticks must be below {MAX_ROUNDS // rounds} with {rounds} rounds per tick, "
            f"got {world.max_ticks} (a packet's round counter has 16 bits)"
        )
    variant = PROTOCOLS.create(config.protocol.name, **config.protocol.parameters)
    code = PLAN_CODES.create(config.plan_code.name, **config.plan_code.parameters)
    setup = Setup.of(world, prior=config.prior.name, rounds=rounds, seed=config.seed, code=code)
    fleet = make_fleet(config, variant, setup)
    try:
        return _Run(config, world, variant, fleet, recorder or {}, progress).go()
    finally:
        fleet.close()


class _Run:
    """The state of one call of `run_lanes`."""

    def __init__(
        self,
        config: RunConfig,
        world: World,
        variant: Variant,
        fleet: Fleet,
        sinks: Mapping[int, Sink],
        progress: ProgressCallback | None,
    ) -> None:
        self.variant = variant
        self.config, self.world, self.fleet, self.sinks, self.progress = config, world, fleet, sinks, progress
        self.rounds = config.rounds_per_tick
        self.arena = Arena(world)
        round_s = world.dt / self.rounds
        link = variant.radio or config.link
        hosting = variant.hosting if variant.hosted else None
        self.places = hosting.places(world) if isinstance(hosting, Hosted) else np.zeros((0, 2), np.float32)
        radios = world.agents + len(self.places)
        self.medium = Medium(link, config.seed, world.episodes, radios, round_s, world.obstacles)
        self.age = AgeOfInformation(world.lanes, world.agents, round_s)
        self.proximity = np.full(world.starts.shape[:2], np.inf, np.float32)
        self.active = np.ones(world.lanes, bool)
        self.goals, self.alive = self.arena.goals, np.ones(world.starts.shape[:2], bool)
        self.seen = np.zeros_like(self.arena.known_boxes())
        self.running = self.arena.running
        if not self.running.all():
            fleet.late(~self.running)
        self.mapping = None if world.unknown is None else make_mapping(config, variant, world)
        self.unheard = np.zeros(world.lanes, np.int64)
        self.spoke = np.zeros(world.lanes, np.int64)
        self.header_bits, self.crc_bits = np.zeros_like(self.spoke), np.zeros_like(self.spoke)
        self.beliefs: list[Beliefs] = []
        self.shown: dict[tuple[int, int], tuple[int, NDArray[np.float32]]] = {}
        self.round_ms: list[float] = []
        self.grid = grid = NavigationGrid(world.obstacles, world.radius, world.cell, extent=world.bounds)
        shortest = grid.lengths(world.starts.reshape(-1, 2), world.goals.reshape(-1, 2))
        if world.unknown is not None:  # of the map as it really is
            shortest = np.concatenate([true_lengths(world, lane) for lane in range(world.lanes)])
        lanes, agents = world.lanes, world.agents
        self.log = RunLog(
            episodes=world.episodes,
            dt=world.dt,
            radius=world.radius,
            separation=world.separation,
            goal_tolerance=world.goal_tolerance,
            positions=np.empty((lanes, world.max_ticks + 1, agents, 2), np.float32),
            goals=world.goals,
            starts=world.starts,
            finish_tick=np.full(lanes, -1, np.int64),
            at_goal=np.zeros((lanes, agents), bool),
            min_pair=np.full(lanes, np.inf),
            collisions=np.zeros((lanes, agents), np.int64),
            obstacle_hits=np.zeros((lanes, agents), np.int64),
            shortest=shortest.reshape(lanes, agents).astype(np.float64),
            v_max=float(world.v_max),
        )
        self.graphs = OverTime(world.lanes)
        self.graph_ticks = max(round(1.0 / world.dt), 1)
        self.graphed = self.medium.parts_agents and radios <= MOST_AGENTS
        self.age_sum, self.age_count = np.zeros(lanes), np.zeros(lanes)

    def go(self) -> RunLog:
        """All ticks."""
        log, world, arena = self.log, self.world, self.arena
        log.positions[:, 0] = arena.position
        touching = np.zeros(log.at_goal.shape, bool)
        scraping = touching.copy()
        tick = 0
        for tick in range(world.max_ticks):
            self._announce(tick)
            sent = self._exchange(tick)
            command = self.fleet.act(arena.position, arena.velocity, self.proximity, tick)
            step = arena.step(command)
            self.proximity = nearest(arena.position)
            log.positions[:, tick + 1] = arena.position
            live = self.active[:, None]
            log.min_pair = np.where(self.active, np.minimum(log.min_pair, step.closest), log.min_pair)
            log.collisions += step.hit & ~touching & live
            log.obstacle_hits += step.crashed & ~scraping & live
            touching, scraping = step.hit, step.crashed
            log.at_goal = np.where(live, step.at_goal, log.at_goal)
            self._tell(tick, step, sent)
            self._finish(tick, step)
            self._report(tick)
            if not self.active.any():
                break
        log.positions = log.positions[:, : tick + 2]
        self._collect(tick + 1)
        return log

    def _announce(self, tick: int) -> None:
        """Tell agents what has changed for themselves: goals, whether they take part and run, what they see."""
        arena = self.arena
        if self.mapping is not None:
            self.mapping.look(arena.position, tick)
        seen = arena.known_boxes()
        if seen is not self.seen:
            before, self.seen = self.seen, seen
            if (before != seen).any():
                boxes = arena.story.events.boxes[:, None]
                self.fleet.sense(np.where(seen[..., None], boxes, np.float32(np.nan)), tick)
        if arena.goals is not self.goals:
            self.goals = arena.goals
            self.fleet.retarget(self.goals, tick)
        if arena.alive is not self.alive:
            before, self.alive = self.alive, arena.alive
            if (before != self.alive).any():
                self.fleet.muster(self.alive, tick)
        if arena.running is not self.running:
            before, self.running = self.running, arena.running
            self.fleet.crash(before & ~self.running, ~before & self.running)

    def _deliver(self, clock: int) -> Deliveries:
        """What radios that are on have received."""
        inbox = self.medium.deliver(clock)
        if self.alive.all():
            return inbox
        on = self._radios_on()[inbox.lane, inbox.receiver]
        self.unheard += np.bincount(inbox.lane[~on], minlength=self.world.lanes)
        return inbox.take(np.flatnonzero(on))

    def _between_agents(self, inbox: Deliveries) -> Deliveries:
        """What radios of agents have received of each other, whether they listen to it or not."""
        if not len(self.places):
            return inbox
        agents = self.world.agents
        return inbox.take(np.flatnonzero((inbox.receiver < agents) & (inbox.sender < agents)))

    def _radios_on(self) -> NDArray[np.bool_]:
        """bool [lane, radio]: those of agents that take part, and of hubs: whether those live is theirs to say."""
        return np.pad(self.alive, ((0, 0), (0, len(self.places))), constant_values=True)

    def _sites(self) -> NDArray[np.float32]:
        """float32 [lane, radio, 2]: where agents and hubs are."""
        if not len(self.places):
            return self.arena.position
        hubs = np.broadcast_to(self.places, (self.world.lanes, *self.places.shape))
        return np.concatenate([self.arena.position, hubs], axis=1)

    def _exchange(self, tick: int) -> list[tuple[int, Packets]]:
        """The message rounds of one tick; packets of ended lanes are never offered."""
        sent = []
        for number in range(self.rounds):
            clock = tick * self.rounds + number
            inbox = self._deliver(clock)
            self.age.update(self._between_agents(inbox), clock)
            if self.mapping is not None:
                self.mapping.exchange(self.arena.position, clock)
                if number == 0 and self.mapping.changed:
                    self.fleet.survey(self.mapping.view(), tick)
            began = time.perf_counter()
            packets = self.fleet.round(inbox, clock, deciding=number == 0)
            if number == 0:
                self.round_ms.append(1e3 * (time.perf_counter() - began))
            if not self.alive.all():
                packets = packets.take(self._radios_on()[packets.lane, packets.sender])
            self.medium.transmit(packets, clock, self._sites())
            if self.graphed and number == 0 and tick % self.graph_ticks == 0:
                self.graphs.take(self.medium.in_touch(clock), self.active)
            self._count(packets)
            if self.sinks:
                sent += [(clock, packets)]
                self._keep_transmissions(clock)
        if self.sinks or tick % 8 == 0:
            self._note_beliefs()
        return sent

    def _count(self, packets: Packets) -> None:
        """Who spoke, and how much of it was not payload."""
        lanes = len(self.spoke)
        self.spoke += np.bincount(packets.lane, minlength=lanes)
        if len(packets.lane):
            header, crc = overhead_bits(packets.data)
            self.header_bits += np.bincount(packets.lane, weights=header, minlength=lanes).astype(np.int64)
            self.crc_bits += np.bincount(packets.lane, weights=crc, minlength=lanes).astype(np.int64)

    def _keep_transmissions(self, clock: int) -> None:
        if clock % self.rounds == 0:
            self.flown: dict[int, list[NDArray]] = {lane: [] for lane in self.sinks}
        for lane in self.sinks:
            flown = self.medium.transmissions(lane)
            if len(flown.packet):
                sections = flown.data[flown.packet, 0] >> 4
                self.flown[lane].append(
                    packet_rows(
                        tick=clock // self.rounds,
                        sender=flown.sender,
                        receiver=flown.receiver,
                        sections=sections,
                        bits=flown.bits,
                        sent_s=flown.sent_s,
                        arrival_s=flown.arrival_s,
                    )  # fmt: skip
                )

    def _note_beliefs(self) -> None:
        for belief in self.fleet.beliefs():
            self.beliefs.append(belief)
            for lane, agent, samples in zip(belief.lane, belief.agent, belief.samples, strict=True):
                self.shown[int(lane), int(agent)] = (belief.tick, samples)

    def _tell(self, tick: int, step: Step, sent: list[tuple[int, Packets]]) -> None:
        """Recorders see what a watcher would: committed plans, beliefs, packets, distances."""
        lanes = [lane for lane in self.sinks if self.active[lane]]
        if not lanes:
            return
        trace = self.fleet.trace(tick + 1)
        agents, dt = self.world.agents, self.world.dt
        for lane in lanes:
            rows = self.flown[lane]
            packets = np.concatenate(rows) if rows else np.empty(0, PACKET)
            bits = np.zeros(agents, np.int64)
            for _, p in sent:
                mine = (p.lane == lane) & (p.sender < agents)
                np.add.at(bits, p.sender[mine], p.bits[mine])
            beliefs, age = self._beliefs_of(lane, tick)
            self.sinks[lane].record(
                tick=tick,
                position=self.arena.position[lane],
                plans=None if trace is None else trace.plan[lane, :, ::2],
                pending=None if trace is None else trace.pending[lane],
                proposals=None if trace is None else trace.proposal[lane, :, ::2],
                beliefs=beliefs,
                belief_age=None if age is None else age * dt,
                packets=packets,
                bits=bits,
                closest=float(step.closest[lane]),
                pair=(int(step.pair[lane, 0]), int(step.pair[lane, 1])),
                at_goal=step.at_goal[lane],
                **self._shown_changes(lane),
            )

    def _shown_changes(self, lane: int) -> dict[str, NDArray]:
        """What a recorder is told of tasks and events, where the world has any."""
        story, events = self.arena.story, self.world.events
        shown: dict[str, NDArray] = {} if self.world.queue is None else {"goals": story.goals[lane]}
        if events is not None:
            shown = {"goals": story.goals[lane], "alive": story.alive[lane]}
            if events.boxes.shape[1]:
                shown["late"] = story.visible[lane].astype(np.uint8) + story.solid[lane]
        return shown

    def _beliefs_of(
        self, lane: int, tick: int
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """The rest of the latest belief held of every agent of a lane."""
        keep = self.config.record.samples
        known = [
            (agent, *self.shown[lane, agent])
            for agent in range(self.world.agents)
            if (lane, agent) in self.shown
        ]
        if not known:
            return None, None
        horizon = known[0][2].shape[1]
        points = np.arange(0, horizon, 2)
        beliefs = np.full((self.world.agents, keep, len(points), 2), np.nan, np.float32)
        age = np.full(self.world.agents, np.nan, np.float32)
        for agent, formed, samples in known:
            age[agent] = tick + 1 - formed
            at = np.minimum(points + tick + 1 - formed, horizon - 1)
            shown = samples[:keep, at]
            beliefs[agent, : len(shown)] = shown
        return beliefs, age

    def _finish(self, tick: int, step: Step) -> None:
        """A lane ends when everyone who has not failed rests at its goal, and nothing is still to happen to any."""
        still = (self.arena.velocity**2).sum(-1) < (0.02 * self.world.v_max) ** 2
        story = self.arena.story
        done = self.active & ((step.at_goal & still) | story.failed).all(1) & story.settled
        if story.goals is not self.goals:  # who was at its goal may just have been given another one
            done &= (story.goals == self.goals).all((1, 2))
        if done.any():
            self.log.finish_tick[done] = tick + 1
            area, span = self.age.totals((tick + 1) * self.rounds)
            self.age_sum[done], self.age_count[done] = area[done], span[done]
            self.active = self.active & ~done
            self.fleet.retire(self.active)
            self.medium.retire(self.active)
            if self.mapping is not None:
                self.mapping.retire(self.active)

    def _report(self, tick: int) -> None:
        if self.progress is None:
            return
        home = int((~self.active).sum())
        seconds = (
            float(self.log.last_tick[~self.active].sum() + (tick + 1) * self.active.sum()) * self.world.dt
        )
        bits = int(self.medium.bits.sum())
        self.progress(Progress(tick + 1, self.world.max_ticks, home, self.world.lanes, bits, seconds))

    def _collect(self, ticks: int) -> None:
        """Counters into the log."""
        log, world, medium, counters = self.log, self.world, self.medium, self.fleet.counters()
        area, span = self.age.totals(ticks * self.rounds)
        self.age_sum[self.active], self.age_count[self.active] = area[self.active], span[self.active]
        log.packets, log.bits = medium.packets, medium.bits + medium.relayed_bits
        log.decisions, log.lost = medium.decisions, medium.lost
        log.radio = {**medium.columns(), "header_bits": self.header_bits, "crc_bits": self.crc_bits}
        log.radio["refused"] = counters.invalid
        log.radio |= getattr(self.fleet, "columns", dict)()
        if world.events is not None:
            log.radio["unheard"] = self.unheard
        if self.mapping is not None:
            log.radio |= self.mapping.columns()
        outcome(log, world, self.arena.story, self.grid)
        log.link_losses = medium.books.by_link
        log.graph = self.graphs.columns if self.graphed else {}
        log.speaking_rounds = self.spoke
        radios = self.world.agents + len(self.places)
        log.silent_rounds = log.last_tick * self.rounds * radios - self.spoke
        if medium.decisions.any():
            log.age_sum, log.age_count = self.age_sum, self.age_count
        hosted = len(self.places) > 0
        if self.variant.deliberates or hosted:
            log.proposals, log.commits = counters.proposals, counters.commits
            log.commit_rounds = counters.commit_rounds
        if self.variant.negotiates and not hosted:
            log.grants_asked, log.grants_given = counters.grants_asked, counters.grants_given
        if self.variant.monitored:
            log.brakes = counters.brakes
        self._note_beliefs()
        self._score_beliefs()
        if world.adherence is not None:
            paths = (log.positions[lane, : last + 1] for lane, last in enumerate(log.last_tick.tolist()))
            log.adherence = np.array([float(np.mean(world.adherence(path))) for path in paths])
        log.network_s = self.fleet.network()[0]
        log.round_ms = np.array(self.round_ms, np.float32)

    def _score_beliefs(self) -> None:
        """How well regenerated beliefs foretold what agents then did."""
        if not self.beliefs:
            return
        log = self.log
        lanes = self.world.lanes
        ade, fde, cover = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)
        count = np.zeros(lanes, np.int64)
        for belief in self.beliefs:
            horizon = belief.samples.shape[2] - 1
            whole = belief.tick + horizon <= log.last_tick[belief.lane]
            lane, agent, samples = belief.lane[whole], belief.agent[whole], belief.samples[whole]
            if not len(lane):
                continue
            ticks = belief.tick + np.arange(horizon + 1)
            truth = log.positions[lane[:, None], ticks, agent[:, None]]
            error = np.linalg.norm(samples - truth[:, None], axis=-1)
            np.add.at(ade, lane, error.mean(-1).min(1))
            np.add.at(fde, lane, error[..., -1].min(1))
            np.add.at(cover, lane, inside_region(samples[:, :, horizon // 2], truth[:, horizon // 2]))
            np.add.at(count, lane, 1)
        log.belief_ade_sum, log.belief_fde_sum, log.belief_cover_sum, log.belief_count = (
            ade,
            fde,
            cover,
            count,
        )


def make_mapping(config: RunConfig, variant: Variant, world: World) -> MapService:
    """How agents come to know the world's map, as their protocol has it."""
    from agentsc.mapping.service import MapService

    sharing: Sharing = getattr(variant, "map_sharing", "none")
    core = None
    if sharing == "prior":
        from agentsc.mapping.prior import map_core

        core = map_core(None, config.device)
    return MapService(world, sharing, variant.radio or config.link, config.seed, config.rounds_per_tick, core)


def true_lengths(world: World, lane: int) -> NDArray[np.float32]:
    """Shortest ways [agent] on a lane's map as it really is, metres."""
    grid = NavigationGrid(world.truth(lane), world.radius, world.cell, extent=world.bounds)
    return np.asarray(grid.lengths(world.starts[lane], world.goals[lane]), np.float32)


def nearest(position: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance [lane, agent] to the nearest other agent's centre, metres (inf for one agent)."""
    if position.shape[1] < 2:
        return np.full(position.shape[:2], np.inf, np.float32)
    x, y = position[..., 0], position[..., 1]
    square = (x[:, :, None] - x[:, None]) ** 2 + (y[:, :, None] - y[:, None]) ** 2
    agents = np.arange(position.shape[1])
    square[:, agents, agents] = np.inf
    return np.sqrt(square.min(-1))
