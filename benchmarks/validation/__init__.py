"""Validation of the zone physics: every case with what is expected, what the solvers give, and the verdict."""
