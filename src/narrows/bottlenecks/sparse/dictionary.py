"""Sparse codes over a learned dictionary as a latent."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from narrows.bottlenecks.base import COUNTS, Gradient, RateArgument
from narrows.bottlenecks.sparse.checks import (
    check_choices,
    check_coder,
    code_advice,
    code_measures,
    code_stats,
)
from narrows.bottlenecks.sparse.coder import Coded, Coder
from narrows.bottlenecks.sparse.constraint import AtomConstraint
from narrows.bottlenecks.sparse.form import Form
from narrows.bottlenecks.sparse.state import UnitDictionary
from narrows.codes import Atoms, AtomValues, Code, apply
from narrows.functional.commitment import commit, squared_distance
from narrows.latent import Latent, RoundedLatent
from narrows.modes import without_autocast
from narrows.priors.base import Prior
from narrows.priors.sparse.factorial import MovingSparseFactorial, SparseFactorial
from narrows.sparse.products import combine
from narrows.sparse.solution import canonical


class SparseDictionary(UnitDictionary):
    r"""Codes features as a few atoms of a learned dictionary: z = mu + s sum_j a_j d_j.

    .. math:: \tilde x = (x - \mu) / s, \qquad a = \mathrm{coder}(\tilde x, D),
        \qquad z = \mu + s\, a D, \qquad |d_j| = 1

    The running centre mu and scale s of the features, and atoms of norm 1, fix what a sparse
    penalty leaves free: without them a larger feature or atom undoes any penalty, which is why
    codes of unnormalised dictionaries fail to become sparse. Coefficients are in units of s.

    The code is `(atoms, values)`, each `[batch, *sites, width]` (`[batch, width]` where one
    code covers all sites): atoms ascending, then padding, which is a value of exactly 0.

    Args:
        size: number of atoms K.
        dim: width of the features.
        coder: what finds the codes: `TopK(k)`, `BatchTopK(k)`, `OMP(k)`, `Lasso(...)` or your own.
        sites: the whole grid, for one code an example; None codes each site by itself.
        gradient: "straight_through" passes the decoder's gradient to the features unchanged,
            and trains the dictionary to reconstruct the features; "implicit" differentiates
            the code exactly, to features and dictionary (task-driven dictionary).
        commitment: weight of the features' distance to their code.
        target_l0: mean number of active atoms that `update` steers to, for codes whose
            penalty can be steered.

    Raises:
        ValueError: if an argument is out of range, or k exceeds the number of atoms.
        TypeError: if the code cannot do what is asked of it.

    Warns:
        UserWarning: where correlations that are not refitted meet a straight-through gradient.

    Source:
        Mairal, Bach and Ponce 2012, "Task-Driven Dictionary Learning" (implicit gradients);
        van den Oord et al. 2017 (straight-through with commitment, here for sparse codes).

    Example:
        >>> from narrows.bottlenecks import SparseDictionary, TopK
        >>> bottleneck = SparseDictionary(size=32, dim=8, coder=TopK(2))
        >>> atoms, values = bottleneck(torch.randn(4, 6, 6, 8)).code
        >>> values.shape
        torch.Size([4, 6, 6, 2])
    """

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        coder: Coder,
        sites: tuple[int, ...] | None = None,
        gradient: Literal["straight_through", "implicit"] = "straight_through",
        commitment: float = 0.25,
        target_l0: float | None = None,
    ) -> None:
        check_choices(gradient, commitment)
        check_coder(coder, target_l0, gradient)
        super().__init__(size, (*(sites or ()), dim), coder, target_l0)
        self.per_site: bool = sites is None
        self.whole_batch: bool = coder.whole_batch
        self.implicit: bool = gradient == "implicit"
        self.gradient: Gradient = "exact" if self.implicit else "straight_through"
        self.commitment: float = float(commitment)

    @classmethod
    def fitted(cls, arguments: Mapping[str, int], /, *, dim: int, inputs: int) -> dict[str, int]:
        """Also as many more atoms as features are wider."""
        del inputs
        size = arguments["size"]
        return {"dim": dim, "size": max(size, size * dim // arguments["dim"])}

    @property
    def weights(self) -> Mapping[str, float]:
        """Commitment, and with straight-through the dictionary's own loss."""
        weights = {"commitment": self.commitment}
        if not self.implicit:
            weights["dictionary"] = 1.0
        return weights | dict(self.coder.weights)

    @property
    def rate_argument(self) -> RateArgument | None:
        """The target L0 of a penalty under control, else the coder's own argument."""
        values = COUNTS if self.per_site else ("6", "12", "24", "48")
        if self.coder.controllable:
            return RateArgument("bottleneck.target_l0", values)
        name = self.coder.rate_argument
        return None if name is None else RateArgument(f"bottleneck.coder.{name}", values)

    @property
    def codes(self) -> AtomValues:
        """Atoms with their coefficients."""
        return AtomValues(self.size, self.code_width, whole=not self.per_site)

    def forward(self, features: Tensor) -> Latent:
        """Codes features; see the class."""
        features = self._check(features)
        with without_autocast(features.device):
            return self._forward(features)

    def _forward(self, features: Tensor) -> Latent:
        # By a straight-through gradient, losses in here are no business of the features.
        problem = self._problem(features if self.implicit else features.detach())
        wanted, atoms = problem.wanted, problem.dictionary
        with torch.no_grad():
            found = self.coder.encode(problem)
        chosen, values = found
        if self.implicit or self.learned is not None:
            values = self.coder.differentiate(problem, found)
        stored = Atoms(chosen, values.detach())
        if self.learned is not None:  # atoms of value 0 may be listed
            stored = canonical(*stored)
        if self.constraint is not None:
            stored, (chosen, values) = self.constraint(chosen, values)
        approximation = combine(chosen, values, dictionary=atoms)
        terms: dict[str, Tensor] = {}
        if self.coder.weights:
            residual = (wanted - approximation).detach()
            coded = Coded(problem, Atoms(chosen, values), residual, self.dead)
            terms = self._coder_terms(coded, features.shape[0])
        shape = (*features.shape[:-1], self.out_features)
        wanted, approximation = (part.view(shape) for part in (wanted, approximation))
        fit = squared_distance(wanted, approximation)
        z, own = self._passed_on(features, self._place(approximation), self._in_feature_units(fit))
        shape = self._code_shape(features)
        code = apply(lambda part: part.view(shape), stored)
        stats = code_stats(chosen, values, self.size)
        if self.constraint is not None:
            stats["found_sum"] = (found.values != 0).sum()
        stats["residual_sum"] = fit.detach().sum()
        stats["energy_sum"] = wanted.detach().square().sum()
        made = Latent if self.constraint is None else RoundedLatent
        return made(z, code, features.detach(), terms=terms | own, stats=stats)

    def _passed_on(
        self, features: Tensor, z: Tensor, fit: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Z with its gradient, and the losses that do not depend on the coder.

        Args:
            features: that were coded.
            z: exactly differentiated.
            fit: squared distance of what was wanted to the code, `[batch]`.
        """
        if self.implicit:
            return z, {"commitment": fit}
        z, commitment = commit(features, z)
        return z, {"commitment": commitment, "dictionary": fit}

    def _coder_terms(self, coded: Coded, batch: int) -> dict[str, Tensor]:
        """The coder's own losses, `[batch]` in squared units of the features."""
        each = max(batch, 1)  # an empty batch has no rows to share out
        return {
            name: self._in_feature_units(term.unflatten(0, (each, -1)).sum(1) if batch else term)
            for name, term in self.coder.terms(coded).items()
        }

    @torch.no_grad()
    def form(self) -> Form | None:
        """The code of centred and scaled signals as one product; None where it is none."""
        return self.coder.form(self._problem(self.centre.new_zeros(1, self.in_features)))

    def embed(self, code: Code) -> Tensor:
        """The decoder's input for atoms and values `[batch, *sites, width]`."""
        chosen, values = self.codes.check(code)
        rows = math.prod(chosen.shape[:-1]), chosen.shape[-1]  # a width of 0 has no -1
        with without_autocast(values.device):
            atoms = self.atoms.to(values.dtype)
            approximation = combine(
                chosen.reshape(rows),
                self._in_units(values.reshape(rows)),
                dictionary=atoms,
            )
            return self._place(approximation.view(*chosen.shape[:-1], *self.shape))

    def default_prior(self, sites: tuple[int, ...]) -> Prior:
        """Factorial: which atoms are active, and a discretised Laplace for each value."""
        return SparseFactorial(sites if self.per_site else (), size=self.size, l0=self.expected_l0)

    def moving_prior(self, sites: tuple[int, ...]) -> Prior:
        """The same, following training."""
        return MovingSparseFactorial(sites if self.per_site else (), self.size)

    @property
    def rate_weight(self) -> float:
        """Lambda of an `AtomConstraint`; 0 where values are not rounded."""
        return 0.0 if self.constraint is None else float(self.constraint.strength)

    def set_rate_weight(self, weight: float, /) -> None:
        """Sets lambda; from now on values are rounded, and atoms must be worth their bits."""
        if self.constraint is None:
            self.constraint = AtomConstraint(self.size, weight).to(self.centre.device)
            if self.implicit:
                self.gradient = "estimated"
        self.constraint.strength.fill_(weight)

    def _in_feature_units(self, squares: Tensor) -> Tensor:
        """Squared distances of signals as those of features.

        In units of the running scale, which lags behind the features, an encoder gains more by
        shrinking them to nothing than by telling the decoder anything.
        """
        return self.scale.to(squares.dtype).square() * squares

    def _code_shape(self, features: Tensor) -> tuple[int, ...]:
        sites = features.shape[1:-1] if self.per_site else ()
        return (features.shape[0], *sites, self.code_width)

    def summary(self, totals: Mapping[str, Tensor], _examples: int, /) -> dict[str, float]:
        """Mean active atoms a site, share and number of atoms used, and fit of the features."""
        return code_measures(totals, self.size)

    def advice(self, summary: Mapping[str, float]) -> list[str]:
        """What to try where atoms lie idle, or the code is not sparse or not on target."""
        return code_advice(summary, self.size, target_l0=self.target_l0, coder=self.coder)
