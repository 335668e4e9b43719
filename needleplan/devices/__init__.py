"""Applicators and their ablation-zone tables, with a source in every row."""
