"""What every radio link has in common: how strong packets arrive, and which of them can be decoded.

A subclass says how the channel fades. Signal strength is either one mean ratio at every receiver (``snr_db``) or a
link budget (``tx_dbm``) with path loss, shadowing, obstacles and interference.
"""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from agentsc.links import Draw, Effect, Held, Hop, Ints, LinkModel, Mask, Pairs, Surroundings, uniform
from agentsc.links.hop import Keys, known
from agentsc.links.packets import Doubles
from agentsc.links.radio import packet_error
from agentsc.links.radio.budget import (
    FEATURES,
    LIGHT_MPS,
    distance_m,
    free_space_db,
    noise_dbm,
)
from agentsc.links.radio.modulation import BITS, Modulation
from agentsc.links.radio.packet_error import Curve
from agentsc.links.reach import within
from envs.geometry import segment_inside
from envs.keyed import hash_words

LADDER: tuple[tuple[Modulation, float], ...] = (
    ("bpsk", 1 / 2), ("qpsk", 1 / 2), ("qpsk", 3 / 4), ("16qam", 1 / 2), ("16qam", 3 / 4), ("64qam", 2 / 3),
    ("64qam", 3 / 4),
)  # fmt: skip
"""Modulation and code rate of the modes of an adaptive radio, those of IEEE 802.11-2020, table 17-4, but one."""
_LADDER_TEXT = ", ".join(f"{name} {Fraction(rate).limit_denominator(99)}" for name, rate in LADDER)
MARGIN_DB = 10.0
"""By how much fading may lift a packet over the mean, for the distance within which receivers are looked at."""
DEVIATIONS = 4.0
"""Likewise of shadowing."""
_FINEST_DB = 0.25
TOKEN_BITS = 72
"""Length of the packets by which it is judged whether two radios are in touch."""


def _place(modulation: str, code_rate: float) -> int | None:
    """Place on the ladder, if it has one."""
    steps = [(name, round(rate, 3)) for name, rate in LADDER]
    own = modulation, round(code_rate, 3)
    return steps.index(own) if own in steps else None


class RadioLink(LinkModel):
    """Base of all radio links; see ``docs/radio.md``."""

    reasons: ClassVar[tuple[str, ...]] = ("range", "interference", "fading", "crc")
    omits: ClassVar[tuple[str, ...]] = (
        "antennas: every radio is isotropic",
        "changes of the channel within a packet",
        "synchronisation: a packet is decoded or not, its beginning is always found",
    )

    snr_db: float | None = Field(
        None,
        allow_inf_nan=False,
        examples=[8.0],
        description="mean E_s/N_0 at every receiver, dB; instead of a link budget",
    )
    tx_dbm: float | None = Field(None, allow_inf_nan=False, description="transmit power, dBm: makes a link budget")
    carrier_ghz: float | None = Field(None, gt=0.0, allow_inf_nan=False, description="carrier frequency, GHz")
    bandwidth_khz: float = Field(1000.0, gt=0.0, allow_inf_nan=False, description="bandwidth and symbol rate, kHz")
    noise_figure_db: float = Field(7.0, ge=0.0, allow_inf_nan=False, description="of receivers, dB")
    exponent: float = Field(2.0, gt=0.0, allow_inf_nan=False, description="of path loss over distance")
    reference_m: float = Field(
        1.0, gt=0.0, allow_inf_nan=False, description="distance up to which path loss is that of free space, metres"
    )
    reference_db: float | None = Field(
        None, allow_inf_nan=False, description="path loss there, dB; none: from free space and carrier_ghz"
    )
    shadowing_db: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="standard deviation of shadowing, dB")
    shadowing_m: float = Field(
        10.0, gt=0.0, allow_inf_nan=False, description="distance over which it decorrelates to 1/e, metres"
    )
    obstacle_db_per_m: float = Field(
        0.0, ge=0.0, allow_inf_nan=False, description="loss inside obstacles, dB per metre of the straight line"
    )
    obstacle_max_db: float = Field(
        30.0, ge=0.0, allow_inf_nan=False, description="at most so much: the rest goes around them, dB"
    )
    coherence: Literal["packet", "motion"] = Field(
        "packet", description="fading is drawn for every packet, or changes with the places of both ends (Clarke)"
    )
    speed_mps: float = Field(LIGHT_MPS, gt=0.0, allow_inf_nan=False, description="of waves, metres per second")
    modulation: Modulation = Field("qpsk", description="Gray-mapped constellation")
    decoding: Literal["uncoded", "finite-blocklength", "table", "threshold"] = Field(
        "uncoded", description="what decides whether a packet is decoded"
    )
    code_rate: float = Field(0.5, gt=0.0, le=1.0, description="of the code, for all but uncoded")
    threshold_db: float | None = Field(
        None, allow_inf_nan=False, description="E_s/N_0 below which packets are lost, for decoding=threshold"
    )
    table: str = Field(
        packet_error.SHIPPED, description="for decoding=table: 5g-ldpc, or a CSV file with columns snr_db and per"
    )
    residual: bool = Field(False, description="uncoded packets arrive with their wrong bits, and the checksum decides")
    adaptive: bool = Field(False, description="senders choose modulation and code rate by what they heard")
    serve: float = Field(0.9, gt=0.0, le=1.0, description="share of heard neighbours that an adaptive sender serves")
    target: float = Field(0.1, gt=0.0, lt=1.0, description="packet error at which it does")
    backoff_db: float = Field(3.0, ge=0.0, allow_inf_nan=False, description="margin that it keeps, dB")
    _curves: dict[int, Curve] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> RadioLink:
        if (self.snr_db is None) == (self.tx_dbm is None):
            given = "both" if self.snr_db is not None else "neither"
            raise ValueError(
                f"give either snr_db (one ratio everywhere) or tx_dbm (a link budget over distance), got {given}"
            )
        if self.tx_dbm is not None and self.carrier_ghz is None and self.reference_db is None:
            raise ValueError("a link budget needs carrier_ghz or reference_db, got neither (path loss near the sender)")
        if self.coherence == "motion" and self.carrier_ghz is None:
            raise ValueError("coherence=motion needs carrier_ghz, got none (fading changes over a wavelength)")
        if self.decoding == "threshold" and self.threshold_db is None:
            raise ValueError("decoding=threshold needs threshold_db, got none (the E_s/N_0 that a packet needs)")
        if self.residual and self.decoding != "uncoded":
            raise ValueError(f"residual needs decoding=uncoded, got {self.decoding} (a code corrects or fails)")
        if self.adaptive and self.decoding == "threshold":
            raise ValueError("adaptive needs a decoding that depends on the mode, got threshold")
        if self.decoding == "table":
            self._curves = packet_error.read_curves(self.table)
            if self.adaptive or set(self._curves) != {0}:  # a single curve, of mode 0, is that of any radio
                own = self.modulation, self.code_rate
                for name, rate in LADDER if self.adaptive else [own]:
                    mode = _place(name, rate)
                    if mode not in self._curves:
                        called = f"no mode of {_LADDER_TEXT}" if mode is None else f"mode {mode}"
                        raise ValueError(f"table {self.table} must have a curve of {name} at rate {rate:.3g}, {called}")
        return self

    # -- what subclasses say ----------------------------------------------------------------------

    @abstractmethod
    def gains(self, keys: Keys) -> Doubles:
        """Power gains [N, S] of mean 1 for packets that fade independently; S subcarriers, 1 where fading is flat."""

    @property
    def fades(self) -> bool:
        """Whether interference fades, too."""
        return True

    @property
    def rician(self) -> float:
        """K-factor as a ratio, for fading that follows motion."""
        return 0.0

    # -- what the medium asks ---------------------------------------------------------------------

    @property
    def restricts(self) -> bool:
        return self.tx_dbm is not None

    @property
    def weighs_interference(self) -> bool:
        return self.tx_dbm is not None

    @property
    def sets_rate(self) -> bool:
        return True

    @property
    def adapts(self) -> bool:
        return self.adaptive

    def audience(self, packets: Held, agents: int, around: Surroundings) -> Pairs:
        """Receivers that a packet could reach if fading and shadowing were kind."""
        position = known(around.position)
        return within(packets.lane, packets.sender, position, self.reach_m, agents)

    def mode(self, packets: Held, heard_db: NDArray[np.float32] | None) -> tuple[Ints, Doubles]:
        if not self.adaptive or heard_db is None:
            mode = np.full(len(packets.lane), self._own_mode, np.int32)
            return mode, np.full(len(mode), self.rate_bps(self.modulation, self._own_rate))
        heard = heard_db[packets.lane, np.minimum(packets.sender, heard_db.shape[1] - 1)]
        # Sorted, with nothing heard at the end: the share that may go unserved comes first.
        known_of = (~np.isnan(heard)).sum(1)
        place = ((1.0 - self.serve) * np.maximum(known_of - 1, 0)).astype(np.int64)
        level = np.take_along_axis(np.sort(heard, axis=1), place[:, None], 1)[:, 0] - self.backoff_db
        lengths, which = np.unique(packets.bits, return_inverse=True)
        needed = np.array([[self.needed_db(mode, int(bits)) for mode in range(len(LADDER))] for bits in lengths])
        needed = np.maximum.accumulate(needed.reshape(-1, len(LADDER)), axis=1)
        good = np.where(known_of[:, None] > 0, level[:, None] >= needed[which], False)
        mode = np.maximum(good.sum(1) - 1, 0).astype(np.int32)
        return mode, np.array([self.rate_bps(*step) for step in self._ladder])[mode]

    def carry(self, hop: Hop, draw: Draw, state: NDArray | None) -> Effect:
        shadow = self._shadows(hop, draw)
        signal, noise, delay = self._levels(hop, shadow)
        quiet = self._gains(hop, draw)
        quiet *= (signal / noise)[:, None]
        disturbance = self._interference(hop, draw, shadow)
        snr = quiet if disturbance is None else quiet * (noise / (noise + disturbance))[:, None]
        measured = 10.0 * np.log10(np.maximum(packet_error.effective_snr(snr), 1e-30)) if self.adaptive else None
        if self.residual:
            rate = packet_error.mean_bit_error_rate(snr, self.modulation)
            return Effect(error_rate=rate, delay_s=delay, snr_db=measured)
        bits, mode = hop.bits[hop.packet], hop.packets.mode[hop.packet]
        chance = uniform(hash_words(draw.packet, 2))
        lost = chance < self.packet_error(snr, bits, mode)
        if disturbance is None:
            return Effect({"fading": lost}, delay_s=delay, snr_db=measured)
        # What would have been lost without the others, too, is not their fault.
        alone = lost.copy()
        rows = np.flatnonzero(lost & (disturbance > 0.0))
        alone[rows] = chance[rows] < self.packet_error(quiet[rows], bits[rows], mode[rows])
        return Effect({"interference": lost & ~alone, "fading": alone}, delay_s=delay, snr_db=measured)

    def in_touch(self, hop: Hop, draw: Draw) -> Mask | None:
        """Without fading and interference, more than half of all tokens would be decoded."""
        if self.tx_dbm is None:
            return None
        signal, noise, _ = self._levels(hop, self._shadows(hop, draw))
        mode = np.full(len(hop), 0 if self.adaptive else self._own_mode, np.int32)
        bits = np.full(len(hop), TOKEN_BITS)
        return np.asarray(self.packet_error((signal / noise)[:, None], bits, mode) < 0.5)

    # -- rates and errors -------------------------------------------------------------------------

    @property
    def _own_rate(self) -> float:
        return 1.0 if self.decoding == "uncoded" else self.code_rate

    @property
    def _own_mode(self) -> int:
        """The mode of a radio that does not adapt: its place on the ladder, if it has one."""
        return _place(self.modulation, self.code_rate) or 0

    @property
    def _ladder(self) -> list[tuple[Modulation, float]]:
        return [(name, 1.0 if self.decoding == "uncoded" else rate) for name, rate in LADDER]

    def rate_bps(self, modulation: str, code_rate: float) -> float:
        """Bits per second: one symbol per second and hertz."""
        return self.bandwidth_khz * 1e3 * BITS[modulation] * code_rate

    def packet_error(self, snr: Doubles, bits: NDArray[np.integer], mode: Ints) -> Doubles:
        """Probability [N] of losing packets.

        Args:
            snr: [N, S], E_s/N_0. bits, mode: [N].
        """
        if not self.adaptive:
            return self._error(snr, bits, self.modulation, self._own_rate, self._own_mode)
        found = np.empty(len(bits))
        for number, (modulation, rate) in enumerate(self._ladder):
            rows = np.flatnonzero(mode == number)
            if len(rows):
                found[rows] = self._error(snr[rows], bits[rows], modulation, rate, number)
        return found

    def _error(self, snr: Doubles, bits: NDArray[np.integer], modulation: str, rate: float, mode: int) -> Doubles:
        if self.decoding == "uncoded":
            return packet_error.uncoded_spread(snr, modulation, bits)
        if self.decoding == "finite-blocklength":
            return packet_error.finite_blocklength(snr, bits, BITS[modulation] * rate)
        flat = packet_error.effective_snr(snr)
        if self.decoding == "table":
            return packet_error.tabulated(self._curves[mode if mode in self._curves else 0], flat, bits)
        assert self.threshold_db is not None
        return np.asarray(flat < 10.0 ** (0.1 * self.threshold_db), np.float64)

    def needed_db(self, mode: int, bits: int) -> float:
        """E_s/N_0 at which packets of a mode are lost with probability ``target``, without fading."""
        key = (self.decoding, self.table, self.target, mode, bits)
        if key not in _NEEDED:
            grid = np.arange(-20.0, 45.0, _FINEST_DB)
            snr = 10.0 ** (0.1 * grid)[:, None]
            modulation, rate = self._ladder[mode]
            error = self._error(snr, np.full(len(grid), bits), modulation, rate, mode)
            good = np.flatnonzero(error <= self.target)
            _NEEDED[key] = float(grid[good[0]]) if len(good) else np.inf
        return _NEEDED[key]

    # -- strengths --------------------------------------------------------------------------------

    @cached_property
    def near_db(self) -> float:
        """Path loss at the reference distance, dB."""
        if self.reference_db is not None:
            return self.reference_db
        assert self.carrier_ghz is not None
        return float(free_space_db(self.reference_m, self.carrier_ghz * 1e9, self.speed_mps))

    @cached_property
    def noise_mw(self) -> float:
        """Noise power of a receiver, milliwatts."""
        return float(10.0 ** (0.1 * noise_dbm(self.bandwidth_khz * 1e3, self.noise_figure_db)))

    @cached_property
    def reach_m(self) -> float:
        """Farther than this, no packet is decoded but by a fluke: fading of 10 dB and shadowing of 4 deviations."""
        assert self.tx_dbm is not None
        budget = self.tx_dbm - 10.0 * np.log10(self.noise_mw) - self.least_db
        return distance_m(
            budget + MARGIN_DB + DEVIATIONS * self.shadowing_db, self.near_db, self.reference_m, self.exponent
        )

    @cached_property
    def least_db(self) -> float:
        """E_s/N_0 below which even the shortest packets of the most robust mode are all but always lost."""
        if self.decoding == "threshold":
            assert self.threshold_db is not None
            return self.threshold_db
        if self.residual:  # wrong bits are delivered, however many: until most packets have some
            return 0.0
        grid = np.arange(-30.0, 60.0, _FINEST_DB)
        snr = 10.0 ** (0.1 * grid)[:, None]
        modulation, rate = self._ladder[0] if self.adaptive else (self.modulation, self._own_rate)
        error = self._error(snr, np.full(len(grid), 64), modulation, rate, 0 if self.adaptive else self._own_mode)
        return float(grid[np.flatnonzero(error < 0.99)[0]])

    def _levels(self, hop: Hop, shadow: Doubles) -> tuple[Doubles, float, Doubles | float]:
        """Mean received power [N] and noise, milliwatts, and delays."""
        if self.tx_dbm is None:
            assert self.snr_db is not None
            return np.full(len(hop), 10.0 ** (0.1 * self.snr_db)), 1.0, 0.0
        from agentsc.links.radio import _kernels

        power, distance = np.empty(len(hop)), np.empty(len(hop))
        _kernels.strengths(
            hop.lane, hop.sender, hop.packet, hop.receiver, _spots(hop), shadow, self.shadowing_m,
            self.tx_dbm - self.near_db, self.reference_m, self.exponent, power, distance,
        )  # fmt: skip
        if self.obstacle_db_per_m and hop.around.obstacles is not None:
            power *= 10.0 ** (-0.1 * self._walls_db(hop, *hop.ends_m))
        delay = distance / self.speed_mps
        direct = hop.start_s == hop.sent_s
        if direct.any():  # no stage has counted the time on the air
            rate = hop.packets.rate_bps
            own = np.where(np.isnan(rate), self.rate_bps(self.modulation, self._own_rate), rate)
            delay += np.where(direct, hop.bits / own, 0.0)[hop.packet]
        return power, self.noise_mw, delay

    def _walls_db(self, hop: Hop, begin: Doubles, end: Doubles) -> Doubles:
        """Loss in obstacles between places [N, 2]."""
        obstacles = hop.around.obstacles
        assert obstacles is not None
        through = self.obstacle_db_per_m * segment_inside(obstacles, begin, end).astype(np.float64)
        return np.minimum(through, self.obstacle_max_db)

    def _shadows(self, hop: Hop, draw: Draw) -> Doubles:
        """Each node's part of shadowing, dB [L, N].

        A link's is the sum of its ends' by √(1 + e^(−d / shadowing_m)), since near ones are alike: its deviation is
        shadowing_db at any distance.
        """
        if self.tx_dbm is None:
            return np.zeros((1, 1))
        spot = _spots(hop)
        field = np.zeros(spot.shape[:2])
        if self.shadowing_db:
            from agentsc.links.radio import _kernels

            _kernels.shadow_field(hash_words(draw.seeds, -7), spot, self.shadowing_m, FEATURES, field)
            field *= self.shadowing_db / np.sqrt(2.0)
        return field

    def _gains(self, hop: Hop, draw: Draw) -> Doubles:
        if self.coherence == "packet" or not self.fades:
            return self.gains(draw.packet)
        h = self.channel(hop, draw)
        return np.asarray(h.real**2 + h.imag**2)[:, None]

    def channel(self, hop: Hop, draw: Draw) -> NDArray[np.complex128]:
        """Gains [N] of mean power 1 that follow the places of both ends, the same in both directions."""
        from agentsc.links.radio import _kernels

        assert self.carrier_ghz is not None
        h = np.empty((len(hop), 2))
        _kernels.clarke(
            hop.lane, hop.sender, hop.packet, hop.receiver, _spots(hop), hash_words(draw.seeds, -6),
            self.carrier_ghz * 1e9 / self.speed_mps, self.rician, WAVES, h,
        )  # fmt: skip
        return h.view(np.complex128)[:, 0]

    def _interference(self, hop: Hop, draw: Draw, shadow: Doubles) -> Doubles | None:
        """Power [N] from others on the air and from elsewhere, milliwatts; None if there is none."""
        if self.tx_dbm is None:
            return None
        found = hop.interference_mw
        overlaps = hop.overlaps
        if overlaps is None or not len(overlaps.sender):
            return found
        from agentsc.links.radio import _kernels

        spot, walls = _spots(hop), np.empty(0)
        if self.obstacle_db_per_m and hop.around.obstacles is not None:
            # Every receiver of a packet with every sender that overlaps it.
            count = np.diff(overlaps.begin)[hop.packet]
            row = np.repeat(np.arange(len(hop)), count)
            within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
            packet = hop.packet[row]
            lane, other = hop.lane[packet], overlaps.sender[overlaps.begin[packet] + within]
            walls = self._walls_db(hop, spot[lane, other], spot[lane, hop.receiver[row]])
        total = np.empty(len(hop))
        _kernels.interference(
            hop.lane, hop.packet, hop.receiver, *overlaps, walls, draw.packet, spot, shadow, self.shadowing_m,
            self.tx_dbm - self.near_db, self.reference_m, self.exponent, self.fades, total,
        )  # fmt: skip
        return total if found is None else total + found


def _spots(hop: Hop) -> Doubles:
    """Where nodes are, float64 [L, N, 2], metres."""
    return np.ascontiguousarray(known(hop.around.position), np.float64)


WAVES = 16
"""Plane waves at each end in Clarke's model, a power of two. With Gaussian weights the channel's marginal law and its
correlation over displacement, J₀ at each end, are exact for any number of them. The correlation of power is J₀² up to
two wavelengths when one end moves, and 1/16 on average farther off; when both do, it is too high by up to 0.07."""
_NEEDED: dict[tuple[str, str, float, int, int], float] = {}
