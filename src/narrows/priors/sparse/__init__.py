"""Distributions over atoms and their values."""
