"""Closed-form solutions that the solvers are validated against, in SI units; spheres and margins in mm."""
