"""The compiled products refuse what would make them read memory that is not theirs."""

import pytest
import torch

from narrows import kernels
from narrows.kernels import sparse

ATOMS, VALUES = torch.tensor([[0, 2], [1, 0]]), torch.ones(2, 2)
DICTIONARY, ROWS = torch.ones(3, 4), torch.ones(2, 4)


@pytest.fixture(autouse=True)
def _compiled():
    if any(kernels.load(name) is None for name in ("sparse", "sparse_products")):
        pytest.skip(f"no compiled kernel: {kernels.status('sparse')}")


def _calls(atoms, values, rows):
    return [
        lambda: sparse.combine(atoms, values, dictionary=DICTIONARY),
        lambda: sparse.adjoint(atoms, values, rows, len(DICTIONARY)),
        lambda: sparse.dots(atoms, rows, DICTIONARY),
        lambda: sparse.solve_on_support(DICTIONARY, atoms, values != 0, values, 0.1),
    ]


@pytest.mark.parametrize("place", range(4))
def test_codes_that_fit_are_worked_on(place):
    assert _calls(ATOMS, VALUES, ROWS)[place]() is not None


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("wrong", [3, -1])
def test_atoms_that_the_dictionary_lacks_are_refused(place, wrong):
    with pytest.raises(ValueError, match=r"atoms in 0\.\.2, got"):
        _calls(torch.tensor([[0, 2], [wrong, 0]]), VALUES, ROWS)[place]()


@pytest.mark.parametrize("place", range(4))
def test_codes_of_other_signals_are_refused(place):
    with pytest.raises(ValueError, match="do not fit"):
        _calls(ATOMS, torch.ones(1, 2), ROWS[:1])[place]()
