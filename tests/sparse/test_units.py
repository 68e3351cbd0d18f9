"""Signals and atoms in units of their own, however small or large."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import SparseCoder as Known

import narrows.sparse
from narrows.sparse import DictionaryLearner, SparseCoder, learn_dictionary, omp, top_k

RANDOM = np.random.default_rng(0)
ATOMS = RANDOM.normal(size=(24, 12)) * RANDOM.uniform(0.2, 5.0, size=(24, 1))
SIGNALS = RANDOM.normal(size=(40, 12)) * 3


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e4])
def test_codes_over_atoms_of_any_norm_are_scikit_learns(scale):
    ours = SparseCoder(scale * ATOMS, n_nonzero_coefs=4).fit(SIGNALS)
    known = Known(scale * ATOMS, transform_algorithm="omp", transform_n_nonzero_coefs=4)
    expected = known.fit(SIGNALS).transform(SIGNALS)
    np.testing.assert_allclose(ours.transform(SIGNALS), expected, rtol=1e-6, atol=1e-9 / scale)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_lasso_codes_over_atoms_of_any_norm_are_scikit_learns():
    ours = SparseCoder(ATOMS, algorithm="lasso", alpha=0.7).fit(SIGNALS).transform(SIGNALS)
    known = Known(ATOMS, transform_algorithm="lasso_cd", transform_alpha=0.7)
    known.set_params(transform_max_iter=100_000)
    expected = known.fit(SIGNALS).transform(SIGNALS)
    np.testing.assert_allclose(ours, expected, atol=2e-2)


def test_top_k_codes_stand_for_the_same_signals_whatever_the_norms():
    plain = SparseCoder(
        ATOMS / np.linalg.norm(ATOMS, axis=1)[:, None], algorithm="top_k", n_nonzero_coefs=3
    )
    scaled = SparseCoder(ATOMS, algorithm="top_k", n_nonzero_coefs=3)
    first, second = (
        coder.fit(SIGNALS).inverse_transform(coder.transform(SIGNALS)) for coder in (plain, scaled)
    )
    np.testing.assert_allclose(first, second)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-13, 1e-20, 1e15])
@pytest.mark.parametrize("algorithm", ["omp", "lasso", "top_k"])
def test_the_unit_of_the_signals_changes_no_atom(algorithm, scale, dtype):
    options = {"alpha": 0.5} if algorithm == "lasso" else {"n_nonzero_coefs": 3}
    plain = DictionaryLearner(16, algorithm=algorithm, max_iter=4, random_state=0, **options)
    if algorithm == "lasso":
        options = {"alpha": 0.5 * scale}
    small = DictionaryLearner(16, algorithm=algorithm, max_iter=4, random_state=0, **options)
    x = SIGNALS.astype(dtype)
    codes = plain.fit(x).transform(x)
    again = small.fit((x * dtype(scale)).astype(dtype)).transform((x * dtype(scale)).astype(dtype))
    np.testing.assert_allclose(np.linalg.norm(small.components_, axis=1), 1, rtol=1e-5)
    errors = [
        np.linalg.norm(x - learner.inverse_transform(found) / unit) / np.linalg.norm(x)
        for learner, found, unit in ((plain, codes, 1.0), (small, again.astype(np.float64), scale))
    ]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


def test_the_function_learns_from_tiny_signals_too():
    x = torch.from_numpy(SIGNALS).float() * 1e-13
    atoms = learn_dictionary(x, 16, encode=lambda x, d: omp(x, d, k=3), epochs=3)
    assert torch.allclose(atoms.norm(dim=1), torch.ones(16), atol=1e-5)
    assert bool((omp(x, atoms, k=3).codes @ atoms - x).norm() < 0.7 * x.norm())


@pytest.mark.parametrize("apart", [1e-2, 1e-3, 1e-5, 1e-7])
def test_refitted_twins_do_not_explode(apart):
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(32, 12, generator=generator), dim=1)
    twins = atoms + apart * torch.randn(32, 12, generator=generator)
    both = torch.cat([atoms, torch.nn.functional.normalize(twins, dim=1)])
    x = torch.randn(300, 12, generator=generator)
    found = top_k(x, both, k=6, refit=True)
    assert bool((found.values.abs().amax(1) <= 12 * x.norm(dim=1)).all())
    assert bool((found.objective <= x.square().sum(1) / 2 * 1.0001).all())


@pytest.mark.parametrize("scale", [1e3, 1e-3])
def test_a_code_that_is_called_converged_is_within_the_tolerance(scale):
    generator = torch.Generator().manual_seed(1)
    atoms = torch.nn.functional.normalize(torch.randn(48, 12, generator=generator), dim=1)
    x = torch.randn(800, 12, generator=generator) * scale
    for relative in (1e-3, 1e-6, 1e-9):
        tolerance = relative * scale**2
        found = omp(x, atoms, k=12, tolerance=tolerance)
        residual = x.double() - found.codes.double() @ atoms.double()
        stopped = found.converged & (found.l0 < 12)
        assert bool((residual.square().sum(1)[stopped] <= tolerance * 1.000001).all())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alpha": 0.1}, "alpha is the penalty of algorithm='lasso'"),
        ({"algorithm": "top_k", "alpha": 1.0}, "alpha is the penalty"),
        ({"algorithm": "lasso", "n_nonzero_coefs": 3}, "n_nonzero_coefs is for"),
        ({"n_components": 0}, "n_components must be a whole number of at least 1, got 0"),
        ({"n_components": 2.5}, "n_components must be a whole number"),
        ({"n_components": True}, "n_components must be a whole number"),
        ({"n_nonzero_coefs": 0}, "n_nonzero_coefs must be a whole number"),
        ({"positive": "yes"}, "positive must be True or False"),
        ({"n_nonzero_coefs": "3"}, "n_nonzero_coefs must be a whole number"),
        ({"algorithm": "lasso", "alpha": "1"}, "alpha must be a number"),
        ({"algorithm": "lasso", "alpha": -1.0}, "alpha must be a number of at least 0"),
    ],
)
@pytest.mark.parametrize("estimator", [SparseCoder, DictionaryLearner])
def test_what_is_not_used_or_out_of_range_is_refused(estimator, options, says):
    with pytest.raises(ValueError, match=says):
        estimator(**options).fit(SIGNALS)


def test_a_batch_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        DictionaryLearner(batch_size="8").fit(SIGNALS)


@pytest.mark.parametrize("solve", ["omp", "top_k", "fista", "coordinate_descent"])
def test_arrays_are_refused_with_the_way_out(solve):
    options = {"k": 1} if solve in ("omp", "top_k") else {"penalty": 0.1}
    solver = getattr(narrows.sparse, solve)
    with pytest.raises(TypeError, match=r"torch\.as_tensor"):
        solver(np.ones((2, 3), np.float32), torch.eye(3), **options)
    with pytest.raises(TypeError, match=r"dictionary.*torch\.as_tensor"):
        solver(torch.ones(2, 3), np.eye(3, dtype=np.float32), **options)
