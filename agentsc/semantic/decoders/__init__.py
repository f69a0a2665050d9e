"""Receivers of the semantic channel, one file each."""
