"""The whole model: encoder, bottleneck, decoder, likelihood, prior."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Self, SupportsIndex, TypedDict, Unpack

import torch
from torch import Tensor, nn

from narrows.bottlenecks.base import Bottleneck
from narrows.following import Following
from narrows.functional.examples import check_example, check_shape, is_picture, refuse_range
from narrows.functional.in_parts import in_parts
from narrows.hub import Shared
from narrows.latent import Code, Latent
from narrows.likelihoods import Likelihood, Normal
from narrows.modes import evaluating
from narrows.networks import Conv, Mlp, Network
from narrows.networks.standardize import Restore, Standardize
from narrows.priors.base import Prior
from narrows.recorded import Recorded
from narrows.saving.arguments import check_arguments


@dataclass(frozen=True, eq=False)
class Loss:
    """The training objective of one batch and the parts it is the sum of.

    With several draws per example (`Bottleneck.draws`) the first axis of `nll`, `rate`, `terms`
    and `latent` is `draws * batch`, one whole batch after the other.

    Attributes:
        total: the scalar to minimise, nats per example.
        nll: -log p(x | z), `[batch]` nats.
        rate: the prior's rate, `[batch]` nats; None where the code has no rate (deterministic
            and continuous).
        terms: the bottleneck's unweighted losses by name, `[batch]`.
        latent: what the bottleneck returned.
        output: what the decoder returned, `[batch, ...]` (for each example's first draw).
    """

    total: Tensor
    nll: Tensor
    rate: Tensor | None
    terms: Mapping[str, Tensor]
    latent: Latent
    output: Tensor


class _Options(TypedDict, total=False):
    """The optional arguments of `Autoencoder`, as its other constructors pass them on."""

    network: "Network | None"
    likelihood: Likelihood | None
    beta: float
    objective: "Objective | None"


class Objective(Recorded, ABC):
    """What training minimises in place of the evidence bound; see `narrows.objectives`.

    Attributes:
        whole_batch: True if the loss uses batch statistics, so that micro-batch losses cannot be
            averaged.
    """

    whole_batch: bool = False

    @abstractmethod
    def loss(self, model: "Autoencoder", x: Tensor) -> Loss:
        """The objective of a model in training for a batch x `[batch, *shape]`."""


class Autoencoder(Shared, Following):
    """images -> encoder -> features -> bottleneck -> Latent -> decoder -> likelihood -> loss.

    loss = mean over examples of [ -log p(x | z) + beta * rate + sum_i weight_i * term_i ], in
    nats, the same expression in training and in evaluation.

    Args:
        shape: shape of one example: `(channels, height, width)`, `(d,)`, or a sequence,
            `(channels, t)` for `Conv` and `(t, d)` for `Transformer`.
        bottleneck: the part that differs.
        network: description of encoder and decoder; default `Conv()` for images, `Mlp()` else.
        likelihood: p(x | decoder output); default `Normal("optimal")`.
        beta: weight of the rate; 1 is the evidence lower bound. A plain attribute: a schedule
            sets it between steps.
        objective: what training minimises in place of the formula; None for the formula.

    Attributes:
        takes_images: True for grey or colour images, whose values lie in [0, 1].
        micro_batch: of how many examples encoder and decoder hold activations at a time while
            a gradient is taken; None (at first) for the whole batch. With a number they compute
            each part again when its gradient is asked for, and loss and gradient remain those
            of the whole batch: bottleneck, prior and likelihood see all of it at once. A plain
            attribute; `fit` sets it where it accumulates.

    Raises:
        ValueError: if the network cannot carry this shape.
        TypeError: if a part is no such part, or network and bottleneck do not fit.

    Example:
        >>> import torch, narrows as nw
        >>> model = nw.Autoencoder.for_images(
        ...     (1, 8, 8), nw.bottlenecks.VectorQuantizer(64, 16), network=nw.networks.Conv(32)
        ... )
        >>> model.reconstruct(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 1, 8, 8])
    """

    follows: bool = False  # the parts remind
    precise: bool = False  # the networks are what is converted
    _looked: bool = False  # at the range of a batch

    def __init__(
        self,
        shape: tuple[int, ...],
        bottleneck: Bottleneck,
        *,
        network: Network | None = None,
        likelihood: Likelihood | None = None,
        beta: float = 1.0,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        check_arguments("Autoencoder", Autoencoder.__init__, given=locals())
        self.shape: tuple[int, ...] = tuple(map(int, shape))
        check_example(self.shape)
        network = network or (Conv() if len(shape) == 3 else Mlp())
        likelihood = likelihood or Normal()
        if not math.isfinite(beta) or beta < 0:
            raise ValueError(f"beta must be finite and at least 0, got {beta}")
        if bottleneck.inputs != network.inputs:
            raise TypeError(
                f"{type(bottleneck).__name__} codes {bottleneck.inputs or 'all'} of its features, "
                f"and {type(network).__name__} passes on {network.inputs or 'no'} inputs with "
                "targets; a Transcoder goes with Pairs of as many inputs, and with nothing else"
            )
        self.takes_images: bool = is_picture(self.shape)
        self.network: Network = network
        self.beta: float = float(beta)
        self.objective: Objective | None = objective
        self.sites: tuple[int, ...] = network.sites(self.shape)
        self.encoder: nn.Module = network.encoder(self.shape, bottleneck.in_features)
        self.bottleneck: Bottleneck = bottleneck
        self.decoder: nn.Module = network.decoder(
            self.shape, bottleneck.out_features, channels=likelihood.channels(self.target_shape[0])
        )
        self.likelihood: Likelihood = likelihood
        if likelihood.any_unit and not self.takes_images:
            self._standardize()
        self.prior: Prior = bottleneck.default_prior(self.sites)
        self.micro_batch: int | None = None

    @property
    def whole_batch(self) -> bool:
        """True if a part of the model takes a mean, a scale or a choice over the batch.

        Micro-batch losses of such a model cannot be averaged.
        """
        parts = (self.bottleneck, self.likelihood, self.objective)
        return any(part.whole_batch for part in parts if part is not None)

    @classmethod
    def for_images(
        cls, shape: tuple[int, ...], bottleneck: Bottleneck, **options: Unpack[_Options]
    ) -> Self:
        """An autoencoder for images of any size and channel count.

        Args:
            shape: `(channels, height, width)`.
            bottleneck: the latent.
            options: `network`, `likelihood`, `beta` and `objective`, as the constructor takes them.

        Raises:
            ValueError: if `shape` does not have three positive entries.
        """
        if not isinstance(shape, Sized) or len(shape) != 3 or isinstance(shape, str):
            raise ValueError(
                f"expected the shape (channels, height, width) of one image, got {shape!r}; "
                "for vectors use Autoencoder.for_vectors(d, ...)"
            )
        return cls(shape, bottleneck, **options)

    @classmethod
    def for_vectors(cls, d: int, bottleneck: Bottleneck, **options: Unpack[_Options]) -> Self:
        """An autoencoder for vectors `[batch, d]`: embeddings, activations, tables.

        Args:
            d: width of one vector.
            bottleneck: the latent.
            options: `network`, `likelihood`, `beta` and `objective`, as the constructor takes them.

        Raises:
            ValueError: if `d` is not a positive integer.
        """
        if not isinstance(d, SupportsIndex) or isinstance(d, bool) or d < 1:
            raise ValueError(f"expected the width of one vector, a positive integer, got {d!r}")
        return cls((int(d),), bottleneck, **options)

    @classmethod
    def for_own_units(
        cls, shape: tuple[int, ...], bottleneck: Bottleneck, **options: Unpack[_Options]
    ) -> Self:
        """An autoencoder for data in their own units, which `fit` has it standardise.

        It differs from the constructor's where the shape is that of a grey or colour image:
        spectrograms, depth, fields, latents.

        Args:
            shape: of one example.
            bottleneck: the latent.
            options: `network`, `likelihood`, `beta` and `objective`, as the constructor takes them.

        Raises:
            ValueError: if the likelihood is one of images in [0, 1].
        """
        model = cls(shape, bottleneck, **options)
        if not model.likelihood.any_unit:
            raise ValueError(
                f"{type(model.likelihood).__name__} is for data in [0, 1]; use "
                "narrows.likelihoods.Normal for data in their own units"
            )
        if model.takes_images:
            model.takes_images = False
            model._standardize()
        return model

    def _standardize(self) -> None:
        """Has encoder and decoder work in the unit of the training set; see `learn_units`."""
        axis = self.network.features_axis
        unit = Standardize(self.shape, axis, inputs=self.network.inputs)
        self.encoder = nn.Sequential(unit, self.encoder)
        self.decoder = nn.Sequential(self.decoder, Restore(self.target_shape, axis))

    # One way for data to flow.

    def latent(self, x: Tensor) -> Latent:
        """Encodes x `[batch, *shape]`: random in training where the bottleneck is.

        Of pairs (`networks.Pairs`) the inputs alone will do.
        """
        return self.bottleneck(self.encoder(self._check(self._completed(x))))

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of what the decoder is to give: `shape`, less what is only coded."""
        return (self.shape[0] - self.network.inputs, *self.shape[1:])

    def target(self, x: Tensor) -> Tensor:
        """What the decoder is to give for x `[batch, *shape]`: x, or the second part of pairs."""
        x = self._check(x)
        return x[:, self.network.inputs :] if self.network.inputs else x

    def _completed(self, x: Tensor) -> Tensor:
        """Puts zeros, which no code depends on, behind inputs that come without their target."""
        inputs = self.network.inputs
        if not inputs or x.dim() != 2 or x.shape[1] != inputs:
            return x
        return torch.cat([x, x.new_zeros(len(x), self.shape[0] - inputs)], 1)

    def forward(self, x: Tensor) -> tuple[Latent, Tensor]:
        """The latent of x and the decoder's output for it, `[batch, channels, ...]`."""
        latent = self.latent(x)
        return latent, self.decoder(latent.z)

    def loss(self, x: Tensor) -> Loss:
        """The objective for a batch x `[batch, *shape]` in [0, 1].

        In training the model's `objective`, if it has one, takes the place of the formula above.
        """
        if not (self._looked or torch.compiler.is_compiling()):  # once: every look costs time
            self._check_range(x)
            self._looked = True
        if self.training and self.objective is not None:
            return self.objective.loss(self, x)
        return self.bound(x)

    def bound(self, x: Tensor, target: Tensor | None = None) -> Loss:
        """The formula above: the negative evidence bound of a target given the code of x.

        Args:
            x: what is coded, `[batch, *shape]`.
            target: example whose `target` the decoder is to give; x by default.
        """
        draws = self.bottleneck.draws if self.training else 1
        latent, output, nll = self.draw(x, draws, target=target)
        rate = self.prior.rate(latent) if latent.has_rate else None
        cost = self.combine(nll, rate, terms=latent.terms)
        total = cost.mean()
        if latent.log_q is not None:
            # Adds nothing to the value; its gradient is cost * grad log q (score function).
            total = total + self.bottleneck.surrogate(cost, latent).mean()
        return Loss(total, nll, rate, latent.terms, latent, output[: x.shape[0]])

    def combine(
        self, nll: Tensor, rate: Tensor | None, *, terms: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """nll + beta * rate + sum_i weight_i * term_i, `[batch]` in nats: the one place of it.

        Args:
            nll: -log p(x | z), `[batch]` nats.
            rate: `[batch]` nats; None where the code has none.
            terms: the latent's own losses by name, `[batch]`; None leaves them out.
        """
        cost = nll if rate is None else torch.add(nll, rate, alpha=self.beta)
        if terms is not None:
            for name, weight in self.bottleneck.weights.items():
                cost = cost + weight * terms[name]
        return cost

    def update(self, x: Tensor | Sequence[Tensor], loss: Loss | Sequence[Loss]) -> None:
        """Every running update that follows an optimiser step: codebooks, scales, sigma.

        Call it once after `optimizer.step()`, with the batch and what `loss` returned for it,
        or with those of all micro-batches of the step. `narrows.fit` does it.

        Args:
            x: the batch `[batch, *shape]`, or the micro-batches of the step.
            loss: its `Loss`, or one for each micro-batch in the same order.

        Raises:
            ValueError: if there is not one loss for each batch.

        Example:
            >>> import torch, narrows as nw
            >>> model = nw.Autoencoder.for_vectors(4, nw.bottlenecks.VectorQuantizer(8, 2))
            >>> optimizer = torch.optim.Adam(model.parameters())
            >>> x = torch.rand(16, 4)
            >>> loss = model.loss(x)
            >>> loss.total.backward()
            >>> optimizer.step()
            >>> model.update(x, loss)
        """
        batches = [x] if isinstance(x, Tensor) else list(x)
        losses = [loss] if isinstance(loss, Loss) else list(loss)
        if len(batches) != len(losses):
            raise ValueError(
                f"update takes one loss for each batch of the step, got {len(batches)} batches "
                f"and {len(losses)} losses; pass every micro-batch with its own loss"
            )
        latents = [one.latent for one in losses]
        self.bottleneck.update(latents)
        self.prior.update(latents)
        if len(losses) == 1:
            self.likelihood.update(self.target(batches[0]), losses[0].output)
        elif losses:
            outputs = torch.cat([one.output for one in losses])
            self.likelihood.update(self.target(torch.cat(batches)), outputs)

    def learn_units(
        self, mean: Tensor, variance: float, *, input_variance: float | None = None
    ) -> None:
        """Standardises data other than images; the statistics are saved with the model.

        Encoder and decoder then work on (x - mean) / scale, with one scale for all features, and
        the variance of the likelihood is relative to it: data of any unit and offset train
        alike. `narrows.fit` does it for data in their own units, unless it has been done. Images
        in [0, 1], and likelihoods of [0, 1], are left as they are.

        Args:
            mean: of each feature of the training set (`Dataset.means`).
            variance: about these means (`Dataset.variance`).
            input_variance: of the inputs of pairs (`Dataset.input_variance`).
        """
        ends = [part for part in self.modules() if isinstance(part, Standardize)]
        if ends and not ends[0].known:
            for part in ends:
                known = mean[self.network.inputs :] if isinstance(part, Restore) else mean
                part.learn(known, variance, input_variance=input_variance)
            self.likelihood.learn_unit(ends[-1].scale.item())

    @property
    def unit(self) -> Tensor:
        """The training set's standard deviation as `learn_units` was given it; 1 before."""
        ends = (part for part in self.encoder.modules() if isinstance(part, Standardize))
        found = next(ends, None)
        return torch.ones(()) if found is None else found.scale

    def draw(
        self, x: Tensor, draws: int, *, target: Tensor | None = None
    ) -> tuple[Latent, Tensor, Tensor]:
        """Codes each example `draws` times, one whole batch after the other, and decodes.

        Returns:
            The latent, the decoder's output and -log p(target | z), all of `[draws * batch]`;
            the target is x by default.
        """
        features = in_parts(self.encoder, self._check(x), size=self.micro_batch)
        target = self.target(x if target is None else target)
        if draws > 1:
            features = features.repeat(draws, *[1] * (features.dim() - 1))
            target = target.repeat(draws, *[1] * (target.dim() - 1))
        latent = self.bottleneck(features)
        part = None if self.micro_batch is None else draws * self.micro_batch
        output = in_parts(self.decoder, latent.z, size=part)
        self.likelihood.count_pass()
        self.prior.count_pass()
        return latent, output, -self.likelihood.log_prob(target, output)

    # Using a trained model. These switch to eval for their duration and build no graph.

    @torch.no_grad()
    def encode(self, x: Tensor, *, any_range: bool = False) -> Code:
        """The code of x as it would be stored: quantised where the prior has a step.

        Args:
            x: `[batch, *shape]`.
            any_range: also of images outside [0, 1], such as noisy ones.

        Raises:
            ValueError: if x has another shape, or images lie outside [0, 1].
        """
        self._check_range(x, any_range)
        with evaluating(self):
            return self.prior.quantize(self.latent(x).code)

    @torch.no_grad()
    def decode(self, code: Code) -> Tensor:
        """The mean image of a code, `[batch, *shape]`."""
        with evaluating(self):
            return self.likelihood.mean(self.decoder(self.bottleneck.embed(code)))

    @torch.no_grad()
    def reconstruct(self, x: Tensor, *, any_range: bool = False) -> Tensor:
        """decode(encode(x)): exactly what storing the code would give back; of pairs the target."""
        return self.decode(self.encode(x, any_range=any_range))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, **options: Any) -> Tensor:
        """The mean images of n codes drawn from the prior, `[n, *shape]`.

        Args:
            n: number of codes.
            generator: source of randomness.
            options: what the prior's own `sample` takes: learned ones `temperature`, `top_k`.

        Raises:
            ValueError: for less than 0 codes.
        """
        check_arguments("sample", Autoencoder.sample, given={"n": n})
        if n < 0:
            raise ValueError(f"expected a number of codes, got {n}")
        return self.decode(self.prior.sample(n, generator, **options))

    @torch.no_grad()
    def bits(self, x: Tensor) -> Tensor:
        """Rate of each example's code under the prior, `[batch]` bits."""
        self._check_range(x)
        with evaluating(self):
            return self.stored_rate(self.latent(x)) / math.log(2)

    def stored_rate(self, latent: Latent) -> Tensor:
        """Rate of the code as it would be stored, `[batch]` nats.

        Raises:
            NoRateError: where the code is continuous and the prior has no step yet.
        """
        return self.prior.rate(self.prior.stored(latent))

    def parts(self) -> Mapping[str, object]:
        """What the constructor takes, and the prior, which may have been fitted."""
        names = ("network", "bottleneck", "likelihood", "beta", "objective", "prior")
        found = {"shape": list(self.shape)} | {name: getattr(self, name) for name in names}
        usual = self.takes_images == is_picture(self.shape)
        return found if usual else found | {"own_units": True}

    @classmethod
    def made_of(cls, parts: Mapping[str, Any]) -> Self:
        """The model of such parts, with new weights."""
        names = ("bottleneck", "network", "likelihood", "beta", "objective")
        make = cls.for_own_units if parts.get("own_units") else cls
        model = make(tuple(parts["shape"]), **{name: parts[name] for name in names})
        prior, codes = parts["prior"], model.bottleneck.codes
        prior.check_fits(codes, codes.grid(model.sites))
        model.prior = prior
        return model

    def _check_range(self, x: Tensor, any_range: bool = False) -> None:
        """Refuses images outside [0, 1] before anything is computed from them."""
        if self.takes_images and not (any_range or torch.compiler.is_compiling()):
            refuse_range(x)

    def _check(self, x: Tensor) -> Tensor:
        """Refuses examples of another shape or kind than the model was built for."""
        check_shape(x, self.shape)
        like = next(self.encoder.parameters(), x)
        return x.to(like.dtype)
