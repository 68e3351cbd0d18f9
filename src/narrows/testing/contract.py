"""What all checkers share: applying rules to copies, evidence, comparison of states."""

import contextlib
import copy
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from narrows.codes import Code, tensors
from narrows.recorded import Recorded, build, spec

Part = TypeVar("Part", bound=nn.Module)


class ContractError(AssertionError):
    """A part breaks a rule of its contract; the message names the rule and the evidence."""


def require(holds: bool, message: str) -> None:
    """Raises ContractError with the message unless the condition holds."""
    if not holds:
        raise ContractError(message)


def rules_below(checker: Callable[..., None]) -> list[Callable[..., None]]:
    """The public functions that stand beside a checker in its module, in their order."""
    module = inspect.getmodule(checker)
    assert module is not None
    found = [f for f in vars(module).values() if inspect.isfunction(f) and f is not checker]
    return [f for f in found if f.__module__ == module.__name__ and f.__name__[0] != "_"]


def apply(rules: Iterable[Callable[..., None]], *arguments: object) -> None:
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


def require_shape(tensor: Tensor, expected: tuple[int, ...], what: str) -> None:
    """Requires that a tensor has a shape."""
    got = tuple(tensor.shape)
    require(got == expected, f"{what} must have shape {expected}, got {got}")


def require_per_example(values: Tensor, n: int, what: str) -> None:
    """Requires one finite number for each of n examples."""
    require(
        tuple(values.shape) == (n,) and bool(values.isfinite().all()),
        f"{what} must be finite and [batch] = [{n}], got {tuple(values.shape)}",
    )


@contextlib.contextmanager
def random_numbers_untouched(what: str) -> Iterator[None]:
    """Requires that a block leaves the global random numbers alone."""
    before = torch.random.get_rng_state()
    yield
    require(
        torch.equal(before, torch.random.get_rng_state()),
        f"{what} must not touch the global random numbers; keep an own generator",
    )


def twin_of(part: Part) -> Part:
    """Another one, made from the constructor's arguments and the state_dict."""
    assert isinstance(part, Recorded)
    twin = build(spec(part))
    twin.load_state_dict(part.state_dict())
    return twin


def same(one: Code, two: Code) -> bool:
    """True if two codes are equal bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(two), strict=True))


def close(one: Tensor, two: Tensor) -> bool:
    """Equal integers; numbers equal up to the rounding that another batch shape brings."""
    if one.shape != two.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, two)
    return torch.allclose(one, two, rtol=1e-4, atol=1e-5)
