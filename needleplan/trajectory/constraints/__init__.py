"""Hard constraints on needle paths, one file each."""
