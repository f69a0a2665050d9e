"""DiffCom for gains that the receiver does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from agentsc.semantic import DECODERS
from agentsc.semantic.receiver import Floats, Receiver, SamplingDecoder, met_snr_db
from envs.errors import ConfigError
from policies.scene.blind import BlindReception, Gains
from policies.scene.model import Arrival, ImageReply, ImageRequest
from policies.scene.shipped import PRIOR


@DECODERS.register("blind-diffcom")
class BlindDiffCom(SamplingDecoder):
    """Image and gains found together, from the channel's statistics and pilots as far as there are any.

    What symbols of all images share gives a first estimate of the gains, which the codec's decoder and encoder improve
    in turns; then image and gains are diffused jointly. Every tap has the prior CN(0, p_l) of the channel's
    power-delay profile. With ``exact`` updates gains are the mean of their Gaussian posterior given the image estimate,
    with ``diffused`` ones their own noisy state counts, too, and ``alternate`` does one after the other.
    Reference: Wang et al., "DiffCom", 2024, algorithm 3.
    """

    steps: int = Field(10, ge=2, description="denoising steps, one network call each")
    start: Literal["decoder", "noise"] = Field("decoder", description="around the codec's image, or from noise")
    gains: Literal["exact", "diffused", "alternate"] = Field("alternate", description="updates of the gains")
    likelihood: Literal["moment", "variance-aware"] = Field(
        "moment", description="what moves the image: with the prior's covariance, or the data's variance alone"
    )
    iterations: int = Field(1, ge=1, description="conjugate-gradient steps, each through prior and encoder")
    strength: float = Field(0.1, gt=0.0, description="noise-to-signal ratio σ/α that sampling starts at")
    last_ratio: float = Field(0.02, gt=0.0, description="σ/α of the last noise level")
    turns: int = Field(8, ge=0, description="times that codec and gains improve each other before")

    def plan(self, cbr: float, snr_db: float) -> dict[str, Any]:
        term = "moment" if self.likelihood == "moment" else "pigdm:variance=data"
        return {
            "guidance": f"{term}{',' if ':' in term else ':'}iterations={self.iterations}",
            "solver": "dpm-solver++",
            "start_ratio": self.strength if self.start == "decoder" else 10.0,
            "last_ratio": self.last_ratio,
            "blind": self.gains,
        }

    def draw(self, receiver: Receiver, arrival: Arrival, keys: Sequence[NDArray[np.uint64]]) -> list[ImageReply]:
        start = self.first(receiver, arrival)[1] if self.start == "decoder" else None
        plan = self.plan(receiver.cbr(arrival), met_snr_db(arrival))
        request = ImageRequest(PRIOR, keys[0], arrival, start=start, steps=self.steps, **plan)
        return receiver.core.sample_many(replace(request, keys=each) for each in keys)

    def least_error(self, receiver: Receiver, arrival: Arrival, reply: ImageReply) -> Floats:
        assert reply.gain is not None and arrival.echoes is not None
        return receiver.decode(replace(arrival, gain=reply.gain, noise_variance=arrival.echoes.noise))

    def first(self, receiver: Receiver, arrival: Arrival) -> tuple[Arrival, Floats]:
        """The arrival with gains as far as the codec alone finds them, and its image."""
        echoes = arrival.echoes
        if echoes is None:
            raise ConfigError("arrival.echoes must be given to a blind decoder, got none (statistics of the channel)")
        count, snr_db = arrival.received.shape[1], float(arrival.snr_db[0])
        mean, variance, noise = (torch.as_tensor(each) for each in (echoes.mean, echoes.variance, echoes.noise))
        gains = Gains(mean, variance, echoes.carriers)
        received = torch.as_tensor(arrival.received)
        known = torch.as_tensor(receiver.encode(receiver.examples, snr_db, count))
        middle = known.mean(0)
        away = known - middle
        covariance = away.mT @ away.conj() / len(known) + 1e-3 * torch.eye(count)
        found = gains.at_first(torch.view_as_complex(received.double()), middle, covariance, noise.double())
        problem = BlindReception(received, lambda x: x, gains, noise, 0, [])
        seen, image = arrival, np.empty(0, np.float32)
        for turn in range(self.turns + 1):
            gain = gains.response(found.mean, count).numpy()
            unsure = gains.unsure(found, count).mean(1).numpy()
            pairs = np.stack([gain.real, gain.imag], axis=-1).astype(np.float32)
            seen = replace(arrival, gain=pairs, noise_variance=(echoes.noise + unsure).astype(np.float32))
            image = receiver.decode(seen)
            if turn < self.turns:
                again = receiver.encode(image, snr_db, count)
                found = problem.posterior(torch.view_as_real(torch.as_tensor(again)))
        return seen, image
