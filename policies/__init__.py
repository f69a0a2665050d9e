"""The diffusion core and its priors: networks, noise processes, solvers, guidance, training."""
