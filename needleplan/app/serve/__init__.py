"""The server: a plan shown to navigation software, tracked needles taken from it, and guidance given back."""
