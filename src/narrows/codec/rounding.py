"""Rounding that comes out alike on every machine, and networks whose outputs are rounded so.

Two machines agree on what a network computes but for the last digits: other kernels, threads,
memory formats and batches add up in another order. A file can be read only where the reader finds
the very probabilities of the writer. So networks run in float64 here, on the CPU, and their outputs
are rounded to multiples of 2^-12. Where an output lies so close to half way between two multiples
that another machine might take the other one, the writer notes in the file which one it took.

How close is measured: each batch runs a second time with its input moved by 2^-44, some hundred
rounding errors of float64. Whatever that changes, and 2^-24 of a multiple besides, is the margin.

Source: the idea of exact networks for entropy coding is of Ballé, Johnston and Minnen (Integer
Networks for Data Compression with Latent-Variable Models, ICLR 2019), who train with integers.
"""

import copy
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from narrows.autoencoder import Autoencoder
from narrows.codec.container import CodecError
from narrows.codes import Code, apply

Found = TypeVar("Found")

STEP = 2.0**-12
"""Outputs of networks are rounded to multiples of it."""
_NUDGE = 2.0**-44


class Rounding:
    """Rounds to whole numbers; a writer notes close calls, a reader follows the notes.

    Args:
        notes: the writer's; None to be the writer.

    Raises:
        CodecError: if the notes are damaged.

    Example:
        >>> import numpy as np
        >>> writer = Rounding()
        >>> writer(np.array([0.2, 2.5 - 1e-9]), 1e-6)
        array([0, 2])
        >>> Rounding(writer.notes())(np.array([0.2, 2.5 + 1e-9]), 1e-6)
        array([0, 2])
    """

    def __init__(self, notes: bytes | None = None) -> None:
        self.writing: bool = notes is None
        self._noted: dict[int, int] = dict(_parsed(notes or b""))
        self._places = np.array([*self._noted], np.int64)
        self._place = 0

    def begin(self, part: int) -> None:
        """Numbers what follows as a part of its own, which a reader may come to in any order."""
        self._place = part << 44

    def __call__(
        self, x: np.ndarray, margin: float | np.ndarray, matters: np.ndarray | None = None
    ) -> np.ndarray:
        """The nearest whole numbers, int64.

        Args:
            x: finite numbers.
            margin: how far another machine's numbers may be from these.
            matters: where the result is needed; what lies elsewhere is not noted.
        """
        whole = np.rint(x)
        first, self._place = self._place, self._place + x.size
        if self.writing:
            close = 0.5 - np.abs(x - whole) < margin
            places = np.flatnonzero(close if matters is None else close & matters)
            self._noted |= {first + int(i): int(whole.flat[i]) & 1 for i in places}
        else:
            low, high = np.searchsorted(self._places, [first, self._place])
            for i in self._places[low:high] - first:
                if int(whole.flat[i]) & 1 != self._noted[first + int(i)]:
                    whole.flat[i] += 1 if x.flat[i] > whole.flat[i] else -1
        return whole.astype(np.int64)

    def settle(self, x: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """The nearest whole numbers of what a network gave.

        Args:
            x: what it gave.
            moved: the same where its input was moved (see `both`).

        Raises:
            ValueError: if it is not finite.
        """
        if not np.isfinite(x).all():
            raise ValueError("expected finite outputs of the networks, got NaN or infinite ones")
        noise = 2 * np.abs(x - moved).max(initial=0.0)
        return self(x, noise + 2.0**-24 + 2.0**-42 * np.abs(x))

    def notes(self) -> bytes:
        """Gaps between the noted places and the last bits of the numbers there, 7 bits a byte."""
        found, last = bytearray(), 0
        for place, parity in sorted(self._noted.items()):
            rest, last = (place - last) << 1 | parity, place
            while rest > 127:
                found.append(rest & 127 | 128)
                rest >>= 7
            found.append(rest)
        return bytes(found)


def _parsed(notes: bytes) -> Iterator[tuple[int, int]]:
    place = number = shift = 0
    for byte in notes:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            place += number >> 1
            yield place, number & 1
            number = shift = 0
        if shift > 63 or place >= 1 << 62:
            raise CodecError("the notes on rounding make no sense: not written by Codec.compress")
    if shift:
        raise CodecError("the notes on rounding end before their last: truncated or forged")


class Networks:
    """A copy of a model in float64 on the CPU, contiguous and in eval.

    Args:
        model: it is copied as it is now.

    Raises:
        TypeError: if its decoder does not compute in float64.
    """

    def __init__(self, model: Autoencoder) -> None:
        self.model: Autoencoder = copy.deepcopy(model).cpu().double().eval().requires_grad_(False)
        for held in chain(self.model.parameters(), self.model.buffers()):
            held.data = held.data.contiguous()
        zeros = torch.zeros(1, *model.sites, model.bottleneck.out_features, dtype=torch.float64)
        kind = self.model.decoder(zeros).dtype
        if kind != torch.float64:
            raise TypeError(
                "lossless coding evaluates networks in float64, and "
                f"{type(model.decoder).__name__} gave {kind}; let it compute in its weights' type"
            )

    def output(self, code: Code, rounding: Rounding) -> Tensor:
        """What the decoder gives for a code, in multiples of `STEP`."""
        exact = apply(lambda t: t.double() if t.is_floating_point() else t, code)
        z = self.model.bottleneck.embed(exact)
        output, moved = (part / STEP for part in both(self.model.decoder, z, rounding))
        return torch.from_numpy(rounding.settle(output.numpy(), moved.numpy())) * STEP

    def posteriors(self, levels: Tensor, rounding: Rounding) -> tuple[Distribution, Distribution]:
        """q(code | image) of images in 0..255, and that of images moved a little."""

        def posterior(unit: Tensor) -> Distribution:
            found = self.model.latent(unit).posterior
            assert found is not None
            return found

        return both(posterior, levels.double() / 255, rounding)


def both(network: Callable[[Tensor], Found], x: Tensor, rounding: Rounding) -> tuple[Found, Found]:
    """network(x), and for a writer that of x moved by some hundred times its rounding error."""
    found = network(x)
    return found, network(x + _NUDGE * (x.abs() + 1)) if rounding.writing else found
