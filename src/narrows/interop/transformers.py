"""Models of transformers; of these only attributes are used, so nothing is imported."""

from typing import Protocol

import torch
from torch import Tensor, nn

from narrows.codes import Indices, one_tensor
from narrows.interop.parts import Parts, Swapped


class _Config(Protocol):
    hidden_size: int
    patch_size: int


class Encodec(Protocol):
    """What is used of an `EncodecModel`."""

    config: _Config
    encoder: nn.Module
    quantizer: nn.Module
    decoder: nn.Module


class _Hidden(Protocol):
    last_hidden_state: Tensor


class ViT(Protocol):
    """What is used of a `ViTModel`."""

    config: _Config

    def __call__(self, pixel_values: Tensor, /) -> _Hidden:
        """Images in [-1, 1] to hidden states."""
        ...


def encodec(model: Encodec) -> Parts:
    """Of an `EncodecModel`: sound `[batch, channels, t]` -> features `[batch, width, t / hop]`.

    Its forward passes codes alone from encoder to decoder; in training ours go on with their
    gradient. The bandwidth that is asked for is ignored: the bottleneck decides.
    """

    def put(swapped: Swapped) -> None:
        model.quantizer = _Quantizer(swapped)

    width = model.config.hidden_size
    return Parts(model.encoder, model.decoder, width, width, put)


class _Quantizer(nn.Module):
    """As the quantiser of `EncodecModel` is called."""

    def __init__(self, swapped: Swapped) -> None:
        super().__init__()
        self.swapped = swapped
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def encode(self, embeddings: Tensor, bandwidth: float | None = None) -> Tensor:  # noqa: ARG002
        """The code, its stages first: `[stages, batch, t]`.

        Raises:
            ValueError: for a code that is not one tensor.
        """
        z = self.swapped(embeddings)
        assert self.swapped.output is not None
        code = one_tensor(self.swapped.output.code)
        code = code.movedim(-1, 0) if code.dim() > 2 else code[None]
        if self.training and torch.is_grad_enabled():
            self._waiting.append((code, z))
        return code

    def decode(self, codes: Tensor) -> Tensor:
        """Z of a code; of one that waits, with its gradient."""
        for place, (code, z) in enumerate(self._waiting):
            if code.shape == codes.shape and torch.equal(code, codes):
                del self._waiting[: place + 1]
                return z
        space = self.swapped.layer.bottleneck.codes
        plain = isinstance(space, Indices) and space.channels is None
        return self.swapped.embed(codes[0] if plain else codes.movedim(0, -1))

    def __getstate__(self) -> dict[str, object]:
        """Without what waits, whose graph is not copied."""
        return {**self.__dict__, "_waiting": []}


def vit(model: ViT) -> Parts:
    """Of a `ViTModel`: images to a grid of its last hidden states, one a patch."""
    width = model.config.hidden_size
    return Parts(_Patches(model), None, width, width, signed=True)


class _Patches(nn.Module):
    """The last hidden states of patches, `[batch, width, rows, columns]`."""

    def __init__(self, model: ViT) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        side = self.model.config.patch_size
        rows, columns = images.shape[-2] // side, images.shape[-1] // side
        hidden = self.model(images).last_hidden_state[:, -rows * columns :]
        return hidden.movedim(-1, 1).unflatten(2, (rows, columns))
