"""Sparse autoencoders as plain matrices, the form in which other libraries keep them."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks.sparse.coder import Coder
from narrows.bottlenecks.sparse.dictionary import SparseDictionary
from narrows.bottlenecks.sparse.learned.dead import AuxK
from narrows.bottlenecks.sparse.learned.gated import Gated, Magnitudes
from narrows.bottlenecks.sparse.learned.jump_relu import JumpReLU, Thresholds
from narrows.bottlenecks.sparse.learned.matryoshka import Matryoshka
from narrows.bottlenecks.sparse.learned.relu import ReLU
from narrows.bottlenecks.sparse.learned.untied import Affine, Untied
from narrows.bottlenecks.sparse.top_k import BatchTopK, TopK
from narrows.networks.direct import Direct
from narrows.networks.standardize import Standardize

_LEAST = 1e-30  # a threshold that is 0, whose logarithm is kept


class Linear(NamedTuple):
    """Encoder and decoder, in the unit of the data.

    Attributes:
        encoder: W, `[K, d]`.
        bias: b, `[K]`; of the gates where there are any.
        decoder: D, `[K, d]`, of any norms but 0.
        centre: mu, `[d]`.
    """

    encoder: Tensor
    bias: Tensor
    decoder: Tensor
    centre: Tensor


@dataclass(frozen=True, eq=False)
class PlainAutoencoder:
    r"""A sparse autoencoder as matrices: all that its codes follow from.

    .. math:: c = W (x - \mu) + b, \qquad \hat x = \mu + f D, \qquad
        f = \mathrm{relu}(c),\; \mathrm{topk}(\mathrm{relu}(c)),\; \mathrm{relu}(c)[c > \theta]
        \text{ or } [c > 0]\, \mathrm{relu}(e^r (c - b) + m)

    Attributes:
        architecture: which of the four.
        linear: W, b, D and mu.
        k: of "topk".
        threshold: theta of "jumprelu", `[K]`.
        gates: r and m of "gated", `[K]` each.
    """

    architecture: Literal["standard", "topk", "jumprelu", "gated"]
    linear: Linear
    k: int | None = None
    threshold: Tensor | None = None
    gates: tuple[Tensor, Tensor] | None = None

    def model(self, *, most: int | None = None) -> Autoencoder:
        """The same as a model of narrows, in eval: atoms of norm 1, values larger by that factor.

        Args:
            most: active atoms of one signal; None for d.

        Raises:
            ValueError: if shapes do not agree, or norms of atoms change which are the k largest.
        """
        encoder, _, decoder, centre = self.linear
        size, dim = decoder.shape
        if encoder.shape != (size, dim) or centre.shape != (dim,):
            raise ValueError(
                f"expected encoder and decoder of one shape [K, d] and a bias [d], got "
                f"{tuple(encoder.shape)}, {tuple(decoder.shape)} and {tuple(centre.shape)}; "
                "transcoders to another width are not read"
            )
        norms = decoder.norm(dim=1)
        if self.architecture == "topk" and bool((norms / norms.mean() - 1).abs().max() > 1e-3):
            raise ValueError(
                "this top-k code chooses by encoder outputs whatever the norms of its atoms, which "
                f"lie between {norms.min():.3g} and {norms.max():.3g}; narrows has atoms of norm 1"
            )
        bottleneck = SparseDictionary(size, dim, coder=self._coder(most))
        model = Autoencoder.for_vectors(dim, bottleneck, network=Direct())
        with torch.no_grad():
            self._fill(bottleneck, norms)
            for part in model.modules():
                if isinstance(part, Standardize):  # known, so that no data are asked for it
                    part.learn(centre, 4.0)
            bottleneck.scale.fill_(0.5)
        return model.eval()

    def _coder(self, most: int | None) -> Coder:
        if self.architecture == "topk":
            return Untied(TopK(self.k or 1, refit=False, nonnegative=True))
        kind = {"standard": ReLU, "jumprelu": JumpReLU, "gated": Gated}[self.architecture]
        return kind(most=most)

    def _fill(self, bottleneck: SparseDictionary, norms: Tensor) -> None:
        encoder, bias, decoder, _ = self.linear
        bottleneck.set_atoms(decoder)
        bottleneck.idle.zero_()
        bottleneck.steps.fill_(1)  # no first step that would start from data
        part = bottleneck.learned
        assert isinstance(part, Affine)
        part.weight.copy_(encoder * norms[:, None])
        part.bias.copy_(bias * norms)
        if isinstance(part.inner, Thresholds) and self.threshold is not None:
            part.inner.log_threshold.copy_((self.threshold * norms).clamp_min(_LEAST).log())
        if isinstance(part.inner, Magnitudes) and self.gates is not None:
            log_gain, magnitude = self.gates
            part.inner.log_gain.copy_(log_gain)
            part.inner.shift.copy_((magnitude - log_gain.exp() * bias) * norms)


def plain(model: Autoencoder) -> PlainAutoencoder:
    """The plain form of a model that is a sparse dictionary of vectors and nothing else.

    Raises:
        TypeError: if the model has networks, or a coder that is not one product and a threshold.
        ValueError: if its values are rounded for a rate.
    """
    bottleneck = model.bottleneck
    if not isinstance(bottleneck, SparseDictionary) or not isinstance(model.network, Direct):
        raise TypeError(
            f"expected a SparseDictionary with network=Direct(), got {type(bottleneck).__name__} "
            f"with {type(model.network).__name__}; other libraries know no networks around it"
        )
    if bottleneck.constraint is not None or len(model.shape) > 1:
        raise ValueError(
            "expected a model of vectors whose values are not rounded; train without rate="
        )
    ends = [part for part in model.encoder.modules() if isinstance(part, Standardize)]
    unit, mean = ends[0].scale, ends[0].mean
    scale, centre = unit * bottleneck.scale, mean + unit * bottleneck.centre
    coder = bottleneck.coder
    while isinstance(coder, (AuxK, Matryoshka)):  # losses of training
        coder = coder.coder
    coder = coder.coder if isinstance(coder, Untied) else coder
    by_product = isinstance(coder, (ReLU, JumpReLU, Gated)) or (
        isinstance(coder, (TopK, BatchTopK)) and coder.nonnegative and not coder.refit
    )
    if not by_product:
        raise TypeError(
            f"expected a code by one product, and {coder} solves, refits or has signed values; "
            "train ReLU, JumpReLU or Gated, or TopK or BatchTopK(refit=False, nonnegative=True)"
        )
    return _with_activation(coder, bottleneck, scale, centre)


def _with_activation(
    coder: Coder, bottleneck: SparseDictionary, scale: Tensor, centre: Tensor
) -> PlainAutoencoder:
    part, atoms = bottleneck.learned, bottleneck.atoms.detach()
    encoder, bias, inner = atoms, scale.new_zeros(bottleneck.size), None
    if isinstance(part, Affine):
        encoder, bias, inner = part.weight.detach(), scale * part.bias.detach(), part.inner
    linear = Linear(encoder, bias, atoms, centre)
    if isinstance(coder, TopK):
        return PlainAutoencoder("topk", linear, k=coder.k)
    if isinstance(coder, BatchTopK):  # which keeps what equals its threshold
        level = scale * bottleneck.level
        below = torch.nextafter(level, level - 1).expand(bottleneck.size)
        return PlainAutoencoder("jumprelu", linear, threshold=below)
    if isinstance(inner, Thresholds):
        threshold = scale * inner.log_threshold.detach().exp()
        return PlainAutoencoder("jumprelu", linear, threshold=threshold)
    if isinstance(inner, Magnitudes):
        gain, shift = inner.log_gain.detach(), inner.shift.detach()
        magnitude = gain.exp() * bias + scale * shift
        return PlainAutoencoder("gated", linear, gates=(gain, magnitude))
    return PlainAutoencoder("standard", linear)
