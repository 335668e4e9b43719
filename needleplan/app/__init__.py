"""The composition root: command line, pipeline and reports."""
