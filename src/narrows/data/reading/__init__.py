"""Readers of the file formats of data sets; no pickle is executed."""
