"""The planning page: a local server behind the scene, with needles that are moved by hand."""
