"""Predicted ablation zones behind one contract."""
