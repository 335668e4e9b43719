"""Surfaces, distance fields and exact queries on the meshes of one patient."""
