"""One file per link model."""
