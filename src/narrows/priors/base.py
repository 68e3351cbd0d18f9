"""p(code): what a code costs and how to draw one."""

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from narrows.codes import Code, CodeSpace, Indices, Values, describe, length, tensors
from narrows.following import Following
from narrows.functional.conditionals import Conditionals, follow, sampler
from narrows.latent import Latent
from narrows.recorded import Recorded, build, spec


class NoRateError(ValueError):
    """The rate of a continuous code was asked for before it had a step to be rounded to."""


class Prior(Recorded, Following, ABC):
    """A distribution over the codes of one bottleneck on given sites.

    Attributes:
        sites: shape of the grid of sites; `()` where the whole example is one site.
        space: the kind of codes that the class is for.
        site_axes: number of axes that the grid of sites must have; None for any.
        coding: how codes are written to a file: "conditionals" (symbol by symbol), "bits_back"
            (random codes, at the cost of KL(q || p)), or None if there is no way.
        obstacle: why codes cannot be written, where a class has no `conditionals`.
        learning_rate: peak of AdamW's learning rate where the prior is trained by gradient on its
            `loss`; None where `fit` fits it in one pass.
        prices_draws: True if, fitted to random codes, its rate is the KL(q || p) of a draw and it
            rounds nothing.
        redundant: True if a code can be written in several ways, as with a side code; files take
            the one that the prior chooses, and draws another.
        classes: number of classes that it is conditioned on; None if it knows none.
    """

    space: ClassVar[type[CodeSpace]] = CodeSpace
    site_axes: ClassVar[int | None] = None
    coding: ClassVar[Literal["conditionals", "bits_back"] | None] = "conditionals"
    obstacle: ClassVar[str] = "it has no `conditionals`; implement it or pass another prior"
    learning_rate: ClassVar[float | None] = None
    prices_draws: ClassVar[bool] = False
    redundant: ClassVar[bool] = False
    follows: bool = False
    classes: int | None = None

    def __init__(self, sites: tuple[int, ...]) -> None:
        super().__init__()
        self.sites: tuple[int, ...] = tuple(int(size) for size in sites)

    @property
    def codes(self) -> CodeSpace | None:
        """The codes that it is a distribution over; None if any of the kind `space` will do."""
        return None

    @classmethod
    def check_suits(cls, codes: CodeSpace, sites: tuple[int, ...]) -> None:
        """Checks that a prior of this class can be made for such codes on these sites.

        Args:
            codes: what the bottleneck makes (`Bottleneck.codes`).
            sites: shape of the grid of sites.

        Raises:
            TypeError: if not, naming both sides.
        """
        if not isinstance(codes, cls.space):
            raise TypeError(
                f"{cls.__name__} is for {cls.space.words}, and the bottleneck makes {codes}"
            )
        if cls.site_axes not in (None, len(sites)):
            raise TypeError(
                f"{cls.__name__} is for sites on a grid of {cls.site_axes} axes, and the "
                f"bottleneck's codes are on sites {sites}"
            )

    @classmethod
    def for_codes(cls, codes: CodeSpace, sites: tuple[int, ...], **arguments: object) -> Self:
        """A prior for such codes on these sites.

        Arguments of the constructor that are named like a bound of the codes (`size`, `channels`,
        `dim`, `k`) take its value.

        Args:
            codes: what the bottleneck makes.
            sites: shape of the grid of sites.
            arguments: further arguments of the constructor.

        Raises:
            TypeError: if the class does not suit these codes.

        Example:
            >>> from narrows.codes import Indices
            >>> from narrows.priors import CategoricalPrior
            >>> CategoricalPrior.for_codes(Indices(512), (8, 8)).size
            512
        """
        cls.check_suits(codes, sites)
        takes = inspect.signature(cls).parameters
        bounds = {field.name for field in dataclasses.fields(codes)} & {*takes}
        return cls(sites, **{**{name: getattr(codes, name) for name in bounds}, **arguments})

    def check_fits(self, codes: CodeSpace, sites: tuple[int, ...]) -> None:
        """Checks that this prior, as it was made, is one for such codes on these sites.

        Raises:
            TypeError: if not, naming both sides.
        """
        self.check_suits(codes, sites)
        own = self.codes
        if self.sites != sites or not (own is None or own.includes(codes)):
            raise TypeError(
                f"{type(self).__name__} is for {own or self.space.words} on sites {self.sites}, "
                f"and the bottleneck makes {codes} on sites {sites}"
            )

    def with_step(self, factor: float) -> Self:
        """A prior like this one before its fit, which rounds codes to `factor` times the step.

        Raises:
            TypeError: if this prior rounds codes to no step.
        """
        description = spec(self)
        arguments = description["init_args"]
        steps = [name for name in ("step", "fraction") if arguments.get(name) is not None]
        if not steps:
            raise TypeError(f"{type(self).__name__} rounds codes to no step")
        for name in steps:
            arguments[name] *= factor
        return build(description)

    @abstractmethod
    def rate(self, latent: Latent) -> Tensor:
        """Nats per example, `[batch]`.

        KL(q || p) where the latent has a posterior; -log p(code) where its code is discrete, or
        continuous and quantised by this prior.

        Raises:
            NoRateError: where no finite rate is defined yet; it never returns 0 instead.
        """

    def log_prob(self, code: Code) -> Tensor:
        """Log p(code), `[n]` in nats, as importance weights need it.

        Raises:
            ValueError: if this prior gives none.
        """
        raise ValueError(
            f"{type(self).__name__} gives no log p(code) for {describe(code)}; write its method "
            "log_prob(code) -> [batch]"
        )

    def conditionals(self, _n: int, _code: Code | None = None, /) -> Conditionals:
        """Walks over n codes symbol by symbol (see `narrows.functional.conditionals`).

        Drawing and files both follow it, so the probabilities that it yields are to be those of
        `rate`. It is called before anything is coded, and should refuse then what it can.

        Args:
            _n: number of codes.
            _code: the codes, quantised by this prior, if they are known; None to be told them.

        Raises:
            TypeError: if codes cannot be written under this prior.
        """
        raise TypeError(f"codes cannot be written under {type(self).__name__}: {self.obstacle}")

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Code:
        """Draws n codes, `[n, *sites, ...]`, for `bottleneck.embed`.

        Args:
            n: number of codes.
            generator: source of randomness.

        Raises:
            ValueError: if the prior has to be fitted first.
        """
        return follow(self.conditionals(n), sampler(generator))

    def quantize(self, code: Code) -> Code:
        """The code as it would be stored: rounded to the prior's step where it has one."""
        return code

    def stored(self, latent: Latent) -> Latent:
        """The latent as files hold it: its code rounded, and certain unless draws are priced.

        The rate and the distortion of this latent are what is reported.
        """
        posterior = latent.posterior if self.prices_draws else None
        return dataclasses.replace(latent, code=self.quantize(latent.code), posterior=posterior)

    def loss(self, code: Code, _label: Tensor | None = None, /) -> Tensor:
        """What training by gradient minimises: the rate, `[n]` in nats.

        Args:
            code: quantised codes of n examples.
            _label: their classes, `[n]`, where the prior has `classes`.
        """
        nothing = torch.zeros(length(code), 0, device=tensors(code)[0].device)
        return self.rate(Latent(z=nothing, code=code, features=nothing))

    def update(self, _latents: Sequence[Latent], /) -> None:
        """Running updates after one optimiser step, of a prior that learns along with the model.

        Args:
            _latents: the latents of all micro-batches of the step, of this rank.
        """

    def fit(self, _latents: Iterable[Latent], /) -> Self:
        """Fits what can be fitted to training latents in one pass and returns itself."""
        return self


class IndexPrior(Prior):
    """A prior over integer codes, `[n, *sites]`, or `[n, *sites, channels]`.

    Args:
        sites: shape of the grid of sites.
        size: number of different indices, or the number of each channel.
        channels: indices of each site, in a last axis; None for one index a site.

    Raises:
        ValueError: if a size or channels is less than 1, or there are not `channels` sizes.
    """

    space: ClassVar[type[CodeSpace]] = Indices
    possible: Tensor

    def __init__(
        self, sites: tuple[int, ...], size: int | Sequence[int], *, channels: int | None = None
    ) -> None:
        super().__init__(sites)
        each = (size,) if isinstance(size, int) else tuple(size)
        if min(*each, 1 if channels is None else channels) < 1:
            raise ValueError(
                f"{type(self).__name__}: size and channels must be at least 1, got {size} and "
                f"{channels}"
            )
        if not isinstance(size, int) and len(each) != (channels or 1):
            raise ValueError(
                f"{type(self).__name__}: expected one size for each of {channels} channels, got "
                f"{each}"
            )
        self.size: int = max(each)
        self.sizes: tuple[int, ...] | None = each if min(each) < self.size else None
        self.channels: int | None = channels
        self.register_constant("possible", self._possible)

    def _possible(self) -> Tensor:
        """Which index each channel has, `[channels, size]`."""
        every = torch.ones(self.channels or 1, self.size, dtype=torch.bool)  # refused if too large
        if self.sizes is None:
            return every
        return every & (torch.arange(self.size) < torch.tensor(self.sizes)[:, None])

    @classmethod
    def for_codes(cls, codes: CodeSpace, sites: tuple[int, ...], **arguments: object) -> Self:
        """A prior for such codes on these sites; see `Prior.for_codes`."""
        if isinstance(codes, Indices) and codes.sizes is not None:
            arguments = {"size": codes.sizes, **arguments}
        return super().for_codes(codes, sites, **arguments)

    @property
    def codes(self) -> Indices:
        """Indices below `size`."""
        return Indices(self.size, self.channels, sizes=self.sizes)


class ValuePrior(Prior):
    """A prior over continuous codes, `[n, *sites, dim]`.

    Args:
        sites: shape of the grid of sites.
        dim: width of the code.

    Raises:
        ValueError: if dim is less than 1.
    """

    space: ClassVar[type[CodeSpace]] = Values

    def __init__(self, sites: tuple[int, ...], dim: int) -> None:
        super().__init__(sites)
        if dim < 1:
            raise ValueError(f"{type(self).__name__}: dim must be at least 1, got {dim}")
        self.dim = dim

    @property
    def codes(self) -> Values:
        """Values, `dim` at each site."""
        return Values(self.dim)

    def vectors(self, code: Code) -> Tensor:
        """The code as one vector a site, `[n * sites, dim]`."""
        return self.codes.check(code).reshape(-1, self.dim)


class Autoregressive(Prior):
    """A prior each of whose symbols depends on those before; draws can be made more typical."""

    @torch.no_grad()
    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> Code:
        """Draws n codes.

        Args:
            n: number of codes.
            generator: source of randomness.
            temperature: weights of symbols are raised to the power of 1 / temperature; 1 samples
                the prior itself.
            top_k: draw among the k likeliest symbols only.
        """
        return follow(self.conditionals(n), sampler(generator, temperature, top_k))


class AutoregressiveIndices(Autoregressive, IndexPrior):
    """A network's p(code) over integer codes.

    Args:
        sites: shape of the grid of sites.
        size: number of different indices, at least 2, or the number of each channel.
        channels: indices of each site.
    """

    def __init__(
        self, sites: tuple[int, ...], size: int | Sequence[int], *, channels: int | None = None
    ) -> None:
        super().__init__(sites, size, channels=channels)
        if self.size < 2:
            raise ValueError(f"{type(self).__name__}: size must be at least 2, got {size}")
        self.per_site: int = channels or 1

    @abstractmethod
    def log_prob(self, code: Tensor) -> Tensor:
        """Log-probability of codes, `[n]` in nats."""

    def rate(self, latent: Latent) -> Tensor:
        """-log p(code), `[batch]` in nats.

        Raises:
            ValueError: if the code is not of integers below `size` on these sites.
        """
        return -self.log_prob(self.codes.check(latent.code, self.sites))
