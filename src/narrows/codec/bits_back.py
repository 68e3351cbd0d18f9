"""Bits-back coding: a variational model's images at the cost of its evidence lower bound.

To write an image: read z off the stack under q(z | x) (which gives back log 1/q bits), then push
x under p(x | z) and z under p(z). The image costs -log p(x | z) + log q(z | x) - log p(z) bits,
whose mean is the negative evidence lower bound. Reading runs backwards.

The stack needs something on it before the first image: fixed words, which stay in the file. As
few as will do are used: the first image is written alone, and what it leaves on the stack serves
groups that grow up to 16. The payload says how many there are:

    4  number of first words          4 each  the stack, the first words and all that was pushed

Source: Townsend, Bird and Barber 2019, Practical Lossless Compression with Latent Variables Using
Bits Back Coding, arXiv:1901.04866. They cut z into cells of equal prior mass; ours are those of
`narrows.codec.grid`.
"""

import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (compiled)
from torch import Tensor
from torch.distributions import Distribution

from narrows.codec.container import CodecError
from narrows.codec.deterministic import GROUP, groups, in_one_group, steady
from narrows.codec.grid import pop_posterior, pop_prior, push_posterior, push_prior
from narrows.codec.pixels import walk_pixels
from narrows.distributions import StudentT
from narrows.priors.factorial import Factorial
from narrows.priors.spike_and_slab import SpikeAndSlabPrior, SpikeSlab

_COUNT = struct.Struct("<I")
_FEWEST = 16
_CATEGORICAL = stream.model.Categorical(perfect=False)


class _EmptyStackError(Exception):
    """A draw took more than there was."""


def write(model: Any, prior: Factorial | SpikeAndSlabPrior, levels: Tensor) -> bytes:
    """The images' bytes.

    Args:
        model: an `Autoencoder` with a `Variational` or `SpikeAndSlab` bottleneck, in eval.
        prior: of its codes.
        levels: `[n, *shape]`, int64 in 0..255.
    """
    count = _FEWEST if len(levels) else 0
    with steady(), torch.no_grad():
        while True:
            try:
                words = _write(model, prior, levels, count)
            except _EmptyStackError:
                count += max(2, count // 8)  # nearly always the first image, so little is redone
            else:
                return _COUNT.pack(count) + words.astype("<u4").tobytes()


def read(model: Any, prior: Factorial | SpikeAndSlabPrior, payload: bytes, n: int) -> Tensor:
    """The images `[n, *shape]`, int64 in 0..255.

    Raises:
        CodecError: if the bytes cannot have been written by `write` for n images.
    """
    count = first_words(payload)
    out = torch.zeros(n, *model.shape, dtype=torch.long)
    with steady(), torch.no_grad():
        try:
            stack = stream.stack.AnsCoder(
                np.frombuffer(payload, "<u4", offset=_COUNT.size).astype(np.uint32)
            )
            for rows in reversed([*_groups(n)]):
                like = _posterior(model, out[rows])  # for its shape and family only
                draw = pop_prior(_standard(prior, like), stack)
                z = draw.values(_location(like))
                out[rows] = _pop_pixels(stack, model, z)
                if stack.num_words() < 2:  # `write` leaves two at this point
                    raise CodecError("the payload ends before its images do: truncated or forged")
                push_posterior(_posterior(model, out[rows]), stack, draw)
            words = stack.get_compressed()
        except (AssertionError, ValueError) as error:
            raise CodecError("the payload is no bits-back code of this model") from error
    if len(words) != count or not np.array_equal(words, _words(count)):
        raise CodecError(
            "the stack does not end where it began: written by another build or machine, whose "
            "networks differ in their last bits"
        )
    return out


@torch.no_grad()
def expected(model: Any, prior: Factorial | SpikeAndSlabPrior, levels: Tensor) -> float:
    """Bits that `write` should take for images `[n, *shape]`, its first words left out.

    The sum over images of KL(q || p) - log2 p(x | z), with one draw z from q for each.

    Raises:
        TypeError: if the likelihood says nothing about 256 levels.
    """
    bits = 0.0

    def price(weights: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        nonlocal bits
        assert known is not None
        bits -= np.log2(weights[np.arange(len(known)), known] / weights.sum(1)).sum()
        return known

    device = next(model.parameters()).device
    for rows in groups(len(levels)):
        latent = model.latent((levels[rows].to(torch.get_default_dtype()) / 255).to(device))
        bits += prior.rate(latent).double().sum().item() / math.log(2)
        z = model.bottleneck.embed(latent.posterior.sample())
        walk_pixels(model.likelihood, model.decoder(z), levels[rows], price)
    return float(bits)


def first_words(payload: bytes) -> int:
    """How many 32-bit words of a payload were on the stack before the first image.

    Raises:
        CodecError: if the payload is too short to say, or not of whole words.
    """
    if len(payload) % 4 or not payload:
        raise CodecError(f"expected a payload of whole 32-bit words, got {len(payload)} bytes")
    return _COUNT.unpack_from(payload)[0]


def _write(
    model: Any, prior: Factorial | SpikeAndSlabPrior, levels: Tensor, count: int
) -> np.ndarray:
    stack = stream.stack.AnsCoder(_words(count))
    for rows in _groups(len(levels)):
        group = levels[rows]
        posterior = _posterior(model, group)
        draw = pop_posterior(posterior, stack)
        if stack.num_words() < 2:  # with two words left, what was read was random
            raise _EmptyStackError
        _push_pixels(stack, model, draw.values(_location(posterior)), group)
        push_prior(_standard(prior, posterior), stack, draw)
    return stack.get_compressed()


def _groups(n: int) -> Iterator[slice]:
    """Slices of 1, 1, 2, 4, 8, 16, 16, ...: each no larger than all before it together."""
    start = 0
    while start < n:
        stop = min(n, start + min(GROUP, max(1, start)))
        yield slice(start, stop)
        start = stop


def _words(count: int) -> np.ndarray:
    """The first words: random, but the same in all files."""
    random = np.random.Generator(np.random.Philox(0))
    return random.integers(1, 2**32, size=count, dtype=np.uint32)


def _posterior(model: Any, levels: Tensor) -> Distribution:
    device = next(model.parameters()).device
    x = (levels.to(torch.get_default_dtype()) / 255).to(device)
    found: list[Distribution] = []

    def features(images: Tensor) -> Tensor:
        found.append(model.latent(images).posterior)
        return images

    in_one_group(features, x)
    return _rows(found[0], len(levels))


def _rows(posterior: Any, n: int) -> Distribution:
    """The posterior of the first n examples; one without a place on the grid as it is."""
    if not hasattr(posterior, "loc"):
        return posterior
    loc, scale = posterior.loc[:n], posterior.scale[:n]
    if isinstance(posterior, SpikeSlab):
        return SpikeSlab(posterior.logits[:n], loc, scale)
    if isinstance(posterior, StudentT):
        return StudentT(posterior.df, loc, scale)
    return type(posterior)(loc, scale)


def _standard(prior: Factorial | SpikeAndSlabPrior, like: Distribution) -> Distribution:
    """The prior's distribution, of the shape of a posterior."""
    part = prior.family if isinstance(prior, Factorial) else prior
    return part.standard(_location(like))


def _location(distribution: Any) -> Tensor:
    return distribution.loc


def _output(model: Any, z: Tensor) -> Tensor:
    return in_one_group(lambda part: model.decoder(model.bottleneck.embed(part)), z)


def _push_pixels(stack: stream.stack.AnsCoder, model: Any, z: Tensor, levels: Tensor) -> None:
    steps: list[tuple[np.ndarray, np.ndarray]] = []

    def note(weights: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        assert known is not None
        steps.append((known, weights))
        return known

    walk_pixels(model.likelihood, _output(model, z), levels, note)
    for symbols, weights in reversed(steps):  # last in, first out
        stack.encode_reverse(symbols.astype(np.int32), _CATEGORICAL, weights)


def _pop_pixels(stack: stream.stack.AnsCoder, model: Any, z: Tensor) -> Tensor:
    def take(weights: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        del known
        return stack.decode(_CATEGORICAL, weights)

    return walk_pixels(model.likelihood, _output(model, z), None, take)
