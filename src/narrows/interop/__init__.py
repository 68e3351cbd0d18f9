"""Bottlenecks in the models of other libraries, and their encoders in narrows' models.

`swap` puts a bottleneck into a model in place of its own; `cache` writes the latents of a data set,
on which bottlenecks are compared; `Pretrained` makes its encoder and decoder a network.
`write_saelens`, `read_saelens` and `read_dictionary_learning` exchange sparse autoencoders;
`read_foreign` finds out whose files a folder holds.
`record` writes the activations of any layer to the disk, `record_text` those of a `Language` model.
"""

from narrows.interop.activations import record as record
from narrows.interop.cache import cache as cache
from narrows.interop.dictionary_learning import (
    read_dictionary_learning as read_dictionary_learning,
)
from narrows.interop.foreign import read_foreign as read_foreign
from narrows.interop.language import Language as Language
from narrows.interop.language import read_texts as read_texts
from narrows.interop.language import record_text as record_text
from narrows.interop.parts import Parts as Parts
from narrows.interop.parts import Swapped as Swapped
from narrows.interop.parts import parts as parts
from narrows.interop.parts import swap as swap
from narrows.interop.pretrained import Pretrained as Pretrained
from narrows.interop.saelens import read_saelens as read_saelens
from narrows.interop.saelens import write_saelens as write_saelens
from narrows.interop.splicing import LossRecovered as LossRecovered
from narrows.interop.splicing import loss_recovered as loss_recovered

__all__ = [
    "Language",
    "LossRecovered",
    "Parts",
    "Pretrained",
    "Swapped",
    "cache",
    "loss_recovered",
    "parts",
    "read_dictionary_learning",
    "read_foreign",
    "read_saelens",
    "read_texts",
    "record",
    "record_text",
    "swap",
    "write_saelens",
]
