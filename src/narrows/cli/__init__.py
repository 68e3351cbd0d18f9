"""narrows.cli."""
