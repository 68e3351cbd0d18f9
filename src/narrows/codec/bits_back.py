"""Bits-back coding: a variational model's images at the cost of its evidence lower bound.

To write an image: read z off the stack under q(z | x) (which gives back log 1/q bits), then push
x under p(x | z) and z under p(z). The image costs -log p(x | z) + log q(z | x) - log p(z) bits,
whose mean is the negative evidence lower bound. Reading runs backwards.

The stack needs something on it before the first image: fixed words, which stay in the file.

Source: Townsend, Bird and Barber 2019, Practical Lossless Compression with Latent Variables Using
Bits Back Coding, arXiv:1901.04866. They cut z into cells of equal prior mass; we use a regular
grid of width 2^-6, which needs no inverse distribution function.
"""

from typing import Any

import numpy as np
import torch
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (compiled)
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Laplace, Normal

from narrows.codec.errors import CodecError
from narrows.codec.pixels import walk_pixels
from narrows.codec.steady import groups, in_one_group, steady

GRID = 2.0**-6
_REACH = 1 << 11  # grid cells on either side of 0: |z| < 32
_CATEGORICAL = stream.model.Categorical(perfect=False)
_FAMILIES = {
    Normal: stream.model.QuantizedGaussian(-_REACH, _REACH),
    Laplace: stream.model.QuantizedLaplace(-_REACH, _REACH),
    Cauchy: stream.model.QuantizedCauchy(-_REACH, _REACH),
}


def write(model: Any, levels: Tensor) -> bytes:
    """The images' bytes.

    Args:
        model: an `Autoencoder` with a `Variational` bottleneck, in eval.
        levels: `[n, *shape]`, int64 in 0..255.
    """
    with steady(), torch.no_grad():
        coder = stream.stack.AnsCoder(_first_words(model))
        for rows in groups(len(levels)):
            group = levels[rows]
            posterior = _posterior(model, group)
            z = _pop(coder, posterior)
            _push_pixels(coder, model, z, group)
            _push(coder, _prior(model, posterior), z)
        return coder.get_compressed().astype("<u4").tobytes()


def read(model: Any, payload: bytes, n: int) -> Tensor:
    """The images `[n, *shape]`, int64 in 0..255.

    Raises:
        CodecError: if the bytes cannot have been written by `write` for n images.
    """
    if len(payload) % 4 or not payload:
        raise CodecError(f"expected a payload of whole 32-bit words, got {len(payload)} bytes")
    out = torch.zeros(n, *model.shape, dtype=torch.long)
    with steady(), torch.no_grad():
        try:
            coder = stream.stack.AnsCoder(np.frombuffer(payload, "<u4").astype(np.uint32))
            for rows in reversed([*groups(n)]):
                like = _posterior(model, out[rows])  # for its shape and family only
                z = _pop(coder, _prior(model, like))
                out[rows] = _pop_pixels(coder, model, z)
                _push(coder, _posterior(model, out[rows]), z)
            words = coder.get_compressed()
        except (AssertionError, ValueError) as error:
            raise CodecError("the payload is no bits-back code of this model") from error
    if not np.array_equal(words, _first_words(model)):
        raise CodecError(
            "the stack does not end where it began: written by another build or machine, whose "
            "networks differ in their last bits"
        )
    return out


def _first_words(model: Any) -> np.ndarray:
    """Enough for one group's posterior draws, at most 12 bits a dimension of z."""
    dimensions = int(np.prod([16, *model.prior.sites, model.prior.dim]))
    words = np.random.Generator(np.random.Philox(0)).integers(
        1, 2**32, size=2 + dimensions * 12 // 32, dtype=np.uint32
    )
    return words.astype(np.uint32)


def _posterior(model: Any, levels: Tensor) -> Distribution:
    device = next(model.parameters()).device
    x = (levels.to(torch.get_default_dtype()) / 255).to(device)
    found: list[Distribution] = []

    def features(images: Tensor) -> Tensor:
        found.append(model.latent(images).posterior)
        return images

    in_one_group(features, x)
    return _rows(found[0], len(levels))


def _prior(model: Any, like: Distribution) -> Distribution:
    """The prior's family, of the shape of a posterior."""
    return model.prior.family.standard(_location(like))


def _rows(posterior: Distribution, n: int) -> Distribution:
    kind = type(posterior)
    if kind not in _FAMILIES:
        raise TypeError(
            f"bits-back coding knows normal, Laplace and Cauchy latents, not {kind.__name__}; "
            "use Codec(model, prior=QuantizedHistogram(...)) for its means"
        )
    return kind(_location(posterior)[:n], posterior.scale[:n])  # pyright: ignore


def _location(distribution: Any) -> Tensor:
    return distribution.loc


def _parameters(distribution: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    location, scale = (
        part.detach().cpu().double().flatten().numpy() / GRID
        for part in torch.broadcast_tensors(distribution.loc, distribution.scale)
    )
    # A posterior narrower than a cell would cost more than it must, not be wrong.
    return _FAMILIES[type(distribution)], location.clip(-_REACH, _REACH), scale.clip(0.05, None)


def _pop(coder: stream.stack.AnsCoder, distribution: Distribution) -> Tensor:
    cells = coder.decode(*_parameters(distribution))
    like = _location(distribution)
    return torch.from_numpy(cells.astype(np.float64) * GRID).to(like).view(like.shape)


def _push(coder: stream.stack.AnsCoder, distribution: Distribution, z: Tensor) -> None:
    cells = np.round(z.cpu().double().flatten().numpy() / GRID).astype(np.int32)
    coder.encode_reverse(cells, *_parameters(distribution))


def _output(model: Any, z: Tensor) -> Tensor:
    return in_one_group(lambda part: model.decoder(model.bottleneck.embed(part)), z)


def _push_pixels(coder: stream.stack.AnsCoder, model: Any, z: Tensor, levels: Tensor) -> None:
    steps: list[tuple[np.ndarray, np.ndarray]] = []

    def note(weights: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        assert known is not None
        steps.append((known, weights))
        return known

    walk_pixels(model.likelihood, _output(model, z), levels, note)
    for symbols, weights in reversed(steps):  # last in, first out
        coder.encode_reverse(symbols.astype(np.int32), _CATEGORICAL, weights)


def _pop_pixels(coder: stream.stack.AnsCoder, model: Any, z: Tensor) -> Tensor:
    def take(weights: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        del known
        return coder.decode(_CATEGORICAL, weights)

    return walk_pixels(model.likelihood, _output(model, z), None, take)
