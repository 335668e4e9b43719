"""Temperatures measured during an ablation correct perfusion and efficiency, and with them the predicted end."""
