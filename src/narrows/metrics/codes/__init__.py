"""Measures of codes: what they say of examples, and how well they name them."""
