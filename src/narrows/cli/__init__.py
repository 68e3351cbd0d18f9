"""The `narrows` command: one module a verb, found by `main.py`, imported when asked for.

Each has `run(arguments)`; `parsing.py` reads options for all. Begin with `main.py` and `train.py`.
"""
