"""Guidance of a needle while it is placed: registration, live session, its log, replanning."""
