"""Symbols to bytes and back: a thin layer over constriction.

The range coder (`Writer`, `Reader`) is first in, first out, as autoregressive priors need. It loses
about 1.4e-4 bits each time it is called upon, since its range, a 64-bit number kept above 2^32, is
divided into 2^24 parts and the remainder is lost. So symbols of few values are coded several at a
time, 6 binary ones as one of 64. The `Stack` of bits-back coding is last in, first out.

Source: constriction (Bamler 2022, Understanding Entropy Coding With Asymmetric Numeral Systems);
range coding: Martin 1979.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (compiled)
from torch import Tensor

from narrows.codec.container import CodecError
from narrows.codec.rounding import Rounding
from narrows.functional.conditionals import Conditional, Result, Walk, follow

PARTS = 1 << 24
"""Probabilities are whole numbers of these parts, and at least one: of coder and estimate alike."""
_MARGIN = 2.0**-18  # of a part: some hundred rounding errors of probabilities in float64
_FAMILY = stream.model.Categorical(perfect=False)
_CHUNK = 1 << 22  # probabilities handed over at once
_BLOCK = 64  # values of several symbols that are coded as one
_SLACK = 96.0
"""Bits that symbols may hold beyond the payload: the state of the decoder."""


def frequencies(step: Conditional, rounding: Rounding) -> np.ndarray:
    """How many of `PARTS` each symbol has, `[m, K]` or `[K]` as the weights; K is at least 2.

    Sums of whole numbers are exact. Other weights were computed with some error, and what they
    are rounded to is settled between writer and reader.
    """
    weights = step.weights.detach().cpu().double().numpy()
    edges = _edges(weights)
    if step.weights.is_floating_point() and (weights % 1).any():
        needed = None
        if weights.ndim == 2 and step.known is not None and weights.shape[1] > _BLOCK:
            place = np.arange(edges.shape[1]) - _symbols(step)[:, None]
            needed = (place == 0) | (place == -1)  # the edges of the symbol itself
        edges = np.maximum.accumulate(rounding(edges, _MARGIN, needed), -1)
    return _between(np.rint(edges))


def _edges(weights: np.ndarray) -> np.ndarray:
    """Where the symbols' parts end but for the last, without the part that each has anyway."""
    below = np.maximum(weights, 0).cumsum(-1)
    return below[..., :-1] / below[..., -1:] * (PARTS - weights.shape[-1])


def _between(edges: np.ndarray) -> np.ndarray:
    last = PARTS - edges.shape[-1] - 1
    return np.diff(edges.astype(np.int64), axis=-1, prepend=0, append=last) + 1


class Writer:
    """Encodes the known symbols of a walk; `put` is what follows it."""

    def __init__(self, rounding: Rounding | None = None) -> None:
        self.rounding: Rounding = rounding or Rounding()
        self._coder = stream.queue.RangeEncoder()

    def put(self, step: Conditional) -> Tensor:
        """Encodes the symbols of a step, which must be known, and returns them."""
        assert step.known is not None
        for _, part in _parts(step):
            symbols = _symbols(part)
            for place, size, table in _blocks(frequencies(part, self.rounding), part.count):
                numbers = np.ravel_multi_index([*symbols[place].reshape(-1, len(size)).T], size)
                self._coder.encode(numbers.astype(np.int32), *_model(table))
        return step.known.to(step.weights.device)

    def finish(self) -> bytes:
        """All bytes written."""
        return self._coder.get_compressed().astype("<u4").tobytes()


class Reader:
    """Decodes what a `Writer` wrote; `take` is what follows the walk.

    Raises:
        CodecError: from every method, if the bytes cannot have been written so.
    """

    def __init__(self, payload: bytes, rounding: Rounding | None = None) -> None:
        if len(payload) % 4:
            raise CodecError(f"expected a payload of whole 32-bit words, got {len(payload)} bytes")
        self.rounding: Rounding = rounding or Rounding(b"")
        self._left = 8 * len(payload) + _SLACK
        self._coder = stream.queue.RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32))

    def take(self, step: Conditional) -> Tensor:
        """Decodes the symbols of a step, int64 `[m]`."""
        found = np.zeros(step.count, np.int64)
        for rows, part in _parts(step):
            for place, size, table in _blocks(frequencies(part, self.rounding), part.count):
                numbers = self._decode(table, (place.stop - place.start) // len(size))
                symbols = np.stack(np.unravel_index(numbers, size), 1)
                found[rows][place] = symbols.ravel()
        return torch.from_numpy(found).to(step.weights.device)

    def finish(self) -> None:
        """Refuses bytes that are left over."""
        if not self._coder.maybe_exhausted():
            raise CodecError("the payload is longer than its codes: not written by Codec.compress")

    def _decode(self, table: np.ndarray, count: int) -> np.ndarray:
        try:
            found = _decoded(self._coder, table, count)
        except AssertionError as error:
            raise CodecError("the payload is not a code under this prior") from error
        own = table[found] if table.ndim == 1 else table[np.arange(count), found]
        # A short file must not make a reader walk on for as long as its header says.
        self._left += float(np.log2(own / PARTS).sum())
        if self._left < 0:
            raise CodecError("the payload ends before its codes do: truncated or forged")
        return found


class Stack:
    """Symbols on top of each other: what one walk pushed, the same walk pops.

    Args:
        words: 32-bit words to begin with.
        rounding: shared with the networks.
    """

    def __init__(self, words: np.ndarray, rounding: Rounding | None = None) -> None:
        self.rounding: Rounding = rounding or Rounding()
        self._coder = stream.stack.AnsCoder(words)

    def __len__(self) -> int:
        """Number of words."""
        return self._coder.num_words()

    def words(self) -> np.ndarray:
        """All words."""
        return self._coder.get_compressed()

    def stir(self, seed: int, bits: float) -> None:
        """Adds random bits, the same for all stacks, to those on top; doing it again undoes it.

        What was pushed under a law that it does not follow leaves no random bits. Those that are
        popped next are then random all the same.

        Args:
            seed: of the random bits.
            bits: at least how many are popped next.
        """
        words = self._coder.get_compressed()
        top = words[:-1][-(int(bits) // 32 + 4) :]  # the last word must not become 0
        top ^= np.random.Generator(np.random.Philox(seed)).integers(
            2**32, size=len(top), dtype=np.uint32
        )
        self._coder = stream.stack.AnsCoder(words)

    def push(self, walk: Walk[Result]) -> Result:
        """Puts the known symbols of a walk on the stack, the last one first."""
        steps: list[tuple[np.ndarray, np.ndarray]] = []

        def note(step: Conditional) -> Tensor:
            assert step.known is not None
            tables = [
                (_symbols(part), frequencies(part, self.rounding)) for _, part in _parts(step)
            ]
            steps.extend(tables)
            return step.known

        result = follow(walk, note)
        for symbols, table in reversed(steps):
            self._coder.encode_reverse(symbols.astype(np.int32), *_model(table))
        return result

    def pop(self, walk: Walk[Result]) -> Result:
        """Takes the symbols of a walk off the stack."""
        return follow(walk, self._take)

    def _take(self, step: Conditional) -> Tensor:
        found = np.zeros(step.count, np.int64)
        for rows, part in _parts(step):
            found[rows] = _decoded(self._coder, frequencies(part, self.rounding), part.count)
        return torch.from_numpy(found)


def _model(table: np.ndarray) -> tuple[object, ...]:
    """The coder's model, and the parameters that each symbol has of its own.

    It gives each symbol one part and shares out the rest, so it keeps frequencies as they are.
    """
    rest = (table - 1).astype(np.float64)
    return (_FAMILY, rest) if rest.ndim == 2 else (stream.model.Categorical(rest, perfect=False),)


def _decoded(
    coder: stream.queue.RangeDecoder | stream.stack.AnsCoder, table: np.ndarray, count: int
) -> np.ndarray:
    model, *own = _model(table)
    return np.asarray(coder.decode(model, *(own or [count]))).astype(np.int64)


def _symbols(step: Conditional) -> np.ndarray:
    assert step.known is not None
    return step.known.cpu().numpy().astype(np.int64)


def _parts(step: Conditional) -> Iterator[tuple[slice, Conditional]]:
    """A step in parts of bounded memory; none where nothing is open."""
    size = step.weights.shape[-1]
    if size == 1 or not step.count:
        return
    each = step.count if step.weights.dim() == 1 else max(1, _CHUNK // size)
    for start in range(0, step.count, each):
        rows = slice(start, min(start + each, step.count))
        weights = step.weights if step.weights.dim() == 1 else step.weights[rows]
        known = None if step.known is None else step.known[rows]
        yield rows, Conditional(weights, rows.stop - start, known)


def _blocks(table: np.ndarray, count: int) -> Iterator[tuple[slice, tuple[int, ...], np.ndarray]]:
    """Which symbols, how many values those of one block have, and frequencies of the blocks."""
    size = table.shape[-1]
    each = max(1, int(math.log(_BLOCK, size) + 1e-9))
    whole = count // each * each
    for start, stop, width in ((0, whole, each), (whole, count, 1)):
        if start < stop:
            rows = table if table.ndim == 1 else table[start:stop]
            yield slice(start, stop), (size,) * width, _joint(rows, width)


def _joint(table: np.ndarray, width: int) -> np.ndarray:
    """Frequencies of `width` symbols as one, the first the most significant."""
    if width == 1:
        return table
    size = table.shape[-1]
    parts = [table] * width if table.ndim == 1 else [*table.reshape(-1, width, size).swapaxes(0, 1)]
    joint = parts[0] / PARTS
    for part in parts[1:]:
        joint = joint[..., :, None] * (part / PARTS)[..., None, :]
        joint = joint.reshape(*joint.shape[:-2], -1)
    return _between(np.rint(_edges(joint)))
