"""narrows.report."""
