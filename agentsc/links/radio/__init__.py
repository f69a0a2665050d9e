"""The physics of radio: budgets, fading, modulation, packet error. ``docs/radio.md`` has the formulas."""
