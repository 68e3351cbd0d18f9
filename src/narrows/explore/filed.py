"""What one code takes in a file."""

import math
from dataclasses import dataclass

import torch

from narrows.autoencoder import Autoencoder
from narrows.codec import container
from narrows.codec.entropy import Writer
from narrows.codes import Code, length
from narrows.functional.conditionals import follow
from narrows.latent import Latent


@dataclass(frozen=True)
class Filed:
    """A code in a file of its own, as `narrows.Codec` writes it.

    Attributes:
        code: bytes of the code, in whole words of 4.
        header: bytes of everything else.
        bits: -log2 p(code), its cost in a file of many; None if the prior has none.
    """

    code: int
    header: int
    bits: float | None


@torch.no_grad()
def filed(model: Autoencoder, code: Code) -> Filed:
    """Writes a code under the model's prior and counts.

    Args:
        model: in eval.
        code: of one example, quantised by the prior.

    Raises:
        TypeError: if the prior cannot write codes.
        ValueError: if it has to be fitted first.
    """
    writer = Writer()
    follow(model.prior.conditionals(length(code), code), writer.put)
    notes, payload = writer.rounding.notes(), writer.finish()
    header = container.overhead(len(model.shape)) + len(notes)
    return Filed(len(payload), header, _bits(model, code))


def _bits(model: Autoencoder, code: Code) -> float | None:
    nothing = torch.zeros(length(code), 0)
    try:
        rate = model.prior.rate(Latent(z=nothing, code=code, features=nothing))
    except (ValueError, TypeError):
        return None
    return float(rate.sum()) / math.log(2)
