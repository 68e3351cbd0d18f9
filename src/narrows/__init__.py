"""narrows: autoencoders that differ in one place only, the bottleneck.

`nw.X` holds what a script needs by name: the model and everything that is passed to it
(bottlenecks and their coders, networks, likelihoods, objectives), `fit`, `fit_prior`, `evaluate`
and `Codec`. All else stays in its package: `nw.data.load`, `nw.priors.PixelCNN`, `nw.metrics.psnr`.

Where two packages use one name, the flat name is that of the part passed to a model: `nw.Normal`
is the likelihood (`nw.distributions.Normal` the posterior or prior of a `Variational` code),
`nw.Split` the bottleneck (`nw.data.Split` a part of a data set).
"""

import re
from importlib import import_module
from pathlib import Path

__version__ = "0.2.0"

# The stub lists the names once, for editors and for here. They are imported on first use, so that
# `narrows --help` need not import torch.
_STUB = Path(__file__).with_suffix(".pyi").read_text()
_HOMES: dict[str, str] = {
    name: home for home, name in re.findall(r"^from (\S+) import (\w+) as", _STUB, re.MULTILINE)
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'narrows' has no attribute {name!r}")
    home = _HOMES[name]
    return (
        import_module(f"narrows.{name}")
        if home == "narrows"
        else getattr(import_module(home), name)
    )


def __dir__() -> list[str]:
    return ["__version__", *_HOMES]
