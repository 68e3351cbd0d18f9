"""narrows.sparse."""
