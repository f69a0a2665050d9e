"""Agents and a hub that share a map over a radio: who uploads what and when, what the hub sends down.

The map has a channel of its own, with the run's link: radios 0 to A − 1 are the agents', radio A is the hub's, in the
middle of the arena. Everything that one end knows of another's map has crossed it as bytes (`agentsc.mapping.tokens`).

**Up**: an agent uploads cells that it has made up its mind about, unless the hub has told it the same. What was
uploaded and did not come back in time goes out again, after ever longer pauses. **Hub**: the newest reports of all
agents are added up in log-odds. **Down**: blocks of which something has changed are told to all together, and again
after pauses; at once, if an agent reports what the hub has told before, which it must have missed. With a prior,
the hub also fills in what nobody has seen, and tells the chances in eight levels; a block is told again when one of
them has moved by two.

What is told is never older than what was told before: an agent takes of each block what the newest packet says of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agentsc.links.medium import Medium, Packets
from agentsc.mapping.fusion import add_looks, decided, fused, weight_of
from agentsc.mapping.tokens import (
    DOWN,
    LEVELS,
    UP,
    Coding,
    Damaged,
    Heard,
    Part,
    block_count,
    block_of,
    decode,
    encode,
    level_of,
)
from envs.world import World
from policies.core import DiffusionCore

Floats = NDArray[np.float32]
Cells = NDArray[np.int8]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

Sharing = Literal["none", "tokens", "prior", "occupancy", "picture", "oracle"]
"""How a map is shared: not at all; as tokens; these with the unseen filled in; uncompressed, two bits a cell; as camera
pixels; or known to all from the start, which no radio can do."""
UP_TICKS, DOWN_TICKS = 4, 4
"""Ticks between two uploads of an agent, and between two packets of the hub."""
PAUSES = (16, 48, 128)
"""Rounds after which a block is told again."""
PATIENCE, LONGEST = 14, 112
"""Rounds after which an agent uploads again what did not come back; doubled each time, up to the longest."""
MOVED = 2
"""Levels by which a chance has to move for its block to be told again."""


@dataclass(frozen=True)
class MapView:
    """What agents know of the map: arrays [lane, agent, row, column].

    Attributes:
        cells: int8, −1 not known, 0 free, 1 filled. chance: float32, to be filled, of cells that are not known.
    """

    cells: Cells
    chance: Floats

    def of(self, agents: Ints) -> MapView:
        """That of some agents, by number."""
        return MapView(self.cells[:, agents], self.chance[:, agents])


class MapService:
    """All agents' maps, the hub's, and the radio between them.

    Args:
        world: with an `Unknown`. sharing: how. link, seed: of the radio. rounds: message rounds per tick.
        core: with a map prior, for ``prior``.
    """

    def __init__(
        self, world: World, sharing: Sharing, link: str, seed: int, rounds: int, core: DiffusionCore | None = None
    ) -> None:
        assert world.unknown is not None
        if sharing == "prior" and core is None:
            raise ValueError("a hub that fills in the unseen needs a core with a map prior")
        self.world, self.unknown, self.sharing, self.seed, self.rounds = world, world.unknown, sharing, seed, rounds
        self.core = core
        lanes, agents, shape = world.lanes, world.agents, self.unknown.shape
        self.coding: Coding = "tokens" if sharing in ("tokens", "prior") else "occupancy"
        if sharing == "picture":
            self.coding = "picture"
        self.talks = sharing not in ("none", "oracle")
        self.medium = Medium(link, seed, world.episodes, agents + 1, world.dt / rounds, world.obstacles)
        self.blocks, self.block_of = block_count(shape), block_of(shape)
        self.weight = weight_of(self.unknown.error)
        self.log_odds = np.zeros((lanes, agents, *shape), np.float32)
        self.own = np.full((lanes, agents, *shape), -1, np.int8)
        # What each agent holds of the hub's map: cells, levels, and in which round each block was said.
        self.told = np.full((lanes, agents, *shape), -1, np.int8)
        self.level = np.full((lanes, agents, *shape), -1, np.int8)
        self.told_at = np.full((lanes, agents, self.blocks), -1, np.int64)
        self._sent = np.full((lanes, agents, *shape), -1, np.int64)
        self._wait = np.full((lanes, agents, *shape), PATIENCE, np.int64)
        # The hub: newest reports and their rounds, its map, what it last told of each block, and when it is due again.
        self.reports = np.full((lanes, agents, *shape), -1, np.int8)
        self._report_at = np.full((lanes, agents, *shape), -1, np.int64)
        self.fused = np.full((lanes, *shape), -1, np.int8)
        self.filled = np.full((lanes, *shape), -1, np.int8)
        self._said = np.full((lanes, *shape), -1, np.int8)
        self._said_level = np.full((lanes, *shape), -1, np.int8)
        self._due = np.full((lanes, self.blocks), -1, np.int64)
        self._times = np.zeros((lanes, self.blocks), np.int64)
        self._heard = np.zeros(lanes, bool)
        self.refused = np.zeros(lanes, np.int64)
        self.active = np.ones(lanes, bool)
        hub = np.array([(world.bounds[0] + world.bounds[2]) / 2, (world.bounds[1] + world.bounds[3]) / 2], np.float32)
        self.hub = np.broadcast_to(hub, (lanes, 1, 2))
        if sharing == "oracle":
            self.own[:] = self.unknown.occupied[:, None]
        self.changed = True
        """Whether what some agent knows has changed since `view` was last called."""

    @property
    def up_bits(self) -> Ints:
        """int64 [lane], offered by agents so far."""
        return np.asarray(self.medium.bits[:, :-1].sum(1), np.int64)

    @property
    def down_bits(self) -> Ints:
        """int64 [lane], offered by the hub so far."""
        return np.asarray(self.medium.bits[:, -1], np.int64)

    def columns(self) -> dict[str, NDArray]:
        """Name → [lane], for the run's rows."""
        known = (self.view(quiet=True).cells >= 0).mean((1, 2, 3))
        return {
            "map_up_bits": self.up_bits, "map_down_bits": self.down_bits,
            "map_packets": self.medium.packets.sum(1), "map_lost": self.medium.lost, "map_refused": self.refused,
            "map_known_share": known,
        }  # fmt: skip

    def look(self, position: Floats, tick: int) -> None:
        """Agents at positions [lane, agent, 2] look around."""
        if self.sharing == "oracle":
            return
        seen, filled = self.unknown.look(position, self.world.episodes, self.seed, tick)
        add_looks(self.log_odds, seen, filled, self.weight)
        own = decided(self.log_odds)
        if (own != self.own).any():
            self.changed = True
        # Who has changed its mind says so at once.
        self._wait[own != self.own] = PATIENCE
        self._sent[own != self.own] = -1
        self.own = own

    def exchange(self, position: Floats, clock: int) -> None:
        """One message round: take in what has arrived, and send what is due.

        Args:
            position: float32 [lane, agent, 2], metres.
        """
        if not self.talks:
            return
        self._listen(clock)
        tick, first = divmod(clock, self.rounds)
        packets: list[tuple[int, int, NDArray[np.uint8], int]] = []
        if first == 0:
            for agent in range(self.world.agents):
                if (tick + agent) % UP_TICKS == 0:
                    packets += self._upload(agent, clock)
            if tick % DOWN_TICKS == DOWN_TICKS - 1:
                packets += self._tell(clock)
        sites = np.concatenate([position, self.hub], axis=1)
        self.medium.transmit(_packets(packets), clock, sites)

    def view(self, quiet: bool = False) -> MapView:
        """What agents know now. quiet: leave ``changed`` as it is."""
        if not quiet:
            self.changed = False
        cells = np.where(self.own >= 0, self.own, self.told)
        chance = np.where(self.level >= 0, LEVELS[self.level], np.float32(0.0))
        return MapView(cells, chance.astype(np.float32))

    def retire(self, active: Flags) -> None:
        """Only these lanes go on."""
        self.active = active
        self.medium.retire(active)

    # -- agents ---------------------------------------------------------------------------------

    def _upload(self, agent: int, clock: int) -> list[tuple[int, int, NDArray[np.uint8], int]]:
        own, told = self.own[:, agent], self.told[:, agent]
        sent, wait = self._sent[:, agent], self._wait[:, agent]
        due = (own >= 0) & (own != told) & ((sent < 0) | (clock - sent >= wait)) & self.active[:, None, None]
        made = []
        for lane in np.flatnonzero(due.any((1, 2))).tolist():
            blocks = np.zeros(self.blocks, bool)
            blocks[self.block_of[due[lane]]] = True
            told_now = due[lane] if self.coding == "tokens" else (own[lane] >= 0) & blocks[self.block_of]
            cells = np.where(told_now, own[lane], -1).astype(np.int8)
            made.append((lane, agent, *encode(Part(cells, blocks), UP, agent, clock, self.coding)))
            again = sent[lane] >= 0
            wait[lane] = np.where(due[lane] & again, np.minimum(2 * wait[lane], LONGEST), wait[lane])
            sent[lane][due[lane]] = clock
        return made

    def _take(self, lane: int, agent: int, heard: Heard) -> None:
        """An agent hears the hub."""
        part, sent = heard.part, heard.clock
        fresh = part.blocks & (self.told_at[lane, agent] < sent)
        inside = fresh[self.block_of]
        self.told_at[lane, agent][fresh] = sent
        self.told[lane, agent][inside] = part.cells[inside]
        if part.level is not None:
            self.level[lane, agent][inside] = np.where(part.cells[inside] < 0, part.level[inside], -1)
        self.changed = True

    # -- the hub --------------------------------------------------------------------------------

    def _report(self, lane: int, heard: Heard) -> None:
        """The hub hears an agent."""
        part, agent = heard.part, heard.sender
        told = part.cells >= 0
        fresh = told & (self._report_at[lane, agent] < heard.clock)
        self.reports[lane, agent][fresh] = part.cells[fresh]
        self._report_at[lane, agent][fresh] = heard.clock
        # What it reports and was told already, it has missed.
        missed = told & (part.cells == self._said[lane])
        self._due[lane, np.unique(self.block_of[missed])] = 0
        self._heard[lane] = True

    def _tell(self, clock: int) -> list[tuple[int, int, NDArray[np.uint8], int]]:
        lanes = np.flatnonzero(self._heard & self.active)
        if len(lanes):
            self.fused[lanes] = decided(fused(self.reports[lanes]))
            if self.sharing == "prior":
                from agentsc.mapping.prior import fill

                assert self.core is not None
                self.filled[lanes] = level_of(fill(self.core, self.fused[lanes]))
            self._heard[lanes] = False
            changed = self.fused != self._said
            if self.sharing == "prior":
                hidden = self.fused < 0
                changed |= hidden & (np.abs(self.filled - self._said_level) >= MOVED) & (self._said_level >= 0)
            for lane in lanes.tolist():
                fresh = np.unique(self.block_of[changed[lane]])
                self._due[lane, fresh], self._times[lane, fresh] = 0, 0
        made = []
        for lane in np.flatnonzero(((self._due >= 0) & (self._due <= clock)).any(1) & self.active).tolist():
            blocks = (self._due[lane] >= 0) & (self._due[lane] <= clock)
            inside = blocks[self.block_of]
            cells = np.where(inside, self.fused[lane], -1).astype(np.int8)
            level = self.filled[lane] if self.sharing == "prior" else None
            made.append((lane, self.world.agents, *encode(
                Part(cells, blocks, level), DOWN, self.world.agents & 0xFF, clock, self.coding
            )))  # fmt: skip
            self._said[lane][inside] = self.fused[lane][inside]
            if level is not None:
                self._said_level[lane][inside] = level[inside]
            for block in np.flatnonzero(blocks).tolist():
                turn = int(self._times[lane, block])
                self._due[lane, block] = clock + PAUSES[turn] if turn < len(PAUSES) else -1
                self._times[lane, block] = turn + 1
        return made

    def _listen(self, clock: int) -> None:
        inbox = self.medium.deliver(clock)
        agents, shape = self.world.agents, self.unknown.shape
        read: dict[int, Heard | None] = {}
        for lane, receiver, packet in zip(
            inbox.lane.tolist(), inbox.receiver.tolist(), inbox.packet.tolist(), strict=True
        ):
            # Agents listen to the hub alone, and the hub to agents.
            if int(inbox.payload[packet, 0]) != (UP if receiver == agents else DOWN):
                continue
            if packet not in read:
                try:
                    read[packet] = decode(inbox.payload[packet], int(inbox.payload_bits[packet]), shape)
                except Damaged:
                    read[packet] = None
            found = read[packet]
            if found is None or (receiver == agents and found.sender >= agents):
                self.refused[lane] += 1
            elif receiver == agents:
                self._report(lane, found)
            else:
                self._take(lane, receiver, found)


def _packets(made: list[tuple[int, int, NDArray[np.uint8], int]]) -> Packets:
    """Packets in the order (lane, sender)."""
    made = sorted(made, key=lambda each: each[:2])
    width = max((len(data) for _, _, data, _ in made), default=1)
    data = np.zeros((len(made), width), np.uint8)
    for row, (_, _, each, _) in enumerate(made):
        data[row, : len(each)] = each
    lane, sender, bits = (np.array([each[k] for each in made], np.int32) for k in (0, 1, 3))
    return Packets(lane, sender, data, bits)
