"""narrows.metrics."""
