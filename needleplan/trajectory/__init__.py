"""Needle paths: sampling, hard constraints, objectives and their order."""
