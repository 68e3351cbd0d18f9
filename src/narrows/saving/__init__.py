"""Folders of saved models: whose code they may name, and that their weights are whole.

Begin with `saving/trust.py`: what a folder names is looked at before anything is imported.
"""
