"""narrows.networks."""
