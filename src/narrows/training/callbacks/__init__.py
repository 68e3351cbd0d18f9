"""Hooks between steps and epochs, one a file; start with base.py."""
