"""Latents of integers: codebooks learned, fixed or implied, one family a file."""
