"""narrows.functional."""
