"""Constraints on needle paths, one file each."""
