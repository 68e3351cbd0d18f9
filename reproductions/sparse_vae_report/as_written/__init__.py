"""The report's model as its code ran, faults and all, to test its claims on.

Not for use: `narrows.bottlenecks.SparseDictionary` is the same idea without the faults.
"""

from reproductions.sparse_vae_report.as_written.sparse_vae import AthaydeSparse
from reproductions.sparse_vae_report.as_written.steps_twice import StepsTwice

__all__ = ["AthaydeSparse", "StepsTwice"]
