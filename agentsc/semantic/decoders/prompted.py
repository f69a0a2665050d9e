"""What is in the picture, as a few tokens beside the symbols: a condition for the network that draws the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import center_of_mass, label

from agentsc.semantic import DECODERS, channel_code
from agentsc.semantic.channel import Heard, SymbolChannel
from agentsc.semantic.detection import objects
from agentsc.semantic.receiver import Decoded, DrawingDecoder, Floats, Receiver, arrival_of, segmented
from envs import scene_graph
from envs.errors import ConfigError
from envs.scenery import AGENT, CLASSES, GOAL, TRAIL
from policies.scene.model import Arrival, ImageReply
from policies.scene.paint import PAINTER, PaintRequest

if TYPE_CHECKING:
    import networkx as nx

Labels = NDArray[np.integer]
_KINDS = {AGENT: "agent", GOAL: "goal"}
_TOUCHING = np.ones((3, 3), int)


@dataclass(frozen=True)
class Prompted:
    """What arrives: symbols of the picture, and prompts: bytes and how many of their bits count, none of lost ones."""

    arrival: Arrival
    prompts: list[tuple[bytes, int]]


@DECODERS.register("prompted")
class PromptedDecoder(DrawingDecoder):
    """Agents, goals and who heads for which, as tokens of a scene graph; drawn by the map-to-scene network from there.

    The sender finds them in its own picture with its own segmenter. The first plane of the symbols carries the tokens,
    at the capacity bound for the SNR that it expects; the codec has the rest. The receiver segments the codec's image,
    draws the graph into that map, noises the image and denoises it given the map. A prompt that does not arrive leaves
    the map as it is.
    Reference: Meng et al., "SDEdit", 2022, given a map; tokens of the scene as a prompt, as in generative semantic
    communication (Gen-SC), which sends text.
    """

    analog: ClassVar[bool] = False
    steps: int = Field(6, ge=2, description="denoising steps; two network calls each, one with weight 1")
    strength: float = Field(0.1, gt=0.0, description="noise-to-signal ratio σ/α that the codec's image is brought to")
    weight: float = Field(2.0, ge=0.0, description="of classifier-free guidance by the map")
    radius: float = Field(1.6, gt=0.0, description="of agents and goals that a prompt draws, pixels")
    prompts: bool = Field(True, description="false: the plane is sent, but not looked at, to see what it is worth")

    @property
    def models(self) -> tuple[str, ...]:
        return (PAINTER,)

    def send(
        self, receiver: Receiver, channel: SymbolChannel, x: Floats, count: int, first: int, snr_db: float
    ) -> tuple[Heard, Any]:
        plane = receiver.codec.counts[0]
        own = max((each for each in receiver.codec.counts if each <= count - plane), default=0)
        if not own:
            least = 2 * plane / float(np.prod(receiver.codec.shape))
            raise ConfigError(f"cbr must be at least {least:.4g} with decoder prompted, one plane is for the prompt")
        room = channel_code.plan("capacity", plane, snr_db, 0.0)
        bounds = (0.0, 0.0, float(x.shape[-1]), float(x.shape[-2]))
        prompts = [prompt(labels, bounds, room.bits) for labels in segmented(receiver.core, x).labels]
        # Whether bits arrive hangs on gains and noise alone: any symbols of that energy show it. Uses that no rate of
        # the codec fills carry nothing.
        symbols = np.ones((len(x), count), np.complex128)
        symbols[:, plane : plane + own] = receiver.encode(x, snr_db, own)
        heard = channel.send(symbols, first=first)
        lost = channel_code.block_errors(room, _part(heard, slice(plane))) > 0.0
        arrived = [(b"", 0) if gone else told for gone, told in zip(lost, prompts, strict=True)]
        return heard, Prompted(arrival_of(_part(heard, slice(plane, plane + own)), snr_db), arrived)

    def draw(self, receiver: Receiver, arrival: Any, keys: Sequence[NDArray[np.uint64]]) -> list[ImageReply]:
        image = receiver.decode(arrival.arrival)
        scores = segmented(receiver.core, image).scores
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        guide = np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)
        bounds = (0.0, 0.0, float(image.shape[-1]), float(image.shape[-2]))
        for row, (data, bits) in enumerate(arrival.prompts):
            if bits and self.prompts:
                drawn_into(guide[row], scene_graph.decode(data, bits, bounds), self.radius)
        request = PaintRequest(
            PAINTER, keys[0], guide, self.weight, steps=self.steps, start_ratio=self.strength, start=image
        )
        return receiver.core.sample_many(replace(request, keys=each) for each in keys)

    def decode(self, receiver: Receiver, arrival: Any, keys: NDArray[np.uint64]) -> Decoded:
        """See `DrawingDecoder.decode`; tells how many bits of prompts arrived, too."""
        bits = np.array([bits for _, bits in arrival.prompts], np.float64)
        return super().decode(receiver, arrival, keys)._replace(facts={"prompt_bits": bits})

    def least_error(self, receiver: Receiver, arrival: Any, reply: ImageReply) -> Floats:
        return receiver.decode(arrival.arrival)


def prompt(labels: Labels, bounds: Sequence[float], bits: int) -> tuple[bytes, int]:
    """Tokens of the scene graph of a class map [H, W]: as many of its largest agents and goals as fit into ``bits``.

    An agent heads for a goal if a trail leads from one to the other.
    """
    found = sorted((each for each in objects(labels) if each[0] in _KINDS), key=lambda each: -int(each[1].sum()))
    trails, _ = label(np.isin(labels, (AGENT, GOAL, TRAIL)), _TOUCHING)
    for most in range(len(found), -1, -1):
        graph = _graph(found[:most], trails)
        told = scene_graph.encode(graph, bounds)
        if told[1] <= bits:
            return told
    return b"", 0


def _graph(found: Sequence[tuple[int, NDArray[np.bool_]]], trails: Labels) -> nx.MultiDiGraph:
    graph = scene_graph.empty()
    strands = []
    for number, cells in found:
        y, x = center_of_mass(cells)
        strands.append((scene_graph.add_node(graph, _KINDS[number], (x + 0.5, y + 0.5)), number, trails[cells].max()))
    for agent, number, strand in strands:
        ends = [node for node, other, same in strands if other == GOAL and same == strand]
        if number == AGENT and len(ends) == 1:
            scene_graph.add_edge(graph, agent, "heads for", ends[0])
    return graph


def drawn_into(guide: Floats, graph: nx.MultiDiGraph, radius: float) -> None:
    """Write a graph's trails, goals and agents into class probabilities [classes, H, W], in that order."""
    y, x = np.mgrid[: guide.shape[1], : guide.shape[2]] + 0.5

    def paint(number: int, where: NDArray[np.bool_]) -> None:
        guide[:, where] = (np.arange(len(CLASSES)) == number)[:, None]

    for agent, goal in graph.edges():
        (ax, ay), (gx, gy) = graph.nodes[agent]["at"], graph.nodes[goal]["at"]
        length = max(float(np.hypot(gx - ax, gy - ay)), 1e-9)
        along = ((x - ax) * (gx - ax) + (y - ay) * (gy - ay)) / length
        aside = np.abs((x - ax) * (gy - ay) - (y - ay) * (gx - ax)) / length
        paint(TRAIL, (aside < 0.5) & (along > 0.0) & (along < length))
    for number in (GOAL, AGENT):
        for node in scene_graph.of_kind(graph, _KINDS[number]):
            cx, cy = graph.nodes[node]["at"]
            paint(number, np.hypot(x - cx, y - cy) < radius)


def _part(heard: Heard, places: slice) -> Heard:
    """Some of the symbols of what was heard."""
    each = {name: getattr(heard, name)[:, places] for name in ("received", "gain", "true_gain")}
    uses = replace(heard.uses, data=each["gain"].shape[1])
    return replace(heard, uses=uses, **each)
