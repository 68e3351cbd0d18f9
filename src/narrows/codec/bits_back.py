"""Bits-back coding: a variational model's images at the cost of its evidence lower bound.

To write an image: read z off the stack under q(z | x) (which gives back log 1/q bits), then push
x under p(x | z) and z under p(z). The image costs -log p(x | z) + log q(z | x) - log p(z) bits,
whose mean is the negative evidence lower bound. Reading runs backwards.

Reading z needs random bits. Codes that p hardly expects leave none on the stack: draws from it lay
all at one end of q, and their images cost several per cent more. So random bits, alike in all
files, are added to those on top before each draw (`Stack.stir`).

The stack needs something on it before the first image: fixed words, which stay in the file. As
few as will do are used: the first image is written alone, and what it leaves on the stack serves
groups that grow up to 16. The payload says how many there are:

    4  number of first words          4 each  the stack, the first words and all that was pushed

Source: Townsend, Bird and Barber 2019, Practical Lossless Compression with Latent Variables Using
Bits Back Coding, arXiv:1901.04866. They cut z into cells of equal prior mass; ours are those of
`narrows.codec.grid`.
"""

import copy
import math
import struct
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from narrows.codec import grid
from narrows.codec.container import CodecError
from narrows.codec.entropy import PARTS, Stack, frequencies
from narrows.codec.rounding import Networks, Rounding
from narrows.functional.conditionals import Conditional, Walk, follow
from narrows.priors.factorial import Independent

GROUP = 16
_COUNT = struct.Struct("<I")
_FEWEST = 16
_DEPTHS = torch.arange(grid.DEEPEST + 1 - grid.COARSE, 0, -1) ** 4  # fine grids are rare


class _EmptyStackError(Exception):
    """A draw took more than there was."""


class BitsBack:
    """Images to bytes and back.

    Args:
        networks: of a model whose posterior has a place on the grid and whose likelihood gives
            256 levels.
        prior: of its random codes.

    Raises:
        TypeError: if the posterior's family has no place on the grid.
    """

    def __init__(self, networks: Networks, prior: Independent) -> None:
        self.networks: Networks = networks
        self.shape: tuple[int, ...] = networks.model.shape
        self.prior: Independent = copy.deepcopy(prior).cpu().double()
        self._posterior(torch.zeros(1, *self.shape), Rounding())

    def write(self, levels: Tensor) -> tuple[bytes, bytes]:
        """The bytes of images `[n, *shape]`, int64 in 0..255, and the notes on rounding."""
        count = _FEWEST if len(levels) else 0
        while True:
            rounding = Rounding()
            try:
                words = self._push(levels, Stack(_words(count), rounding))
            except _EmptyStackError:
                count += max(2, count // 8)  # nearly always the first image: little is redone
            else:
                return _COUNT.pack(count) + words.astype("<u4").tobytes(), rounding.notes()

    def read(self, payload: bytes, notes: bytes, *, n: int) -> Tensor:
        """The images `[n, *shape]`, int64 in 0..255.

        Raises:
            CodecError: if the bytes cannot have been written by `write` for n images.
        """
        count = first_words(payload)
        try:
            words = np.frombuffer(payload, "<u4", offset=_COUNT.size).astype(np.uint32)
            stack = Stack(words, Rounding(notes))
            images = self._pop(stack, n)
        except CodecError:
            raise
        except (AssertionError, ValueError) as error:
            raise CodecError("the payload is not a bits-back code of this model") from error
        words = stack.words()
        if len(words) != count or not np.array_equal(words, _words(count)):
            raise CodecError("the stack does not end where it began: damaged, or another model")
        return images

    def expected(self, levels: Tensor) -> float:
        """Bits that `write` should take for images `[n, *shape]`, its first words left out.

        The sum over images of KL(q || p) - log2 p(x | z), with one draw z from q for each.
        """
        bits, model = 0.0, self.networks.model

        def price(step: Conditional) -> Tensor:
            nonlocal bits
            assert step.known is not None
            table = torch.from_numpy(frequencies(step, Rounding()))
            bits -= float((table.gather(1, step.known[:, None]) / PARTS).log2().sum())
            return step.known

        for group in levels.split(GROUP):
            latent = model.latent(group.double() / 255)
            assert latent.posterior is not None
            bits += self.prior.rate(latent).sum().item() / math.log(2)
            output = model.decoder(model.bottleneck.embed(latent.posterior.sample().double()))
            follow(model.likelihood.level_conditionals(output, group), price)
        return bits

    def _push(self, levels: Tensor, stack: Stack) -> np.ndarray:
        likelihood = self.networks.model.likelihood
        for part, rows in enumerate(_growing(len(levels))):
            group = levels[rows]
            stack.rounding.begin(2 * part)
            q, p = self._posterior(group, stack.rounding)
            stack.stir(part, q.bits)
            draw = stack.pop(grid.draw(q, q.depth))
            if len(stack) < 2:  # with two words left, what was read was random
                raise _EmptyStackError
            stack.rounding.begin(2 * part + 1)
            output = self.networks.output(draw.values(p, q.depth), stack.rounding)
            stack.push(likelihood.level_conditionals(output, group))
            stack.push(grid.prior(p, q.depth, draw))
            stack.push(_one(_DEPTHS, q.depth - grid.COARSE))
        return stack.words()

    def _pop(self, stack: Stack, n: int) -> Tensor:
        likelihood = self.networks.model.likelihood
        images = torch.zeros(n, *self.shape, dtype=torch.long)
        for part, rows in reversed([*enumerate(_growing(n))]):
            depth = grid.COARSE + stack.pop(_one(_DEPTHS))
            p = self._standard(rows.stop - rows.start)
            draw = stack.pop(grid.prior(p, depth))
            stack.rounding.begin(2 * part + 1)
            output = self.networks.output(draw.values(p, depth), stack.rounding)
            images[rows] = stack.pop(likelihood.level_conditionals(output))
            if len(stack) < 2:  # `write` leaves two at this point
                raise CodecError("the payload ends before its images do: truncated or forged")
            stack.rounding.begin(2 * part)
            q, _ = self._posterior(images[rows], stack.rounding)
            stack.push(grid.draw(q, depth, draw))
            stack.stir(part, q.bits)
        return images

    def _posterior(self, levels: Tensor, rounding: Rounding) -> tuple[grid.Posterior, grid.Placed]:
        q, moved = map(grid.placed, self.networks.posteriors(levels, rounding))
        p = self._standard(len(levels))
        return grid.posterior(q, moved, p, rounding), p

    def _standard(self, n: int) -> grid.Placed:
        like = torch.zeros(n, *self.prior.sites, self.prior.dim, dtype=torch.float64)
        return grid.placed(self.prior.standard(like))


def _one(weights: Tensor, known: int | None = None) -> Walk[int]:
    """Walks over a single symbol."""
    symbol = yield Conditional(weights, 1, None if known is None else torch.tensor([known]))
    return int(symbol)


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
