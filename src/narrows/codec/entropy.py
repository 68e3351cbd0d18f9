"""Symbols to bytes and back under integer weights: a thin layer over constriction.

The range coder (`Writer`, `Reader`) is first in, first out, as autoregressive priors need; its cost
is the information content of the symbols to within about 2^-24 a symbol and 32 bits in all. The
`Stack` of bits-back coding is last in, first out.

Source: constriction (Bamler 2022, Understanding Entropy Coding With Asymmetric Numeral Systems).
"""

from collections.abc import Generator, Iterator
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (compiled)
from torch import Tensor

from narrows.codec.container import CodecError
from narrows.functional.conditionals import Conditional, follow

Result = TypeVar("Result")

_FAMILY = stream.model.Categorical(perfect=False)
_CHUNK = 1 << 22  # weights handed over at once
_LEAST = 2.0**-24  # probability that the coder gives any symbol
_SLACK = 192.0
"""Bits that symbols may hold beyond the payload: the state of the decoder, and rounding."""


class Writer:
    """Encodes the known symbols of a walk; `put` is what follows it."""

    def __init__(self) -> None:
        self._coder = stream.queue.RangeEncoder()

    def put(self, step: Conditional) -> Tensor:
        """Encodes the symbols of a step, which must be known, and returns them."""
        assert step.known is not None
        symbols = step.known.cpu().numpy().astype(np.int32)
        for part, weights in _parts(step):
            if weights.ndim == 1:
                self._coder.encode(symbols[part], _table(weights))
            else:
                self._coder.encode(symbols[part], _FAMILY, weights)
        return step.known.to(step.weights.device)

    def finish(self) -> bytes:
        """All bytes written."""
        return self._coder.get_compressed().astype("<u4").tobytes()


class Reader:
    """Decodes what a `Writer` wrote; `take` is what follows the walk.

    Raises:
        CodecError: from every method, if the bytes cannot have been written so.
    """

    def __init__(self, payload: bytes) -> None:
        if len(payload) % 4:
            raise CodecError(f"expected a payload of whole 32-bit words, got {len(payload)} bytes")
        # The coder rounds probabilities to multiples of 2^-24: rare symbols cost a little less.
        self._left = 1.1 * 8 * len(payload) + _SLACK
        self._coder = stream.queue.RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32))

    def take(self, step: Conditional) -> Tensor:
        """Decodes the symbols of a step, int64 `[m]`."""
        found = np.zeros(step.count, np.int64)
        for part, weights in _parts(step):
            found[part] = self._decode(weights, part.stop - part.start)
        return torch.from_numpy(found).to(step.weights.device)

    def finish(self) -> None:
        """Refuses bytes that are left over."""
        if not self._coder.maybe_exhausted():
            raise CodecError("the payload is longer than its codes: not written by Codec.compress")

    def _decode(self, weights: np.ndarray, count: int) -> np.ndarray:
        try:
            if weights.ndim == 1:
                found = np.asarray(self._coder.decode(_table(weights), count))
                own = weights[found]
            else:
                found = np.asarray(self._coder.decode(_FAMILY, weights))
                own = weights[np.arange(count), found]
        except AssertionError as error:
            raise CodecError("the payload is no code under this prior") from error
        # A short file must not make a reader walk on for as long as its header says.
        p = np.maximum(own / weights.sum(-1), _LEAST)
        self._left += float(np.log2(p).sum())
        if self._left < 0:
            raise CodecError("the payload ends before its codes do: truncated or forged")
        return found


class Located(NamedTuple):
    """m symbols, grid cells under a family of distributions with places and widths of their own.

    Attributes:
        family: the coder's model.
        location: in cells, `[m]`.
        scale: in cells, `[m]`.
        known: the cells `[m]` that are written; None when they are read.
    """

    family: object
    location: np.ndarray
    scale: np.ndarray
    known: Tensor | None = None


GridWalk: TypeAlias = Generator[Conditional | Located, Tensor, Result]


class Stack:
    """Symbols on top of each other: what one walk pushed, the same walk pops.

    Args:
        words: 32-bit words to begin with.
    """

    def __init__(self, words: np.ndarray) -> None:
        self._coder = stream.stack.AnsCoder(words)

    def __len__(self) -> int:
        """Number of words."""
        return self._coder.num_words()

    def words(self) -> np.ndarray:
        """All words."""
        return self._coder.get_compressed()

    def push(self, walk: GridWalk[Result]) -> Result:
        """Puts the known symbols of a walk on the stack, the last one first."""
        steps: list[tuple[np.ndarray, tuple[object, ...]]] = []

        def note(step: Conditional | Located) -> Tensor:
            assert step.known is not None
            steps.append((step.known.cpu().numpy().astype(np.int32), _distribution(step)))
            return step.known

        result = follow(walk, note)
        for symbols, model in reversed(steps):
            self._coder.encode_reverse(symbols, *model)
        return result

    def pop(self, walk: GridWalk[Result]) -> Result:
        """Takes the symbols of a walk off the stack."""
        return follow(walk, self._take)

    def _take(self, step: Conditional | Located) -> Tensor:
        model, *parameters = _distribution(step)
        found = self._coder.decode(model, *(parameters or [step.count]))
        return torch.from_numpy(found.astype(np.int64))


def _distribution(step: Conditional | Located) -> tuple[object, ...]:
    """The coder's model of a step, and the parameters that each symbol has of its own."""
    if isinstance(step, Located):
        return step.family, step.location, step.scale
    weights = step.weights.cpu().numpy().astype(np.float64)
    return (_table(weights),) if weights.ndim == 1 else (_FAMILY, weights)


def _table(weights: np.ndarray) -> object:
    """The coder's model of symbols that share one row of weights."""
    return stream.model.Categorical(weights, perfect=False)


def _parts(step: Conditional) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of a step's symbols with their weights in float64; none where nothing is open."""
    size = step.weights.shape[-1]
    if size == 1 or not step.count:
        return
    weights = step.weights.cpu().numpy()
    each = step.count if weights.ndim == 1 else max(1, _CHUNK // size)
    for start in range(0, step.count, each):
        part = slice(start, min(start + each, step.count))
        rows = weights if weights.ndim == 1 else weights[part]
        yield part, rows.astype(np.float64)
