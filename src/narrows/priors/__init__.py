"""Distributions over codes."""

from narrows.priors.base import Prior

__all__ = ["Prior"]
