"""Models as folders: written and read, whose code they may name, and that their weights are whole.

Begin with `saving/model.py`, then `saving/trust.py`: what a folder names is looked at before
anything is imported.
"""
