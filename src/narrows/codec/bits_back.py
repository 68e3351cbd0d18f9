"""Bits-back coding: a variational model's images at the cost of its evidence lower bound.

To write an image: read z off the stack under q(z | x) (which gives back log 1/q bits), then push
x under p(x | z) and z under p(z). The image costs -log p(x | z) + log q(z | x) - log p(z) bits,
whose mean is the negative evidence lower bound. Reading runs backwards.

The stack needs something on it before the first image: fixed words, which stay in the file.

Source: Townsend, Bird and Barber 2019, Practical Lossless Compression with Latent Variables Using
Bits Back Coding, arXiv:1901.04866. They cut z into cells of equal prior mass; we use a regular
grid of width 2^-6, which needs no inverse distribution function, and cut q off far from its
centre: a coder gives every cell at least 2^-24, and a draw from a cell 100 deviations away, rare as
it is, would cost thousands of bits of pixels. A cut q is just another q.
"""

from collections.abc import Iterator
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
_PRIORS = {
    Normal: stream.model.QuantizedGaussian(-_REACH, _REACH),
    Laplace: stream.model.QuantizedLaplace(-_REACH, _REACH),
    Cauchy: stream.model.QuantizedCauchy(-_REACH, _REACH),
}
_CUT = {Normal: 5.0, Laplace: 12.0, Cauchy: 60.0}
"""Scales from the centre at which q is cut off."""


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
            z = _pop_posterior(coder, posterior)
            _push_pixels(coder, model, z, group)
            _push_prior(coder, _prior(model, posterior), z)
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
                z = _pop_prior(coder, _prior(model, like))
                out[rows] = _pop_pixels(coder, model, z)
                _push_posterior(coder, _posterior(model, out[rows]), z)
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
    if kind not in _PRIORS:
        raise TypeError(
            f"bits-back coding knows normal, Laplace and Cauchy latents, not {kind.__name__}; "
            "use Codec(model, prior=QuantizedHistogram(...)) for its means"
        )
    return kind(_location(posterior)[:n], posterior.scale[:n])  # pyright: ignore


def _location(distribution: Any) -> Tensor:
    return distribution.loc


def _pop_prior(coder: stream.stack.AnsCoder, prior: Distribution) -> Tensor:
    cells = coder.decode(*_on_grid(prior))
    return _place(cells, _location(prior))


def _push_prior(coder: stream.stack.AnsCoder, prior: Distribution, z: Tensor) -> None:
    coder.encode_reverse(_cells(z).clip(-_REACH, _REACH).astype(np.int32), *_on_grid(prior))


def _on_grid(prior: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    location, scale = (_flat(part) / GRID for part in (prior.loc, prior.scale))
    return _PRIORS[type(prior)], location, scale


def _pop_posterior(coder: stream.stack.AnsCoder, posterior: Distribution) -> Tensor:
    like = _location(posterior)
    cells = np.zeros(like.numel(), np.int64)
    for chosen, first, weights in _windows(posterior):
        cells[chosen] = first + coder.decode(_CATEGORICAL, weights)
    return _place(cells, like)


def _push_posterior(coder: stream.stack.AnsCoder, posterior: Distribution, z: Tensor) -> None:
    cells = _cells(z)
    for chosen, first, weights in reversed([*_windows(posterior)]):
        place = cells[chosen] - first
        if ((place < 0) | (place >= weights.shape[1])).any():
            raise CodecError(
                "a draw lies where its posterior gives none: damaged, or another build"
            )
        coder.encode_reverse(place.astype(np.int32), _CATEGORICAL, weights)


def _windows(posterior: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Dimensions of like width: which, the first cell of each, masses `[m, cells]`.

    Windows are powers of two wide, so that few calls of the coder serve all dimensions.
    """
    kind = type(posterior)
    scale = _flat(posterior.scale)
    sizes = 2 ** np.ceil(np.log2(2 * _CUT[kind] * scale / GRID)).clip(3, 11).astype(np.int64)
    half = sizes // 2
    centre = np.round(_flat(posterior.loc) / GRID).clip(half - _REACH, _REACH - half)
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        first = centre[chosen].astype(np.int64) - size // 2
        edges = (first[:, None] + np.arange(size + 1) - 0.5) * GRID
        own = kind(
            torch.from_numpy(_flat(posterior.loc)[chosen, None]),
            torch.from_numpy(scale[chosen, None]),
            validate_args=False,
        )
        mass = own.cdf(torch.from_numpy(edges)).diff(dim=1).numpy()
        yield chosen, first, np.maximum(np.round(mass * 2**32), 1.0)


def _flat(part: Tensor) -> np.ndarray:
    return part.detach().cpu().double().flatten().numpy()


def _cells(z: Tensor) -> np.ndarray:
    return np.round(_flat(z) / GRID).astype(np.int64)


def _place(cells: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(cells, np.float64) * GRID).to(like).view(like.shape)


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
