"""The semantic channel: what images mean, over the same radios, denoised by the same core."""

from envs.registry import Joined, Registry

DECODERS = Registry("decoders", "agentsc.semantic.decoders")
PERCEIVERS = Registry("decoders", "agentsc.semantic.perceivers")
"""Paths of the machine scenario."""
RECEIVERS = Joined("decoders", DECODERS, PERCEIVERS)
"""All names that ``--decoder`` takes: `DECODERS` with transmit, and any with perceive."""
