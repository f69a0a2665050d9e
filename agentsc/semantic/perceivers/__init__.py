"""Paths of the machine scenario, one file each."""
