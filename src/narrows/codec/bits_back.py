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

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from narrows.autoencoder import Autoencoder
from narrows.codec import grid
from narrows.codec.container import CodecError
from narrows.codec.deterministic import GROUP, deterministic, groups, in_one_group
from narrows.codec.entropy import Stack
from narrows.distributions import SpikeSlab
from narrows.functional.conditionals import Conditional, follow
from narrows.modes import evaluating
from narrows.priors.factorial import Independent

_COUNT = struct.Struct("<I")
_FEWEST = 16


class _EmptyStackError(Exception):
    """A draw took more than there was."""


class BitsBack:
    """Images to bytes and back.

    Args:
        model: its posterior has a place on the grid, its likelihood gives 256 levels. It must be
            in eval when images are written and read.
        prior: of its random codes.

    Raises:
        TypeError: if the posterior's family has no place on the grid.
    """

    def __init__(self, model: Autoencoder, prior: Independent) -> None:
        self.model: Autoencoder = model
        self.prior: Independent = prior
        self.device: torch.device = next(model.parameters()).device
        with torch.no_grad(), evaluating(model):
            grid.placed(model.latent(torch.zeros(0, *model.shape, device=self.device)).posterior)

    @torch.no_grad()
    def write(self, levels: Tensor) -> bytes:
        """The bytes of images `[n, *shape]`, int64 in 0..255."""
        count = _FEWEST if len(levels) else 0
        with deterministic():
            while True:
                try:
                    words = self._push(levels, count)
                except _EmptyStackError:
                    count += max(2, count // 8)  # nearly always the first image: little is redone
                else:
                    return _COUNT.pack(count) + words.astype("<u4").tobytes()

    @torch.no_grad()
    def read(self, payload: bytes, n: int) -> Tensor:
        """The images `[n, *shape]`, int64 in 0..255.

        Raises:
            CodecError: if the bytes cannot have been written by `write` for n images.
        """
        count = first_words(payload)
        with deterministic():
            try:
                stack = Stack(np.frombuffer(payload, "<u4", offset=_COUNT.size).astype(np.uint32))
                images = self._pop(stack, n)
            except (AssertionError, ValueError) as error:
                raise CodecError("the payload is no bits-back code of this model") from error
        words = stack.words()
        if len(words) != count or not np.array_equal(words, _words(count)):
            raise CodecError(
                "the stack does not end where it began: written by another build or machine, whose "
                "networks differ in their last bits"
            )
        return images

    @torch.no_grad()
    def expected(self, levels: Tensor) -> float:
        """Bits that `write` should take for images `[n, *shape]`, its first words left out.

        The sum over images of KL(q || p) - log2 p(x | z), with one draw z from q for each.
        """
        bits = 0.0

        def price(step: Conditional) -> Tensor:
            nonlocal bits
            assert step.known is not None
            chosen = step.weights.gather(1, step.known.to(step.weights.device)[:, None])[:, 0]
            bits -= float((chosen / step.weights.sum(1)).log2().sum())
            return step.known

        for rows in groups(len(levels)):
            latent = self.model.latent(self._unit(levels[rows]))
            assert latent.posterior is not None
            bits += self.prior.rate(latent).double().sum().item() / math.log(2)
            z = self.model.bottleneck.embed(latent.posterior.sample())
            output = self.model.decoder(z)
            follow(self.model.likelihood.level_conditionals(output, levels[rows]), price)
        return bits

    def _push(self, levels: Tensor, count: int) -> np.ndarray:
        stack = Stack(_words(count))
        for rows in _growing(len(levels)):
            group = levels[rows]
            q = self._posterior(group)
            draw = stack.pop(grid.posterior(q))
            if len(stack) < 2:  # with two words left, what was read was random
                raise _EmptyStackError
            output = self._output(draw.values(q.loc))
            stack.push(self.model.likelihood.level_conditionals(output, group))
            stack.push(grid.prior(self._standard(q.loc), draw))
        return stack.words()

    def _pop(self, stack: Stack, n: int) -> Tensor:
        images = torch.zeros(n, *self.model.shape, dtype=torch.long)
        for rows in reversed([*_growing(n)]):
            like = self._posterior(images[rows]).loc  # for its shape only
            draw = stack.pop(grid.prior(self._standard(like)))
            output = self._output(draw.values(like))
            images[rows] = stack.pop(self.model.likelihood.level_conditionals(output)).cpu()
            if len(stack) < 2:  # `write` leaves two at this point
                raise CodecError("the payload ends before its images do: truncated or forged")
            stack.push(grid.posterior(self._posterior(images[rows]), draw))
        return images

    def _standard(self, like: Tensor) -> grid.Placed | SpikeSlab:
        return grid.placed(self.prior.standard(like))

    def _unit(self, levels: Tensor) -> Tensor:
        return (levels.to(torch.get_default_dtype()) / 255).to(self.device)

    def _posterior(self, levels: Tensor) -> grid.Placed | SpikeSlab:
        found: list[Distribution | None] = []

        def features(images: Tensor) -> Tensor:
            found.append(self.model.latent(images).posterior)
            return images

        in_one_group(features, self._unit(levels))
        return grid.rows(grid.placed(found[0]), len(levels))

    def _output(self, code: Tensor) -> Tensor:
        return in_one_group(
            lambda part: self.model.decoder(self.model.bottleneck.embed(part)), code
        )


def first_words(payload: bytes) -> int:
    """How many 32-bit words of a payload were on the stack before the first image.

    Raises:
        CodecError: if the payload is too short to say, or not of whole words.
    """
    if len(payload) % 4 or not payload:
        raise CodecError(f"expected a payload of whole 32-bit words, got {len(payload)} bytes")
    return _COUNT.unpack_from(payload)[0]


def _growing(n: int) -> Iterator[slice]:
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
