"""How needles bend in tissue, one file each model."""
