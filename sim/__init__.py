"""Rehearsal of a plan in a breathing patient with PyBullet (metres, radians)."""
