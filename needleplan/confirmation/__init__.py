"""What an ablation achieved, by the scans before and after it."""
