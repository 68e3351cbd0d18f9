"""Latents of a few atoms of a learned dictionary: the dictionary, its coders, its state."""
