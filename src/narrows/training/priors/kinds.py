"""Priors by the words of the command line: which codes each is for, and how it is fitted."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from narrows.codes import one_tensor
from narrows.priors.base import Prior
from narrows.priors.categorical import CategoricalPrior, UniformCategorical
from narrows.priors.factorial import Factorial
from narrows.priors.gaussian_mixture import GaussianMixture
from narrows.priors.pixelcnn import PixelCNN
from narrows.priors.quantized import QuantizedHistogram
from narrows.priors.sparse_autoregressive import SparseAutoregressive
from narrows.priors.sparse_factorial import SparseFactorial
from narrows.priors.sparse_mixture import SparseMixture
from narrows.priors.spike_and_slab import SpikeAndSlabPrior
from narrows.priors.transformer import AutoregressiveTransformer
from narrows.training.priors.fitting import fit_in_one_pass
from narrows.training.priors.learned import fit_pixelcnn, fit_sparse, fit_transformer
from narrows.training.priors.measuring import Splits, latents, measured

INDICES, VALUES, ZEROS, ATOMS = "indices", "values", "values with exact zeros", "atoms"
_CODES: Sequence[tuple[tuple[type[Prior], ...], str]] = (
    ((CategoricalPrior, UniformCategorical, PixelCNN, AutoregressiveTransformer), INDICES),
    ((QuantizedHistogram, GaussianMixture, Factorial), VALUES),
    ((SpikeAndSlabPrior,), ZEROS),
    ((SparseFactorial, SparseMixture, SparseAutoregressive), ATOMS),
)


@dataclass(frozen=True)
class Settings:
    """What is asked of a prior; each kind reads what concerns it (`Kind.reads`).

    Attributes:
        epochs: of training by gradient.
        width: features of a network.
        components: of a mixture.
        step: quantisation step of values; None takes a quarter of a feature's standard deviation
            for values, and the step of the run's own prior for atoms.
        coarseness: factor of that step.
        conditional: on the data's labels.
        seed: of initial weights and batch order.
    """

    epochs: int = 20
    width: int = 64
    components: int = 16
    step: float | None = None
    coarseness: float = 1.0
    conditional: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Kind:
    """One kind of prior.

    Attributes:
        about: one line.
        codes: what codes it is for.
        reads: the settings that change what comes of it.
        fit: model, data, settings -> the fitted prior.
        maps: whether sites have to be a map.
    """

    about: str
    codes: tuple[str, ...]
    reads: tuple[str, ...]
    fit: Callable[[Any, Splits, Settings], Prior]
    maps: bool = False

    @property
    def stepped(self) -> bool:
        """Whether it rounds the code to a step."""
        return "step" in self.reads


def fit_kind(kind: str, model: Any, data: Splits, settings: Settings | None = None) -> Prior:
    """The prior of a kind, fitted to the codes of a model; its `report` is a `PriorFit`.

    Args:
        kind: a name in `KINDS`.
        model: a trained `Autoencoder`.
        data: its data set.
        settings: see `Settings`.

    Raises:
        ValueError: if there is no such kind, it does not suit the model's codes, or it knows no
            classes and is asked to.

    Example:
        >>> import narrows as nw
        >>> data = nw.data.load("digits")
        >>> model = nw.Autoencoder.for_images(data.shape, nw.bottlenecks.VectorQuantizer(16, 8))
        >>> round(fit_kind("uniform", model, data).report.test)  # 2 x 2 sites of 4 bits
        16
    """
    settings = settings or Settings()
    check_kinds([kind])
    if settings.conditional and "conditional" not in KINDS[kind].reads:
        raise ValueError(f"{kind} knows no classes; a conditional prior is a pixelcnn")
    if not suits(kind, model.prior):
        codes = codes_of(model.prior)
        where = f" on sites {model.prior.sites}" if codes in KINDS[kind].codes else ""
        raise ValueError(f"{kind} does not suit this run: its codes are {codes}{where}")
    return KINDS[kind].fit(model, data, settings)


def suits(kind: str, prior: Prior) -> bool:
    """Whether a kind can be fitted to the codes of a model, judged by the model's own prior."""
    fits = codes_of(prior) in KINDS[kind].codes
    return fits and (len(prior.sites) == 2 or not KINDS[kind].maps)


def codes_of(prior: Prior) -> str:
    """What the codes of a prior are: indices, values, atoms, or what it says of itself."""
    found = [codes for types, codes in _CODES if isinstance(prior, types)]
    return found[0] if found else f"those of a {type(prior).__name__}"


def check_kinds(names: Sequence[str]) -> None:
    """Refuses names of no kind.

    Raises:
        ValueError: with what was probably meant.
    """
    for name in names:
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
            raise ValueError(f"there is no kind of prior {name!r}; {hint}")


def _uniform(model: Any, data: Splits, settings: Settings) -> Prior:
    del settings
    return measured(_table(model), model, data)


def _histogram(model: Any, data: Splits, settings: Settings) -> Prior:
    del settings
    return fit_in_one_pass(_table(model), model, data)


def _pixelcnn(model: Any, data: Splits, settings: Settings) -> Prior:
    return fit_pixelcnn(
        model, data, width=settings.width, conditional=settings.conditional,
        epochs=settings.epochs, seed=settings.seed,
    )  # fmt: skip


def _transformer(model: Any, data: Splits, settings: Settings) -> Prior:
    return fit_transformer(
        model, data, width=settings.width, epochs=settings.epochs, seed=settings.seed
    )


def _quantized(model: Any, data: Splits, settings: Settings) -> Prior:
    prior = QuantizedHistogram(
        model.prior.sites,
        _first(model, data).shape[-1],
        **_grid(settings),
        exact_zeros=codes_of(model.prior) == ZEROS,  # which stay exact, and cheap
    )
    return fit_in_one_pass(prior, model, data)


def _mixture(model: Any, data: Splits, settings: Settings) -> Prior:
    width = _first(model, data).shape[-1]
    prior = GaussianMixture(
        model.prior.sites, width, components=settings.components, **_grid(settings)
    )
    return fit_in_one_pass(prior, model, data)


def _factorial(model: Any, data: Splits, settings: Settings) -> Prior:
    prior = SparseFactorial(model.prior.sites, model.prior.size, step=_step(model, settings))
    return fit_in_one_pass(prior, model, data)


def _support(model: Any, data: Splits, settings: Settings) -> Prior:
    own = model.prior
    prior = SparseMixture(
        own.sites, own.size, step=_step(model, settings), components=settings.components
    )
    return fit_in_one_pass(prior, model, data)


def _tokens(model: Any, data: Splits, settings: Settings) -> Prior:
    return fit_sparse(
        model, data, step=_step(model, settings), features=settings.width,
        epochs=settings.epochs, seed=settings.seed,
    )  # fmt: skip


_LEARNED = ("epochs", "width", "seed")
_STEPPED = ("step", "coarseness")

KINDS: Mapping[str, Kind] = {
    "uniform": Kind("every index alike (VQ and its like)", (INDICES,), (), _uniform),
    "histogram": Kind(
        "how often each index is used (VQ and its like)", (INDICES,), (), _histogram
    ),
    "pixelcnn": Kind(
        "gated PixelCNN over a map of indices",
        (INDICES,), (*_LEARNED, "conditional"), _pixelcnn, maps=True,
    ),
    "transformer": Kind(
        "autoregressive transformer over indices", (INDICES,), _LEARNED, _transformer
    ),
    "quantized": Kind(
        "grid and histogram of each feature (plain codes, variational means)",
        (VALUES, ZEROS), _STEPPED, _quantized,
    ),
    "mixture": Kind(
        "Gaussian mixture of continuous codes; the aggregate posterior of random ones",
        (VALUES,), ("components", *_STEPPED), _mixture,
    ),
    "factorial": Kind(
        "which atoms, and how much of each (sparse codes)", (ATOMS,), _STEPPED, _factorial
    ),
    "support": Kind(
        "mixture of supports, then values (sparse codes)",
        (ATOMS,), ("components", *_STEPPED), _support,
    ),
    "tokens": Kind(
        "transformer over atoms and values (sparse codes)",
        (ATOMS,), (*_LEARNED, *_STEPPED), _tokens,
    ),
}  # fmt: skip
"""What `narrows prior --kind` and `narrows compare --priors` know."""


def _table(model: Any) -> CategoricalPrior:
    """An unfitted table over the indices, one for each if a site has several."""
    return CategoricalPrior.for_codes(model.bottleneck.codes, model.prior.sites)


def _grid(settings: Settings) -> dict[str, Any]:
    """The grid of values: a step, or a fraction of their spread."""
    step = None if settings.step is None else settings.step * settings.coarseness
    return {"step": step, "fraction": 0.25 * settings.coarseness}


def _step(model: Any, settings: Settings) -> float:
    """The step of atoms' values."""
    own = model.prior.step if settings.step is None else settings.step
    return own * settings.coarseness


def _first(model: Any, data: Splits) -> Tensor:
    return one_tensor(next(latents(model, data.train, 2)).code)
