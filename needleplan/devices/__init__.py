"""Applicators with their zone tables and physics, tissues, and what kills them: a source in every row."""
