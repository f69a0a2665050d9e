"""Networks: small modules that map (noisy state, time, condition) to a clean estimate."""
