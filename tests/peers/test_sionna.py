"""Error rates beside sionna's, in one run: AWGN, Rayleigh block fading, OFDM over a channel with echoes.

Both sides send their own bits through their own mapper, channel and demapper; their error rates must agree within the
interval of their difference. sionna's OFDM is in time: modulator, cyclic prefix, convolution with taps, demodulator.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sionna")

from sionna.phy import config  # noqa: E402
from sionna.phy.channel import AWGN, ApplyTimeChannel, GenerateFlatFadingChannel  # noqa: E402
from sionna.phy.mapping import BinarySource, Demapper, Mapper  # noqa: E402
from sionna.phy.ofdm import OFDMDemodulator, OFDMModulator  # noqa: E402

from agentsc.links.models.ofdm import Ofdm  # noqa: E402
from agentsc.links.radio.analog import AnalogChannel  # noqa: E402
from agentsc.links.radio.modulation import BITS, demodulate, modulate  # noqa: E402
from envs import keyed  # noqa: E402

BLOCKS, SYMBOLS = 8000, 64
SIGMAS = 4.0
CASES = [("qpsk", 4.0), ("qpsk", 9.0), ("16qam", 10.0), ("16qam", 15.0), ("64qam", 16.0)]


def ours(spec: str, modulation: str) -> np.ndarray:
    """Share of wrong bits in every block, [B]."""
    sent = keyed.uniform(1, np.arange(BLOCKS)[:, None], np.arange(SYMBOLS * BITS[modulation])) < 0.5
    found = AnalogChannel(spec, 2).send(modulate(sent, modulation))
    return (demodulate(found.symbols / found.gain, modulation) != sent).mean(1)


class Theirs:
    """Bits through sionna's mapper, some channel, and sionna's demapper."""

    def __init__(self, modulation: str, level_db: float) -> None:
        torch.set_num_threads(1)
        config.seed = 3
        self.noise = 10.0 ** (-0.1 * level_db)
        self.bits = BinarySource()([BLOCKS, SYMBOLS * BITS[modulation]])
        self.symbols = Mapper("qam", BITS[modulation])(self.bits)
        self.demapper = Demapper("maxlog", "qam", BITS[modulation], hard_out=True)

    def errors(self, received: torch.Tensor, noise: torch.Tensor) -> np.ndarray:
        """Share of wrong bits in every block of equalised symbols [B, n] with noise variance [B, n]."""
        found = self.demapper(received, noise.to(torch.float32))
        return (found != self.bits).to(torch.float64).mean(1).numpy()


def agree(mine: np.ndarray, peers: np.ndarray) -> None:
    error = np.sqrt(mine.var(ddof=1) / len(mine) + peers.var(ddof=1) / len(peers))
    gap = mine.mean() - peers.mean()
    print(f"ours {mine.mean():.5f}, sionna {peers.mean():.5f}, {gap / error:+.2f} standard errors")
    assert mine.mean() > 1e-4 and abs(gap) < SIGMAS * error


@pytest.mark.parametrize(("modulation", "level"), CASES)
def test_awgn(modulation: str, level: float) -> None:
    them = Theirs(modulation, level)
    noise = torch.tensor(them.noise, dtype=torch.float32)
    received = AWGN()(them.symbols, noise)
    agree(ours(f"awgn:snr_db={level}", modulation), them.errors(received, torch.full(received.shape, them.noise)))


@pytest.mark.parametrize(("modulation", "level"), CASES)
def test_rayleigh_block_fading(modulation: str, level: float) -> None:
    them = Theirs(modulation, level)
    h = GenerateFlatFadingChannel(1, 1)(BLOCKS)[:, 0]  # [B, 1]
    received = AWGN()(h * them.symbols, torch.tensor(them.noise, dtype=torch.float32))
    variance = (them.noise / h.abs() ** 2).expand(received.shape)
    agree(ours(f"rayleigh:snr_db={level}", modulation), them.errors(received / h, variance))


@pytest.mark.parametrize(("modulation", "level"), CASES)
def test_ofdm_over_a_channel_with_echoes(modulation: str, level: float) -> None:
    spec = f"ofdm:snr_db={level},taps=5,decay=1.5,subcarriers=16"
    link = AnalogChannel(spec, 2).link
    assert isinstance(link, Ofdm)
    them = Theirs(modulation, level)
    carriers, prefix, taps = link.subcarriers, 8, link.taps
    number = SYMBOLS // carriers
    grid = them.symbols.reshape(BLOCKS, number, carriers)
    time = OFDMModulator(prefix)(grid)
    samples = time.shape[-1]
    draw = torch.randn(BLOCKS, taps, 2, generator=torch.Generator().manual_seed(5))
    h = torch.view_as_complex(draw.contiguous()) * torch.tensor(np.sqrt(0.5 * link.profile), dtype=torch.float32)
    # The same taps at every sample; axes of receivers, transmitters and their antennas are single.
    response = h[:, None, None, None, None, None, :].expand(-1, 1, 1, 1, 1, samples + taps - 1, -1)
    received = ApplyTimeChannel(samples, taps)(
        time[:, None, None], response, torch.tensor(them.noise, dtype=torch.float32)
    )
    found = OFDMDemodulator(carriers, 0, prefix)(received[..., :samples])[:, 0, 0]
    # sionna's grids have the middle carrier at their middle.
    gain = torch.fft.fftshift(torch.fft.fft(h, carriers, dim=-1), dim=-1)[:, None]
    variance = (them.noise / gain.abs() ** 2).expand(found.shape)
    shape = them.symbols.shape
    agree(ours(spec, modulation), them.errors((found / gain).reshape(shape), variance.reshape(shape)))
