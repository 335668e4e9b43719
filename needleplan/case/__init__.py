"""Segmented patients: structures with roles, the case.toml manifest and the checks before planning."""
