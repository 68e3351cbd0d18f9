"""narrows.experiments."""
