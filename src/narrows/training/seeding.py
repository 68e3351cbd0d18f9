"""Random numbers as a function of where training stands, so that nothing has to be replayed."""

import numpy as np
import torch


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seeds torch's generators for one optimiser step of one rank.

    Every step draws from its own stream, named by (seed, step, rank) and mixed by NumPy's
    `SeedSequence`. A run that is resumed at any step, or was never stopped, therefore draws the
    same numbers without a generator's state being kept, and ranks draw different ones.

    Args:
        seed: of the run, at least 0.
        step: counted from 0 over the whole run; -1 for what follows training.
        rank: of this process.
    """
    # The last word keeps streams of narrows' training apart from those of its batch order.
    words = np.random.SeedSequence((seed, step + 1, rank, 1)).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0] >> np.uint64(1)))
