"""narrows.kernels."""
