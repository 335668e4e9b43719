"""Figures of patients, plans and margins."""
