"""Breathing: models of respiratory motion and gating."""
