"""A course's guide of 2023 to plain, variational and vector-quantised autoencoders.

`models.py` and `convolutional.py` train what the claims compare; each other file tests a few,
`remarks` what it says in passing. Begin with `errors.py`; docs/documents/002.md says what was
found.
"""

from reproductions.autoencoder_guide import (
    derivations,
    errors,
    gradients,
    layout,
    linear,
    noise,
    quantised,
    remarks,
    retention,
    samples,
)
from reproductions.autoencoder_guide.models import averaged

AVERAGED = (errors.CLAIMS[0], layout.CLAIM, *samples.CLAIMS, noise.CLAIMS[0])

CLAIMS = (
    linear.CLAIM,
    *derivations.CLAIMS,
    gradients.CLAIM,
    *errors.CLAIMS,
    layout.CLAIM,
    *samples.CLAIMS,
    *noise.CLAIMS,
    retention.CLAIM,
    *quantised.CLAIMS,
    *remarks.CLAIMS,
    *(averaged(claim) for claim in AVERAGED),
)
