"""Baselines that use the same arena, links and metrics, one file each."""
