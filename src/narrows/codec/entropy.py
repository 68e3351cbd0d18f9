"""Symbols to bytes and back under integer weights: a thin layer over constriction.

The range coder is first in, first out, as autoregressive priors need; its cost is the
information content of the symbols to within about 2^-24 a symbol and 32 bits in all.

Source: constriction (Bamler 2022, Understanding Entropy Coding With Asymmetric Numeral Systems).
"""

from typing import Any, Protocol

import numpy as np
from constriction import stream  # pyright: ignore[reportAttributeAccessIssue] (compiled)

from narrows.codec.container import CodecError

_FAMILY = stream.model.Categorical(perfect=False)
_CHUNK = 1 << 22  # weights handed over at once
_LEAST = 2.0**-24  # probability that the coder gives any symbol
_SLACK = 192.0
"""Bits that may be left to read when the last word is in the decoder, whose state holds 64."""


class Channel(Protocol):
    """Either end of the stream: the writer is given symbols and returns them, the reader finds
    them. One function can so describe a format for both directions.
    """

    writing: bool

    def each(self, symbols: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
        """m symbols under a row of weights each, `[m, K]`."""
        ...

    def alike(self, symbols: np.ndarray | None, weights: np.ndarray, m: int) -> np.ndarray:
        """m symbols under the same weights `[K]`."""
        ...


class Writer:
    """Encodes."""

    writing = True

    def __init__(self) -> None:
        self._coder = stream.queue.RangeEncoder()

    def each(self, symbols: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
        """Encodes symbols `[m]` under weights `[m, K]`."""
        assert symbols is not None
        if weights.shape[1] > 1:
            rows = max(1, _CHUNK // weights.shape[1])
            for start in range(0, len(symbols), rows):
                part = slice(start, start + rows)
                self._coder.encode(
                    symbols[part].astype(np.int32), _FAMILY, weights[part].astype(np.float64)
                )
        return symbols

    def alike(self, symbols: np.ndarray | None, weights: np.ndarray, m: int) -> np.ndarray:
        """Encodes symbols `[m]` under weights `[K]`."""
        assert symbols is not None
        if len(weights) > 1 and m:
            table = stream.model.Categorical(weights.astype(np.float64), perfect=False)
            self._coder.encode(symbols.astype(np.int32), table)
        return symbols

    def finish(self) -> bytes:
        """All bytes written."""
        return self._coder.get_compressed().astype("<u4").tobytes()


class Reader:
    """Decodes what a `Writer` wrote.

    Raises:
        CodecError: from every method, if the bytes cannot have been written so.
    """

    writing = False

    def __init__(self, payload: bytes) -> None:
        if len(payload) % 4:
            raise CodecError(f"expected a payload of whole 32-bit words, got {len(payload)} bytes")
        self._beyond = 0.0
        self._coder = stream.queue.RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32))

    def each(self, symbols: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
        """Decodes one symbol for each row of weights `[m, K]`."""
        del symbols
        m, size = weights.shape
        if size == 1 or not m:
            return np.zeros(m, np.int64)
        rows = max(1, _CHUNK // size)
        parts = []
        for start in range(0, m, rows):
            part = weights[start : start + rows].astype(np.float64)
            parts.append(self._decode(_FAMILY, part, part))
        return np.concatenate(parts).astype(np.int64)

    def alike(self, symbols: np.ndarray | None, weights: np.ndarray, m: int) -> np.ndarray:
        """Decodes m symbols under weights `[K]`."""
        del symbols
        if len(weights) == 1 or not m:
            return np.zeros(m, np.int64)
        table = stream.model.Categorical(weights.astype(np.float64), perfect=False)
        return self._decode(table, m, weights).astype(np.int64)

    def finish(self) -> None:
        """Refuses bytes that are left over."""
        if not self._coder.maybe_exhausted():
            raise CodecError("the payload is longer than its codes: not written by Codec.compress")

    def _decode(self, model: Any, of: np.ndarray | int, weights: np.ndarray) -> np.ndarray:
        ended = self._coder.maybe_exhausted()
        try:
            found = np.asarray(self._coder.decode(model, of))
        except AssertionError as error:
            raise CodecError("the payload is no code under this prior") from error
        if ended:
            self._count_beyond(found, weights)
        return found

    def _count_beyond(self, symbols: np.ndarray, weights: np.ndarray) -> None:
        """Refuses symbols that a payload which has ended cannot have held.

        Without this a short file could make a decoder walk on for as long as its header says.
        """
        rows = np.atleast_2d(weights).astype(np.float64)
        own = rows[np.arange(len(symbols)) if len(rows) > 1 else 0, symbols]
        total = rows.sum(1)
        self._beyond += float(np.log2(total / np.maximum(own, total * _LEAST)).sum())
        if self._beyond > _SLACK:
            raise CodecError("the payload ends before its codes do: truncated or forged")


def whole_numbers(channel: Channel, values: np.ndarray | None, m: int) -> np.ndarray:
    """m integers d >= 1, of any size below 2^53, at about 2 log2 d + 1 bits (Elias gamma)."""
    halves = 2.0 ** -np.arange(1, 54)
    if values is not None:
        values = values.astype(np.int64)
        length = np.array([int(value).bit_length() for value in values], np.int64)
        channel.alike(length - 1, halves, m)
    else:
        length = channel.alike(None, halves, m) + 1
    out = np.ones(m, np.int64)
    for bit in range(int(length.max(initial=1)) - 1):
        more = np.flatnonzero(length - 1 > bit)
        known = None
        if values is not None:
            known = (values[more] >> (length[more] - 2 - bit)) & 1
        out[more] = 2 * out[more] + channel.alike(known, np.ones(2), len(more))
    return out
