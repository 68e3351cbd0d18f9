"""narrows.training."""
