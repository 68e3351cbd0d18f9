"""The solvers and the learner as scikit-learn estimators."""

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from narrows.sparse.coordinate_descent import coordinate_descent
from narrows.sparse.dictionary import MOD, Online, draw_atoms, learn_dictionary, power_of_two
from narrows.sparse.omp import omp, omp_unnormalized
from narrows.sparse.penalty import L1
from narrows.sparse.solution import SparseSolution
from narrows.sparse.top_k import top_k

Algorithm = Literal["omp", "lasso", "top_k"]


class _Coder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What both estimators do once they have atoms: `components_`, `[n_components, n_features]`."""

    components_: np.ndarray
    n_features_in_: int
    algorithm: Algorithm
    n_nonzero_coefs: int | None
    alpha: float | None
    positive: bool

    def transform(self, X: Any) -> np.ndarray:
        """Codes `[n_samples, n_components]` of X."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        atoms = torch.from_numpy(self.components_.astype(X.dtype, copy=False))
        return self._encode(_tensor(X), atoms).codes.numpy()

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Signals `[n_samples, n_features]` that codes stand for."""
        check_is_fitted(self)
        codes = np.asarray(X)
        if codes.ndim != 2 or codes.shape[1] != len(self.components_):
            raise ValueError(
                f"expected codes [n_samples, {len(self.components_)}], got shape {codes.shape}"
            )
        return codes @ self.components_

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _encode(self, signals: Tensor, atoms: Tensor) -> SparseSolution:
        """Codes in the signals' and the atoms' own units, computed where numbers have digits."""
        unit = power_of_two(signals)
        found = self._solve(signals / unit, atoms, 1.0 / unit)
        return replace(found, values=found.values * unit, objective=found.objective * unit * unit)

    def _solve(self, signals: Tensor, atoms: Tensor, inverse: float) -> SparseSolution:
        """The codes of scaled signals, for a penalty that is scaled with them."""
        if self.algorithm == "lasso":
            alpha = (1.0 if self.alpha is None else self.alpha) * inverse
            return coordinate_descent(signals, atoms, penalty=L1(alpha, nonnegative=self.positive))
        k = self.n_nonzero_coefs
        if k is None:
            k = min(max(signals.shape[1] // 10, 1), len(atoms))
        norms = atoms.norm(dim=1)
        if self.algorithm == "omp" and bool((norms - norms[0]).abs().max() > 1e-3 * norms[0]):
            return omp_unnormalized(signals, atoms, k=k)
        unit = atoms / norms[:, None]
        if self.algorithm == "top_k":
            found = top_k(signals, unit, k=k, nonnegative=self.positive)
        else:
            found = omp(signals, unit, k=k)
        return replace(found, values=found.values / norms[found.atoms])

    def _check_parameters(self) -> None:
        """Refuses values of another kind or range, and ones that the algorithm does not use."""
        for name in ("n_components", "n_nonzero_coefs", "batch_size"):
            value = getattr(self, name, None)
            if value is not None and (not _whole(value) or value < 1):
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if not isinstance(self.positive, (bool, np.bool_)):
            raise ValueError(f"positive must be True or False, got {self.positive!r}")
        if self.alpha is not None and not (_number(self.alpha) and 0 <= self.alpha < np.inf):
            raise ValueError(f"alpha must be a number of at least 0, got {self.alpha!r}")
        if self.alpha is not None and self.algorithm != "lasso":
            raise ValueError(
                f"alpha is the penalty of algorithm='lasso', and algorithm={self.algorithm!r} has "
                "none; leave it out, or set n_nonzero_coefs"
            )
        if self.n_nonzero_coefs is not None and self.algorithm == "lasso":
            raise ValueError(
                "n_nonzero_coefs is for algorithm 'omp' or 'top_k', and algorithm='lasso' has as "
                "many as alpha leaves; leave it out, or set alpha"
            )

    def _validate(self, X: Any) -> Tensor:
        """Checks the parameters and X; returns X as a tensor."""
        self._check_parameters()
        if self.algorithm not in ("omp", "lasso", "top_k"):
            raise ValueError(
                f"expected algorithm 'omp', 'lasso' or 'top_k', got {self.algorithm!r}"
            )
        if self.positive and self.algorithm == "omp":
            raise ValueError("positive codes need algorithm 'lasso' or 'top_k'")
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        return _tensor(X)


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _tensor(X: np.ndarray) -> Tensor:
    """The array as a tensor; copied where torch could not promise to leave it alone."""
    return torch.from_numpy(np.require(X, requirements=["C", "W"]))


def _generator(random_state: Any) -> torch.Generator:
    if isinstance(random_state, Integral):
        return torch.Generator().manual_seed(int(random_state))
    state = check_random_state(random_state)
    return torch.Generator().manual_seed(int(state.randint(2**31 - 1)))


class SparseCoder(_Coder):
    """Codes samples over a given dictionary, as scikit-learn's estimator of this name does.

    Args:
        dictionary: atoms `[n_components, n_features]` of any norm, to which codes refer as they
            are; if None, `fit` draws `n_components` training samples, made unit-norm.
        n_components: atoms to draw where no dictionary is given; None for as many as features.
        algorithm: "omp", "lasso" (alpha as in scikit-learn) or "top_k".
        n_nonzero_coefs: k of "omp" and "top_k"; None for a tenth of the features.
        alpha: lambda of "lasso"; None for 1.
        positive: non-negative codes ("lasso" and "top_k").
        random_state: of the draw.

    Attributes:
        components_: the atoms.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(20, 8))
        >>> SparseCoder(n_nonzero_coefs=2).fit_transform(X).shape
        (20, 8)
    """

    def __init__(
        self,
        dictionary: Any = None,
        *,
        n_components: int | None = None,
        algorithm: Algorithm = "omp",
        n_nonzero_coefs: int | None = None,
        alpha: float | None = None,
        positive: bool = False,
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.n_components = n_components
        self.algorithm: Algorithm = algorithm
        self.n_nonzero_coefs = n_nonzero_coefs
        self.alpha = alpha
        self.positive = positive
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Takes the dictionary, or draws one from X.

        Raises:
            ValueError: if a parameter is out of range or the dictionary does not fit X.
        """
        del y
        signals = self._validate(X)
        if self.dictionary is None:
            size = self.n_components or signals.shape[1]
            atoms = draw_atoms(signals, size, _generator(self.random_state))
        else:
            atoms = torch.as_tensor(np.asarray(self.dictionary), dtype=signals.dtype)
            if atoms.dim() != 2 or atoms.shape[1] != signals.shape[1]:
                raise ValueError(
                    f"expected a dictionary [n_components, {signals.shape[1]}], got "
                    f"{tuple(atoms.shape)}"
                )
            if bool((atoms == 0).all(1).any()):
                raise ValueError("the dictionary has zero atoms; remove or replace them")
        self._encode(signals[:0], atoms)  # refuses k > K, alpha < 0, NaN now rather than later
        self.components_: np.ndarray = atoms.numpy()
        return self


class DictionaryLearner(_Coder):
    """Learns unit-norm atoms over which samples are sparse, and codes over them.

    Args:
        n_components: number of atoms; None for as many as features.
        algorithm: "omp", "lasso" or "top_k", in fitting and in transform.
        n_nonzero_coefs: k of "omp" and "top_k"; None for a tenth of the features.
        alpha: lambda of "lasso"; None for 1.
        positive: non-negative codes ("lasso" and "top_k").
        max_iter: passes over the samples.
        batch_size: samples at a time in the online rule; None for the batch rule (MOD).
        random_state: of the start and the order.

    Attributes:
        components_: the unit-norm atoms.
        n_iter_: passes done.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(50, 8))
        >>> DictionaryLearner(12, n_nonzero_coefs=2, max_iter=2).fit(X).components_.shape
        (12, 8)
    """

    def __init__(  # noqa: PLR0913  (scikit-learn keeps every parameter in the constructor)
        self,
        n_components: int | None = None,
        *,
        algorithm: Algorithm = "omp",
        n_nonzero_coefs: int | None = None,
        alpha: float | None = None,
        positive: bool = False,
        max_iter: int = 30,
        batch_size: int | None = 256,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.algorithm: Algorithm = algorithm
        self.n_nonzero_coefs = n_nonzero_coefs
        self.alpha = alpha
        self.positive = positive
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns the dictionary.

        Raises:
            ValueError: if a parameter is out of range.
        """
        del y
        signals = self._validate(X)
        atoms = learn_dictionary(
            signals,
            self.n_components or signals.shape[1],
            encode=self._encode,
            rule=MOD() if self.batch_size is None else Online(),
            epochs=self.max_iter,
            batch=self.batch_size,
            seed=_generator(self.random_state).initial_seed(),
        )
        self.components_: np.ndarray = atoms.numpy()
        self.n_iter_: int = self.max_iter
        return self
