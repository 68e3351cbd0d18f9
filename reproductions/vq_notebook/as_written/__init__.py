"""The notebook's layers as it wrote them, faults and all, to test its claims on.

Not for use: `narrows.bottlenecks.SoftmaxDictionary` and `VectorQuantizer` are the same ideas
without the faults.
"""

from reproductions.vq_notebook.as_written.dictionary import NotebookDictionaryAsWritten
from reproductions.vq_notebook.as_written.farthest_code import FarthestCode, FarthestCodeEma

__all__ = ["FarthestCode", "FarthestCodeEma", "NotebookDictionaryAsWritten"]
