"""What all checkers share: applying rules to copies, evidence, comparison of states."""

import copy
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class ContractError(AssertionError):
    """A part breaks a rule of its contract; the message names the rule and the evidence."""


def require(holds: bool, message: str) -> None:
    """Raises ContractError with the message unless the condition holds."""
    if not holds:
        raise ContractError(message)


def apply(rules: Iterable[Callable[..., None]], *arguments: Any) -> None:
    """Applies each rule to its own copy of the arguments.

    Raises:
        ContractError: at the first broken rule; the message begins with the rule's name.
    """
    for rule in rules:
        try:
            rule(*copy.deepcopy(arguments))
        except ContractError as error:
            raise ContractError(f"{rule.__name__}: {error}") from error.__cause__


def must_refuse(call: Callable[[], object], what: str) -> None:
    """Requires that the call raises ValueError."""
    try:
        call()
    except ValueError:
        return
    raise ContractError(f"{what} must raise ValueError")


def state(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, those outside the state_dict included."""
    named = itertools.chain(module.named_parameters(), module.named_buffers())
    return {name: value.detach().clone() for name, value in named}


def require_unchanged(module: nn.Module, before: dict[str, Tensor], by: str) -> None:
    """Requires that parameters and buffers are bit for bit what they were."""
    after = state(module)
    changed = sorted(
        name
        for name in before.keys() | after.keys()
        if name not in before or name not in after or not torch.equal(before[name], after[name])
    )
    require(
        not changed,
        f"{by} must change no state, but {changed} changed; move running updates to update()",
    )


def require_finite(module: nn.Module, after: str) -> None:
    """Requires that every parameter and buffer is finite."""
    bad = [n for n, value in state(module).items() if not bool(value.double().isfinite().all())]
    require(not bad, f"state must stay finite after {after}, but {bad} is not")


def close(one: Tensor, two: Tensor) -> bool:
    """Equal integers; numbers equal up to the rounding that another batch shape brings."""
    if one.shape != two.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, two)
    return torch.allclose(one, two, rtol=1e-4, atol=1e-5)
