"""narrows.codec."""
