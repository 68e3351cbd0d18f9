"""Bottlenecks as two public documents wrote them, faults and all, to test their claims on.

Not for use: `narrows.bottlenecks.SparseDictionary` and `narrows.bottlenecks.SoftmaxDictionary`
are the same ideas without the faults. Nothing else in the package builds on this folder.
"""

from narrows.experiments.as_written.athayde_sparse import AthaydeSparse
from narrows.experiments.as_written.farthest_code import FarthestCode
from narrows.experiments.as_written.notebook_dictionary import NotebookDictionaryAsWritten
from narrows.experiments.as_written.steps_twice import StepsTwice

__all__ = ["AthaydeSparse", "FarthestCode", "NotebookDictionaryAsWritten", "StepsTwice"]
