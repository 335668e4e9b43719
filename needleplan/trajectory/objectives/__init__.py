"""Objectives by which feasible paths are compared, one file each."""
