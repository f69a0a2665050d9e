"""Hubs that decide for vehicles: what the architectures ``centralised`` and ``hybrid`` are made of.

`lanes` runs any protocol with a clock of its own in every lane, `ledger` keeps what a hub has decided and in which
order it may be done, `hub` decides and tells, `vehicles` do as they are told, `words` are what crosses the air, and
`fleet` puts them together. ``docs/architectures.md`` says why nobody collides.
"""
