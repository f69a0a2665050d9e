"""The diffusion engine: noise processes, solvers and guidance, independent of any network."""

from envs.registry import Registry

SOLVERS = Registry("solvers", "policies.diffusion.solvers")
GUIDANCE = Registry("guidance", "policies.diffusion.guidance")
