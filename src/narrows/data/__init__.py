"""narrows.data."""
