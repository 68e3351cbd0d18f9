"""What vectors take in a real file."""

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codec import Codec
from narrows.data.dataset import Split


def file_bits(model: Autoencoder, examples: Split | Tensor, *, most: int = 512) -> float:
    """Bits a vector of a compressed file of examples, without its header: bits a token of text.

    The code is rounded to the prior's step, as `model.reconstruct` has it: quote it beside the
    error, or the loss recovered, of that.

    Args:
        model: trained, so that its prior is fitted.
        examples: `[n, d]`.
        most: leading examples that are written.

    Raises:
        ValueError: if there is no example.
        CodecError: if the code cannot be written.
    """
    rows = torch.arange(min(most, len(examples)))
    if not len(rows):
        raise ValueError("expected at least one example to write, got none")
    blob = Codec(model).compress(
        examples.batch(rows) if isinstance(examples, Split) else examples[rows]
    )
    return (8 * len(blob) - Codec.header_bits(blob)) / len(rows)
