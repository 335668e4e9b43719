"""Strategies against breathing: when the needle may advance, and where the guide should aim meanwhile."""
