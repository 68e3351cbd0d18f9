"""Coders of sparse autoencoders: an encoder, thresholds or gates learned beside the atoms."""
