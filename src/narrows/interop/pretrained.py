"""Encoder and decoder of another library's model as a network of `nw.Autoencoder`."""

import copy
import importlib
from collections.abc import Callable, Mapping
from typing import Self, cast

import torch
from torch import Tensor, nn

from narrows.interop.parts import Parts, fitted, parts
from narrows.modes import evaluating
from narrows.networks.base import Network

_LIBRARIES = {
    "AutoencoderKL": "diffusers",
    "VQModel": "diffusers",
    "EncodecModel": "transformers",
    "ViTModel": "transformers",
}


class Pretrained(Network):
    """The encoder of a model of diffusers or transformers, and its decoder if it has one.

    `Pretrained.of(model)` takes weights along: every `nw.Autoencoder` made with it starts from a
    copy of them, and trains all that is not frozen. A saved model holds its weights itself. Where
    the bottleneck has another width, a linear map stands before and behind it, trained along.

    Args:
        name: of the class.
        config: its configuration, plain data; the weights are random.
        decoder: of a model that only encodes: a network of as many sites.

    Raises:
        ValueError: for an unknown class, or a model that encodes alone, without a decoder.

    Example:
        Encoder and decoder of Stable Diffusion around another bottleneck:

            network = nw.interop.Pretrained.of(diffusers.AutoencoderKL.from_pretrained(...))
            model = nw.Autoencoder((3, 64, 64), nw.VectorQuantizer(512, 4), network=network)
    """

    def __init__(
        self, name: str, config: Mapping[str, object], *, decoder: Network | None = None
    ) -> None:
        if name not in _LIBRARIES:
            raise ValueError(f"Pretrained: expected one of {', '.join(_LIBRARIES)}, got {name!r}")
        self.name: str = name
        self.config: Mapping[str, object] = dict(config)
        self.decoder_network: Network | None = decoder
        self._halves: Parts | None = None
        self._sites: dict[tuple[int, ...], tuple[int, ...]] = {}

    @classmethod
    def of(cls, module: nn.Module, *, decoder: Network | None = None) -> Self:
        """The network of a model, with its weights."""
        found = parts(module)
        plain: Callable[[], Mapping[str, object]] | None
        plain = getattr(module.config, "to_diff_dict", None)  # of transformers
        config = plain() if plain else cast("Mapping[str, object]", module.config)
        kept = {key: value for key, value in config.items() if not key.startswith("_")}
        made = cls(
            next(k.__name__ for k in type(module).__mro__ if k.__name__ in _LIBRARIES),
            kept,
            decoder=decoder,
        )
        made._halves = found
        return made

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of what the encoder makes of an example."""
        if shape not in self._sites:
            found = self._parts()
            like = next(found.encoder.parameters())
            with torch.no_grad(), evaluating(found.encoder):
                made = found.encode(torch.zeros(1, *shape, device=like.device, dtype=like.dtype))
            self._sites[shape] = tuple(made.shape[2:])
        return self._sites[shape]

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Examples `[batch, *shape]`, images in [0, 1] -> features `[batch, *sites, features]`."""
        self.sites(shape)
        found = self._parts()
        fit = fitted(found.have, found.want, to=features)
        return _Encoder(copy.deepcopy(found.encoder), fit, signed=found.signed)

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """Z `[batch, *sites, features]` -> examples `[batch, *shape]`, images in [0, 1]."""
        found = self._parts()
        if found.decoder is None:
            assert self.decoder_network is not None
            theirs = self.decoder_network.sites(shape)
            if theirs != self.sites(shape):
                raise ValueError(
                    f"Pretrained: {self.name} makes {self.sites(shape)} sites of {shape}, and the "
                    f"decoder takes {theirs}; change its downsamplings"
                )
            return self.decoder_network.decoder(shape, features, channels=channels)
        fit = fitted(features, found.want, to=found.want)
        made = _Decoder(fit, copy.deepcopy(found.decoder), signed=found.signed)
        like = next(found.decoder.parameters())
        z = torch.zeros(1, *self.sites(shape), features, device=like.device)
        with torch.no_grad():
            gives = tuple(made.to(like.device)(z).shape[1:])
        if gives != (channels, *shape[1:]):
            raise ValueError(
                f"Pretrained: {self.name} gives {gives} for examples of {shape}, and the "
                f"likelihood needs {(channels, *shape[1:])}; use nw.Normal, and sides that the "
                "model's downsampling divides"
            )
        return made

    def _parts(self) -> Parts:
        """Of the model that was given, or of one made of the configuration."""
        if self._halves is None:
            library = importlib.import_module(_LIBRARIES[self.name])
            kind = getattr(library, self.name)
            if hasattr(kind, "config_class"):
                made = kind(kind.config_class.from_dict(dict(self.config)))
            else:
                made = kind.from_config(dict(self.config))
            self._halves = parts(made)
        if self._halves.decoder is None and self.decoder_network is None:
            raise ValueError(f"Pretrained: {self.name} only encodes; pass decoder=nw.Conv(...)")
        return self._halves


class _Encoder(nn.Module):
    """Images from [0, 1], features to the last axis."""

    def __init__(self, inner: nn.Module, fit: nn.Module, *, signed: bool) -> None:
        super().__init__()
        self.inner, self.fit, self.signed = inner, fit, signed

    def forward(self, x: Tensor) -> Tensor:
        return self.fit(self.inner(2 * x - 1 if self.signed else x)).movedim(1, -1)


class _Decoder(nn.Module):
    """The way back."""

    def __init__(self, fit: nn.Module, inner: nn.Module, *, signed: bool) -> None:
        super().__init__()
        self.fit, self.inner, self.signed = fit, inner, signed

    def forward(self, z: Tensor) -> Tensor:
        y = self.inner(self.fit(z.movedim(-1, 1)))
        return (y + 1) / 2 if self.signed else y
