"""The semantic channel: what images mean, over the same radios, denoised by the same core."""

from envs.registry import Registry

DECODERS = Registry("decoders", "agentsc.semantic.decoders")
