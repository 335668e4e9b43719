"""Interactive pages: the scene as data, the viewer that draws it, and the documents that hold both."""
