"""Where chosen atoms of a dictionary fire, and where they fire most."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import Atoms, atoms_of
from narrows.data.dataset import Split
from narrows.metrics.features.firing import coded, size_of


class Fired(NamedTuple):
    """The examples at which an atom fires, `[n]` ascending, and its values there."""

    rows: Tensor
    values: Tensor

    def strongest(self, n: int) -> Tensor:
        """Rows of the n largest values in size, the largest first."""
        return self.rows[self.values.abs().argsort(descending=True, stable=True)[:n]]


def fired(
    model: Autoencoder, examples: Split | Tensor, *, atoms: Sequence[int], batch_size: int = 1024
) -> dict[int, Fired]:
    """Looks for every example at which one of these atoms fires.

    Args:
        model: that codes vectors by atoms.
        examples: of which the row numbers are.
        atoms: numbers of atoms.
        batch_size: examples coded together.

    Raises:
        ValueError: if there is no such atom, or the code has no atoms.
    """
    size = size_of(model)
    strange = [atom for atom in atoms if not 0 <= atom < size]
    if strange:
        raise ValueError(f"expected features in 0..{size - 1}, got {strange[0]}")
    found: dict[int, list[Fired]] = {atom: [] for atom in atoms}
    start = 0
    for x, _, code in coded(model, examples, batch_size):
        for atom, parts in found.items():
            values = values_of(code, atom)
            rows = values.nonzero()[:, 0]
            parts.append(Fired(start + rows, values[rows]))
        start += len(x)
    return {
        atom: Fired(torch.cat([p.rows for p in parts]), torch.cat([p.values for p in parts]))
        for atom, parts in found.items()
    }


def values_of(code: Atoms, atom: int) -> Tensor:
    """The value of one atom in each code `[n, width]`, 0 where it does not fire, on the CPU."""
    return torch.where(code.atoms == atom, code.values, 0).sum(-1).cpu()


@torch.no_grad()
def directions(model: Autoencoder, *, atoms: Sequence[int], value: float = 1.0) -> Tensor:
    """What the decoder adds to the mean for each atom at this value, `[atoms, d]`, in data units.

    Args:
        model: that codes vectors by atoms.
        atoms: numbers of atoms.
        value: of their coefficients; without effect on directions where the decoder is linear.
    """
    size_of(model)
    device = next(model.parameters()).device
    empty = atoms_of(model.latent(torch.zeros(1, *model.shape, device=device)).code)
    chosen = torch.zeros(len(atoms) + 1, *empty.atoms.shape[1:], dtype=torch.int64)
    values = torch.zeros(chosen.shape)
    chosen[1:, 0], values[1:, 0] = torch.tensor([*atoms]), value
    code = Atoms(chosen.to(empty.atoms.device), values.to(empty.values))
    outputs = model.likelihood.mean(model.decoder(model.bottleneck.embed(code)))
    return (outputs[1:] - outputs[:1]).cpu().float()
