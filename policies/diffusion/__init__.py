"""The diffusion engine: noise processes, solvers and guidance, independent of any network.

One convention holds everywhere. A process mixes data and noise as x_t = α(t) x_0 + σ(t) ε with
t in [0, 1], noise growing with t. A model is a function ``denoise(x, t) → x̂_0``, whatever its
network predicts (see `parameterisation`) and whatever the shape [batch, …] of the data.
Solvers, guidance, distillation, caches and closed forms speak only of that function, so any
combination of them works for trajectories, images, maps and channels.
"""

from envs.registry import Registry

PROCESSES = Registry("processes", "policies.diffusion.process")
SOLVERS = Registry("solvers", "policies.diffusion.solvers")
GUIDANCE = Registry("guidance", "policies.diffusion.guidance")
