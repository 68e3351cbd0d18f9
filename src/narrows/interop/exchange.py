"""Sparse autoencoders as plain matrices, the form in which other libraries keep them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks.sparse.coder import Coder
from narrows.bottlenecks.sparse.dictionary import SparseDictionary
from narrows.bottlenecks.sparse.form import Activation, Form
from narrows.bottlenecks.sparse.learned.gated import Gated
from narrows.bottlenecks.sparse.learned.jump_relu import JumpReLU
from narrows.bottlenecks.sparse.learned.relu import ReLU
from narrows.bottlenecks.sparse.learned.untied import Untied
from narrows.bottlenecks.sparse.top_k import TopK
from narrows.bottlenecks.sparse.transcoder import Transcoder
from narrows.networks.direct import Direct
from narrows.networks.pairs import Pairs
from narrows.networks.standardize import Standardize


@dataclass(frozen=True, eq=False)
class PlainAutoencoder:
    r"""A sparse autoencoder or transcoder as matrices, in the unit of the data.

    .. math:: f = \mathrm{form}(x - \mu), \qquad \hat y = \nu + f D

    Attributes:
        form: how codes follow from x - mu.
        decoder: D, `[K, e]`, of any norms but 0.
        centre: mu, `[d]`.
        offset: nu, `[e]`, of a transcoder; None for mu, of an autoencoder.
    """

    form: Form
    decoder: Tensor
    centre: Tensor
    offset: Tensor | None = None

    def model(self, *, most: int | None = None) -> Autoencoder:
        """The same as a model of narrows, in eval: atoms of norm 1, values larger by that factor.

        Args:
            most: active atoms of one signal; None for as many as its width.

        Raises:
            ValueError: if shapes do not agree, or norms of atoms change which are the k largest.
        """
        self._check()
        form, norms = self.form, self.decoder.norm(dim=1)
        if form.activation == "topk" and bool((norms / norms.mean() - 1).abs().max() > 1e-3):
            raise ValueError(
                "this top-k code chooses by encoder outputs whatever the norms of its atoms, which "
                f"lie between {norms.min():.3g} and {norms.max():.3g}; narrows has atoms of norm 1"
            )
        if form.threshold is not None:  # one for all may be one number
            form = form._replace(threshold=form.threshold.expand(len(norms)))
        whole = form._replace(weight=form.weight * norms[:, None]).scaled(norms)
        coder = _CODERS[form.activation](form.k, most)
        model = self._empty(coder)
        bottleneck = model.bottleneck
        assert isinstance(bottleneck, SparseDictionary)
        assert bottleneck.learned is not None
        with torch.no_grad():
            bottleneck.set_atoms(self.decoder)
            bottleneck.idle.zero_()
            bottleneck.steps.fill_(1)  # no first step that would start from data
            bottleneck.learned.take(whole)
        return model.eval()

    def _empty(self, coder: Coder) -> Autoencoder:
        """The model before its weights, in units that are known, so that no data are asked."""
        size, width = self.decoder.shape
        if self.offset is None:
            bottleneck = SparseDictionary(size, width, coder=coder)
            model = Autoencoder.for_vectors(width, bottleneck, network=Direct())
            model.learn_units(self.centre, 4.0)
        else:
            inputs = len(self.centre)
            bottleneck = Transcoder(size, inputs, outputs=width, coder=coder)
            model = Autoencoder.for_vectors(inputs + width, bottleneck, network=Pairs(inputs))
            model.learn_units(torch.cat([self.centre, self.offset]), 4.0, input_variance=4.0)
            bottleneck.input_scale.fill_(0.5)
        bottleneck.scale.fill_(0.5)
        return model

    def _check(self) -> None:
        """Refuses matrices that do not belong together, or are not finite."""
        form, decoder = self.form, self.decoder
        offset = self.centre if self.offset is None else self.offset
        fits = form.weight.shape == (len(decoder), len(self.centre))
        if not fits or (form.bias.shape, offset.shape) != (decoder.shape[:1], decoder.shape[1:]):
            shapes = (form.weight.T, form.bias, decoder, offset)
            raise ValueError(
                "expected an encoder [d, K], its bias [K], a decoder [K, d] and its bias [d], of a "
                "transcoder a decoder [K, e] and its bias [e], got "
                f"{', '.join(str(list(part.shape)) for part in shapes)}"
            )
        more = [part for part in (form.threshold, *(form.gates or ())) if part is not None]
        for part in (form.weight, form.bias, decoder, self.centre, *more):
            if not bool(part.isfinite().all()):
                raise ValueError("expected finite weights, got NaN or infinite ones: copy it again")
        if any(part.numel() not in (1, len(decoder)) for part in more):
            raise ValueError(
                f"expected thresholds and gates of {len(decoder)} atoms, got "
                f"{', '.join(str(list(part.shape)) for part in more)}"
            )
        if bool((decoder.norm(dim=1) == 0).any()):
            raise ValueError("expected atoms other than 0: a latent without one codes nothing")


def _top_k(k: int | None, _most: int | None) -> Coder:
    return Untied(TopK(k or 1, refit=False, nonnegative=True))


_CODERS: Mapping[Activation, Callable[[int | None, int | None], Coder]] = {
    "topk": _top_k,
    "standard": lambda _k, most: ReLU(most=most),
    "jumprelu": lambda _k, most: JumpReLU(most=most),
    "gated": lambda _k, most: Gated(most=most),
}


def plain(model: Autoencoder) -> PlainAutoencoder:
    """The plain form of a model that is a sparse dictionary of vectors and nothing else.

    Raises:
        TypeError: if the model has networks, or a coder that is not one product and a threshold.
        ValueError: if its values are rounded for a rate.
    """
    bottleneck = model.bottleneck
    alone = isinstance(model.network, (Direct, Pairs))
    if not isinstance(bottleneck, SparseDictionary) or not alone:
        raise TypeError(
            f"expected a SparseDictionary with network=Direct(), got {type(bottleneck).__name__} "
            f"with {type(model.network).__name__}; other libraries know no networks around it"
        )
    if bottleneck.constraint is not None or len(model.shape) > 1:
        raise ValueError(
            "expected a model of vectors whose values are not rounded; train without rate="
        )
    form = bottleneck.form()
    if form is None:
        raise TypeError(
            f"expected a code by one product, and {bottleneck.coder} solves, refits or has signed "
            "values; train ReLU, JumpReLU or Gated, or TopK or BatchTopK(refit=False, "
            "nonnegative=True)"
        )
    unit, restore = (
        next(part for part in end.modules() if isinstance(part, Standardize))
        for end in (model.encoder, model.decoder)
    )
    scale = restore.scale * bottleneck.scale
    offset = restore.mean + restore.scale * bottleneck.centre
    form, centre = form.scaled(scale), offset
    if isinstance(bottleneck, Transcoder):
        first = slice(bottleneck.inputs)
        ratio = scale / (unit.scale[0] * bottleneck.input_scale)
        form = form._replace(weight=ratio * form.weight)
        centre = unit.mean[first] + unit.scale[first] * bottleneck.input_centre
    if form.inclusive:  # elsewhere what equals its threshold is dropped
        assert form.threshold is not None
        below = torch.nextafter(form.threshold, form.threshold - 1)
        form = form._replace(threshold=below, inclusive=False)
    given = offset if isinstance(bottleneck, Transcoder) else None
    return PlainAutoencoder(form, bottleneck.atoms.detach(), centre, given)


def folded(form: Form, centre: Tensor) -> Form:
    """Of signals less a centre, where a form takes them whole."""
    moved = form.weight @ centre
    gates = form.gates and (form.gates[0], form.gates[1] + form.gates[0].exp() * moved)
    return form._replace(bias=form.bias + moved, gates=gates)


def form_of(
    activation: Activation, weights: Mapping[str, Tensor], folder: Path, *, k: int | None = None
) -> Form:
    """The form whose parts are named as SAELens names them.

    Raises:
        ValueError: if one is missing, or k is no number of atoms.
    """
    if activation == "topk" and (not isinstance(k, int) or k < 1):
        raise ValueError(f"{folder}: expected a k >= 1 of a top-k code, got {k!r}")
    bias = named(weights, "b_gate" if activation == "gated" else "b_enc", folder)
    form = Form(activation, named(weights, "W_enc", folder).T, bias)
    if activation == "topk":
        return form._replace(k=k)
    if activation == "jumprelu":
        return form._replace(threshold=named(weights, "threshold", folder))
    if activation == "gated":
        gates = named(weights, "r_mag", folder), named(weights, "b_mag", folder)
        return form._replace(gates=gates)
    return form


def named(weights: Mapping[str, Tensor], name: str, folder: Path) -> Tensor:
    """One of the weights.

    Raises:
        ValueError: if it is not there, with what is.
    """
    if name not in weights:
        raise ValueError(f"{folder}: the weights have no {name}, only {', '.join(sorted(weights))}")
    return weights[name]
