"""Pictures of trained models, each the same size for every model.

A function takes models by label, or one model with its label, and returns a block of a page, or
None where there is nothing of the kind: a code without sites has no map, a discrete one no
traversal. `codes` shows where codes lie, `units` what single ones stand for, `changes` what becomes
of changed codes and images.
"""
