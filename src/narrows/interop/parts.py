"""What narrows needs of another library's model: its two halves, and where the bottleneck goes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from narrows.bottlenecks.base import Bottleneck
from narrows.codes import Code
from narrows.layer import Layer, LayerOutput


class Swapped(nn.Module):
    """A bottleneck in another library's model, and what its last pass gave.

    Where widths differ, a linear map stands before and behind, trained along.

    Args:
        layer: on the axis of channels.
        have: channels that the encoder delivers.
        want: channels that the decoder takes.

    Attributes:
        output: of the last pass; None before the first.
    """

    def __init__(self, layer: Layer, *, have: int, want: int) -> None:
        super().__init__()
        bottleneck = layer.bottleneck
        self.output: LayerOutput | None = None
        self.before: nn.Module = fitted(have, want, to=bottleneck.in_features)
        self.layer: Layer = layer
        self.after: nn.Module = fitted(bottleneck.out_features, want, to=want)

    def forward(self, features: Tensor) -> Tensor:
        """Features `[batch, have, *sites]` -> z `[batch, want, *sites]`."""
        self.output = made = self.layer(self.before(features))
        return self.after(made.z)

    def embed(self, code: Code) -> Tensor:
        """What the decoder is given for a stored code, `[batch, want, *sites]`."""
        return self.after(self.layer.embed(code))

    @property
    def loss(self) -> Tensor:
        """Of the last pass: the scalar to add to your own loss.

        Raises:
            RuntimeError: if there was none.
        """
        if self.output is None:
            raise RuntimeError("expected a pass of the model before its bottleneck's loss is asked")
        return self.output.loss

    def __getstate__(self) -> dict[str, object]:
        """Without the last pass, whose graph is not copied."""
        return {**self.__dict__, "output": None}


@dataclass(frozen=True)
class Parts:
    """The halves of another library's model.

    Attributes:
        encoder: examples -> features `[batch, have, *sites]`.
        decoder: z `[batch, want, *sites]` -> examples; None for a model that only encodes.
        have: channels that the encoder delivers.
        want: channels that the decoder takes.
        put: puts a `Swapped` bottleneck between the halves in the model itself; None if the model
            has no place for one.
        signed: whether images lie in [-1, 1] there.
    """

    encoder: nn.Module
    decoder: nn.Module | None
    have: int
    want: int
    put: Callable[[Swapped], None] | None = None
    signed: bool = False

    def encode(self, x: Tensor) -> Tensor:
        """What a bottleneck of the decoder's width is given: features, means where there are two.

        Args:
            x: `[batch, *shape]`, images in [0, 1].
        """
        return self.encoder(2 * x - 1 if self.signed else x)[:, : self.want]


def parts(module: nn.Module) -> Parts:
    """The halves of a model of diffusers or transformers.

    Raises:
        TypeError: for a model of another kind; make its `Parts` yourself.
    """
    from narrows.interop import diffusers, transformers

    known: dict[str, Callable[..., Parts]] = {
        "AutoencoderKL": diffusers.kl,
        "VQModel": diffusers.vq,
        "EncodecModel": transformers.encodec,
        "ViTModel": transformers.vit,
    }
    for kind in type(module).__mro__:
        if kind.__name__ in known:
            return known[kind.__name__](module)
    raise TypeError(
        f"expected a model of diffusers or transformers ({', '.join(known)}), got "
        f"{type(module).__name__}; pass narrows.interop.Parts(encoder, decoder, ...) of it, or put "
        "nw.Layer into its code"
    )


def swap(
    module: nn.Module | Parts,
    bottleneck: Bottleneck,
    *,
    beta: float = 1.0,
    per: Literal["example", "element"] = "element",
) -> Swapped:
    """Replaces the bottleneck inside another library's model, whose own forward then runs with it.

    Args:
        module: an `AutoencoderKL` or `VQModel` of diffusers, an `EncodecModel` of transformers,
            or `Parts`.
        bottleneck: of any width.
        beta: weight of the rate in the loss, as in `nw.Layer`.
        per: what the loss is a mean over, as in `nw.Layer`.

    Returns:
        The bottleneck in its place: its `loss` goes into your own, `output` has the code.

    Raises:
        TypeError: for a model of another kind, or one without a bottleneck.

    Example:
        >>> import torch, narrows as nw
        >>> from narrows.interop import Parts, swap
        >>> encoder, decoder = torch.nn.Conv2d(3, 8, 4, 4), torch.nn.ConvTranspose2d(8, 3, 4, 4)
        >>> model = torch.nn.Sequential(encoder, torch.nn.Identity(), decoder)
        >>> here = Parts(encoder, decoder, 8, 8, put=lambda part: model.__setitem__(1, part))
        >>> swapped = swap(here, nw.FiniteScalarQuantizer([5, 4, 3]))
        >>> model(torch.rand(2, 3, 16, 16)).shape, swapped.output.code.shape
        (torch.Size([2, 3, 16, 16]), torch.Size([2, 4, 4]))
    """
    found = module if isinstance(module, Parts) else parts(module)
    if found.put is None:
        raise TypeError(
            f"{type(module).__name__} has no bottleneck to replace; make it the encoder of an "
            "nw.Autoencoder by narrows.interop.Pretrained, or put nw.Layer behind it"
        )
    swapped = Swapped(Layer(bottleneck, beta=beta, per=per), have=found.have, want=found.want)
    like = next(found.encoder.parameters(), torch.zeros(()))
    found.put(swapped.to(like.device))
    return swapped


def fitted(have: int, means: int, *, to: int) -> nn.Module:
    """What brings features `[batch, have, *sites]` to another width, a linear map if need be.

    Args:
        have: their width.
        means: where it is less than `have`, the first of them are means and the rest scales, which
            only a bottleneck of all `have` is given.
        to: the width that is needed.
    """
    if have == to:
        return nn.Identity()
    kept = min(have, means)
    return _First(kept) if kept == to else nn.Sequential(_First(kept), _Linear(kept, to))


class _First(nn.Module):
    """The first channels."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self.kept: int = kept

    def forward(self, features: Tensor) -> Tensor:
        return features[:, : self.kept]


class _Linear(nn.Linear):
    """A linear map of axis 1."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)
