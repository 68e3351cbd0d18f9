"""Checkers: each proves the contract of one kind of part, the user's own included.

Use them as scikit-learn's `check_estimator` is used. A broken rule raises `ContractError`, which
names the rule and the evidence. `contract` holds what the checkers share, and each checker has a
file with its rules.
"""

from narrows.testing.bottleneck import check_bottleneck
from narrows.testing.contract import ContractError
from narrows.testing.likelihood import check_likelihood
from narrows.testing.network import check_network
from narrows.testing.prior import check_prior

__all__ = ["ContractError", "check_bottleneck", "check_likelihood", "check_network", "check_prior"]
