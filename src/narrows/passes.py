"""Training passes that wait for their optimiser step, which then updates what they went through."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Protocol, TypeVar, cast
from weakref import WeakValueDictionary, ref

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from narrows import codes
from narrows.latent import JointLatent, Latent

Function = TypeVar("Function", bound=Callable[..., object])


def eager(function: Function) -> Function:
    """Leaves a function with side effects out of what `torch.compile` captures."""
    return cast("Function", torch.compiler.disable(function))


class Updated(Protocol):
    """What takes its passes and learns from them."""

    def update(self) -> None:
        """Learns from `Passes.take()`."""


class Passes:
    """The training passes of one owner since the last step.

    `owner.update()` is called after each step of a PyTorch optimiser on parameters that the
    gradient of these passes reaches, if a backward pass has reached at least one of them.

    Args:
        owner: kept by a weak reference.
    """

    def __init__(self, owner: Updated) -> None:
        self.owner = ref(owner)
        self._latents: dict[int, Latent | None] = {}  # None until a backward pass comes by
        self._trained: set[int] = set()  # ids of parameters
        _WAITING[next(_NUMBERS)] = self

    @eager
    def note(self, z: Tensor, loss: Tensor, *, latent: Latent) -> tuple[Tensor, Tensor]:
        """Remembers a pass, and that a backward pass has reached z or the loss once it does.

        Returns:
            z and the loss to go on with; z is a leaf where nothing before it is trained.
        """
        if not z.requires_grad:  # what follows may be trained, and its gradient comes by here
            z = z.detach().requires_grad_()
        if not self._trained or len(self._latents) % 16 == 0:
            self._trained = _leaves(z, loss)
        number, passes, held = next(_NUMBERS), ref(self), _detached(latent)
        self._latents[number] = None

        def reached(_: Tensor) -> None:
            known = passes()
            if known is not None and number in known._latents:
                known._latents[number] = held

        z.register_hook(reached)
        if loss.requires_grad:
            loss.register_hook(reached)
        return z, loss

    def take(self) -> list[Latent]:
        """The passes that a backward pass has reached; all are forgotten."""
        done = [latent for latent in self._latents.values() if latent is not None]
        self._latents.clear()
        return done

    def follow(self, parameters: set[int]) -> None:
        """Updates the owner if a step on these parameters (by id) was one of its model."""
        own = not self._trained or bool(self._trained & parameters)
        if own and any(latent is not None for latent in self._latents.values()):
            owner = self.owner()
            if owner is not None:
                owner.update()


_NUMBERS = itertools.count()
_WAITING: "WeakValueDictionary[int, Passes]" = WeakValueDictionary()


def _after_step(optimizer: Optimizer, _args: object, _kwargs: object) -> None:
    """Owners in the model that was stepped learn, in the order in which they were made.

    The order is the same on all ranks, whose updates speak to each other.
    """
    parameters = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for number in sorted(_WAITING.keys()):
        passes = _WAITING.get(number)
        if passes is not None:
            passes.follow(parameters)


register_optimizer_step_post_hook(_after_step)


def _leaves(*ends: Tensor) -> set[int]:
    """Ids of the parameters that the gradient of these tensors reaches."""
    found: set[int] = set()
    ahead, seen = [end.grad_fn for end in ends], set()
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found.add(id(leaf))
        ahead += [before for before, _ in node.next_functions]
    return found


def _detached(latent: Latent) -> Latent:
    """What an update learns from, without the graph, so that nothing is kept alive by it."""
    if isinstance(latent, JointLatent):
        latent = dataclasses.replace(latent, parts=tuple(map(_detached, latent.parts)))
    return dataclasses.replace(
        latent,
        z=latent.z.detach(),
        code=codes.apply(_without_graph, latent.code),
        terms={name: term.detach() for name, term in latent.terms.items()},
    )


def _without_graph(tensor: Tensor) -> Tensor:
    return tensor.detach()
