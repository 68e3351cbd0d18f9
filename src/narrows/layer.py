"""A bottleneck as a layer of anyone's model: any axis, one scalar loss, updates by themselves."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import torch
from torch import Tensor

from narrows import codes
from narrows.bottlenecks.base import Bottleneck
from narrows.codes import Code
from narrows.following import Following
from narrows.latent import Latent
from narrows.passes import Passes, eager
from narrows.priors.base import Prior
from narrows.saving.arguments import check_arguments

MASKED = -1
"""What stands in an integer code where a site is masked."""


@dataclass(frozen=True, eq=False)
class LayerOutput:
    """What a `Layer` returns; unpacks as `z, code, loss`.

    Attributes:
        z: what goes on in the model, of the shape (but for a bottleneck that changes the width) and
            dtype of the input; 0 at masked sites.
        code: what would be stored, its features (if it has any) in the last axis; -1 (an integer
            code) or 0 at masked sites.
        loss: scalar to add to the loss of the model: weights x terms + beta x rate, in training
            and evaluation alike. The rate of a deterministic code is left out unless its prior is
            trained along: it has no gradient.
        bits: rate of each example's code under the prior, `[batch]`; None where none is defined.
        latent: what the bottleneck returned; with a mask, of the sites in use alone, each as an
            example of its own.
    """

    z: Tensor
    code: Code
    loss: Tensor
    bits: Tensor | None
    latent: Latent

    def __iter__(self) -> Iterator[Tensor | Code]:
        """In the order `z, code, loss`."""
        return iter((self.z, self.code, self.loss))


class Layer(Following):
    """A bottleneck between two parts of a model of your own.

        z, code, loss = layer(features)

    The running updates of the bottleneck (codebooks, scales, sparsity control) follow your
    optimiser: after `optimizer.step()` the layer learns from every training pass whose backward
    pass has reached it since the last step, so that gradient accumulation, activation
    checkpointing and a skipped step of a gradient scaler are right by themselves.

    Args:
        bottleneck: any of `narrows.bottlenecks`, or your own.
        axis: which axis of the input holds the features: 1 for `[b, c, h, w]`, -1 for
            `[b, t, c]`.
        beta: weight of the rate in the loss.
        prior: for `bits` and the rate; by default the bottleneck's own for the sites of each
            input.
        per: what the loss is a mean over. "example": as in `nw.fit`, whose reconstruction error is
            -log p, a sum over pixels. "element": divided by the number of features of an example,
            too, for a mean squared error.

    Raises:
        ValueError: if an option is out of its range.
        TypeError: for a bottleneck that needs the cost of each draw (the score function); such a
            model is an `nw.Autoencoder`.

    Example:
        >>> import torch, narrows as nw
        >>> encoder, decoder = torch.nn.Conv2d(3, 8, 4, 4), torch.nn.ConvTranspose2d(8, 3, 4, 4)
        >>> layer = nw.Layer(nw.VectorQuantizer(64, 8), per="element")
        >>> model = torch.nn.ModuleList([encoder, layer, decoder])
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> x = torch.rand(2, 3, 16, 16)
        >>> z, code, loss = layer(encoder(x))
        >>> (torch.nn.functional.mse_loss(decoder(z), x) + loss).backward()
        >>> optimizer.step()  # moves the codebook, too
        >>> code.shape
        torch.Size([2, 4, 4])
    """

    follows: bool = False
    precise: bool = False

    def __init__(
        self,
        bottleneck: Bottleneck,
        axis: int = 1,
        *,
        beta: float = 1.0,
        prior: Prior | None = None,
        per: Literal["example", "element"] = "example",
    ) -> None:
        super().__init__()
        check_arguments("Layer", Layer.__init__, given=locals())
        if axis == 0:
            raise ValueError("Layer: axis 0 holds the examples; name the axis of the features")
        if not math.isfinite(beta) or beta < 0:
            raise ValueError(f"Layer: beta must be finite and at least 0, got {beta}")
        if per not in ("example", "element"):
            raise ValueError(f"Layer: per must be 'example' or 'element', got {per!r}")
        self.bottleneck = bottleneck
        self.axis: int = axis
        self.beta: float = float(beta)
        self.per: Literal["example", "element"] = per
        self.prior = prior
        self._begin()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> LayerOutput:
        """Codes features on the layer's axis.

        Args:
            x: `[batch, *sites]` with the features on `axis`, in half precision or better.
            mask: True where a site is in use, `[batch, *sites]`, or the number of sites in use of
                each example, `[batch]` integers, for one axis of sites. Other sites touch neither
                statistics, updates, terms nor rate; what stands there may be anything, also NaN.

        Raises:
            ValueError: for another width, features that are not finite, or a mask that does not
                fit; if no site is in use.
        """
        features = self._features(x)
        batch, sites = features.shape[0], tuple(features.shape[1:-1])
        keep = None if mask is None else self._mask(mask, batch, sites)
        used = features if keep is None else features[keep]
        latent = self.bottleneck(used) if keep is None else self.bottleneck.masked(features, keep)
        if latent.log_q is not None:
            raise TypeError(
                f"Layer: {type(self.bottleneck).__name__} needs the cost of each draw for its "
                "gradient; use a reparameterised estimator (GumbelSoftmax), or nw.Autoencoder"
            )
        rate = self._rate(latent, tuple(used.shape[1:-1]))
        # An example of nothing but padding is none.
        examples = batch if keep is None else keep.reshape(batch, -1).any(1).sum()
        loss = self._loss(latent, rate) / (examples if self.per == "example" else used.numel())
        z, code = latent.z, latent.code
        if keep is not None:
            z, rate = _spread(z, keep, 0), _per_example(rate, keep)
            code = codes.apply(partial(_spread_code, keep), code)
        z = z.to(x.dtype)
        if self.training and torch.is_grad_enabled():
            z, loss = self._passes.note(z, loss, latent=latent)
        bits = None if rate is None else rate.detach() / math.log(2)
        return LayerOutput(self._back(z), code, loss, bits, latent)

    def embed(self, code: Code) -> Tensor:
        """What the rest of the model is given for a stored code, features on the layer's axis."""
        return self._back(self.bottleneck.embed(code))

    def freeze(self) -> Self:
        """Stops gradients and running updates of the bottleneck; returns the layer."""
        self.bottleneck.requires_grad_(False)
        return self

    def unfreeze(self) -> Self:
        """Undoes `freeze`."""
        self.bottleneck.requires_grad_(True)
        return self

    def update(self) -> None:
        """Learns from the passes that a backward pass has reached; an optimiser's step calls it.

        Call it yourself only where no optimiser of PyTorch's steps.
        """
        done = self._passes.take()
        if done:
            self.bottleneck.update(done)
            if self.prior is not None:
                self.prior.update(done)

    def extra_repr(self) -> str:
        """What was chosen."""
        return f"axis={self.axis}, beta={self.beta:g}, per={self.per!r}"

    def _features(self, x: Tensor) -> Tensor:
        """The input with its features in the last axis."""
        axes = x.dim()
        if axes < 2 or not -axes < self.axis < axes:
            raise ValueError(
                f"Layer: expected [batch, ...] with features on axis {self.axis}, got shape "
                f"{tuple(x.shape)}"
            )
        if x.shape[0] == 0:
            raise ValueError(f"Layer: expected at least one example, got shape {tuple(x.shape)}")
        width = self.bottleneck.in_features
        if x.shape[self.axis] != width:
            fits = [i for i in range(1, axes) if x.shape[i] == width]
            hint = f"; axis {fits[0]} has it: pass axis={fits[0]}" if fits else ""
            raise ValueError(
                f"Layer: expected features of width {width} on axis {self.axis}, got shape "
                f"{tuple(x.shape)}{hint}"
            )
        return x.movedim(self.axis, -1)

    def _back(self, z: Tensor) -> Tensor:
        """Features from the last axis to where they came from."""
        return z.movedim(-1, self.axis)

    def _mask(self, mask: Tensor, batch: int, sites: tuple[int, ...]) -> Tensor:
        """True at what is coded: `[batch, *sites]`, or `[batch]` where sites are coded together."""
        if not mask.is_floating_point() and mask.dtype != torch.bool and mask.shape == (batch,):
            if len(sites) != 1:
                raise ValueError(
                    f"Layer: numbers of sites need one axis of sites, got sites {sites}; pass a "
                    "boolean mask"
                )
            low, high = (0, 0) if torch.compiler.is_compiling() else map(int, mask.aminmax())
            if low < 0 or high > sites[0]:
                raise ValueError(
                    f"Layer: expected numbers of sites in 0..{sites[0]}, got {low}..{high}"
                )
            mask = torch.arange(sites[0], device=mask.device) < mask[:, None]
        if mask.dtype != torch.bool or tuple(mask.shape) != (batch, *sites):
            raise ValueError(
                f"Layer: expected a boolean mask of shape {(batch, *sites)}, got {mask.dtype} of "
                f"shape {tuple(mask.shape)}"
            )
        if not torch.compiler.is_compiling() and not bool(mask.any()):
            raise ValueError("Layer: the mask leaves no site in use")
        if self.bottleneck.per_site:
            return mask
        whole = mask.flatten(1).all(1)
        if not bool((whole == mask.flatten(1).any(1)).all()):
            raise ValueError(
                f"Layer: {type(self.bottleneck).__name__} codes all sites of an example together: "
                "mask whole examples, or use a bottleneck that codes each site by itself"
            )
        return whole

    def _rate(self, latent: Latent, sites: tuple[int, ...]) -> Tensor | None:
        """Nats of each example."""
        if not latent.has_rate:
            return None
        if self.prior is not None and self.prior.sites != sites:
            raise ValueError(
                f"Layer: its prior is for sites {self.prior.sites}, and what is coded has sites "
                f"{sites}; a mask leaves single sites, which only a prior for sites () prices"
            )
        return (self.prior or self._prior(sites, latent.z.device)).rate(latent)

    @eager
    def _prior(self, sites: tuple[int, ...], device: torch.device) -> Prior:
        """The bottleneck's own prior for these sites, made once."""
        if sites not in self._priors:
            made = self.bottleneck.default_prior(sites)
            if any(True for _ in made.parameters()) or made.has_running_state:
                raise ValueError(
                    f"Layer: the prior of {type(self.bottleneck).__name__} is trained along; pass "
                    f"prior=bottleneck.default_prior({sites}), which is then part of the layer"
                )
            self._priors[sites] = made
        return self._priors[sites].to(device)

    def _loss(self, latent: Latent, rate: Tensor | None) -> Tensor:
        """Weights x terms + beta x rate, summed over the batch."""
        parts = [w * latent.terms[name].sum() for name, w in self.bottleneck.weights.items()]
        trained = self.prior is not None and any(True for _ in self.prior.parameters())
        if rate is not None and (latent.posterior is not None or trained):
            parts.append(self.beta * rate.sum())
        return sum(parts, start=latent.z.new_zeros(()))

    def _begin(self) -> None:
        """Waits for steps from now on; nothing has passed yet."""
        self._passes = Passes(self)
        self._priors: dict[tuple[int, ...], Prior] = {}

    def __getstate__(self) -> dict[str, object]:
        """Without the passes: a copy is a layer of its own."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_passes", "_priors")}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Of a copy."""
        super().__setstate__(state)
        self._begin()


def _spread(rows: Tensor, keep: Tensor, fill: float) -> Tensor:
    """Rows at the places that are kept, `[*keep.shape, ...]`, and a constant elsewhere."""
    return rows.new_full((*keep.shape, *rows.shape[1:]), fill).masked_scatter(
        keep.view(*keep.shape, *[1] * (rows.dim() - 1)).expand(*keep.shape, *rows.shape[1:]), rows
    )


def _spread_code(keep: Tensor, rows: Tensor) -> Tensor:
    """The same for a tensor of a code."""
    return _spread(rows, keep, 0 if rows.is_floating_point() else MASKED)


def _per_example(rate: Tensor | None, keep: Tensor) -> Tensor | None:
    """Rates of what is coded summed over each example, `[batch]`."""
    if rate is None:
        return None
    return _spread(rate, keep, 0).reshape(len(keep), -1).sum(1)
