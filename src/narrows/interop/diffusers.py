"""Image autoencoders of diffusers; of its models only attributes are used, so nothing is imported.

Their images lie in [-1, 1].
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from narrows.bottlenecks.variational import unbounded
from narrows.codes import Code
from narrows.interop.parts import Parts, Swapped

_CERTAIN = -30.0
"""Log variance of a code that is a draw already; diffusers clamps at this value."""


class _Config(Protocol):
    latent_channels: int
    norm_type: str


class KL(Protocol):
    """What is used of an `AutoencoderKL`."""

    config: _Config
    encoder: nn.Module
    quant_conv: nn.Module | None
    post_quant_conv: nn.Module | None
    decoder: nn.Module


class VQ(Protocol):
    """What is used of a `VQModel`."""

    config: _Config
    encoder: nn.Module
    quant_conv: nn.Module
    quantize: nn.Module
    post_quant_conv: nn.Conv2d
    decoder: nn.Module


def kl(model: KL) -> Parts:
    """Of an `AutoencoderKL`: the encoder delivers means and, as `Variational` takes them, scales.

    With another bottleneck `encode(x).latent_dist` has the code as its mean and a deviation of
    3e-7, so that whatever takes its mode or a sample gets the code.
    """
    width = model.config.latent_channels
    own = model.quant_conv
    conv = own.before if isinstance(own, _Moments) else own

    def put(swapped: Swapped) -> None:
        model.quant_conv = _Moments(conv, swapped)

    encoder = nn.Sequential(model.encoder, conv or nn.Identity(), _Scales())
    decoder = nn.Sequential(model.post_quant_conv or nn.Identity(), model.decoder)
    return Parts(encoder, decoder, 2 * width, width, put, signed=True)


class _Scales(nn.Module):
    """Log variances, clamped as in diffusers, to what `Variational` makes scales of."""

    def forward(self, moments: Tensor) -> Tensor:
        means, log_variances = moments.chunk(2, 1)
        scales = torch.exp(0.5 * log_variances.clamp(_CERTAIN, 20.0))
        return torch.cat([means, unbounded(scales)], 1)


class _Moments(nn.Module):
    """The means and variances of a code that has been drawn."""

    def __init__(self, before: nn.Module | None, swapped: Swapped) -> None:
        super().__init__()
        self.before, self.scales, self.swapped = before, _Scales(), swapped

    def forward(self, h: Tensor) -> Tensor:
        z = self.swapped(self.scales(h if self.before is None else self.before(h)))
        return torch.cat([z, torch.full_like(z, _CERTAIN)], 1)


def vq(model: VQ) -> Parts:
    """Of a `VQModel`, whose decoder quantises; `commit_loss` of its output is then our loss.

    Raises:
        TypeError: for spatial norms, which look at z in every layer of the decoder.
    """
    if model.config.norm_type == "spatial":
        raise TypeError("VQModel with spatial norms: its decoder cannot be taken by itself")

    def put(swapped: Swapped) -> None:
        model.quantize = _Quantize(swapped)

    width = model.post_quant_conv.in_channels
    encoder = nn.Sequential(model.encoder, model.quant_conv)
    decoder = nn.Sequential(model.post_quant_conv, model.decoder)
    return Parts(encoder, decoder, width, width, put, signed=True)


class _Quantize(nn.Module):
    """As the quantiser of diffusers is called."""

    def __init__(self, swapped: Swapped) -> None:
        super().__init__()
        self.swapped = swapped

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, tuple[None, None, Code]]:
        z = self.swapped(h)
        assert self.swapped.output is not None
        return z, self.swapped.loss, (None, None, self.swapped.output.code)

    def get_codebook_entry(self, code: Code, shape: object = None) -> Tensor:  # noqa: ARG002
        """Z of a stored code, which has its shape already."""
        return self.swapped.embed(code)
