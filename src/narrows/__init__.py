"""narrows: autoencoders that differ in one place only, the bottleneck."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Modules and names are found on first use, so that `narrows --help` need not import torch.
_SUBMODULES = (
    "bottlenecks", "codec", "data", "families", "functional", "generation", "kernels",
    "likelihoods", "metrics", "networks", "objectives", "priors", "report", "sparse",
    "testing", "training",
)  # fmt: skip
_NAMES = {
    "Autoencoder": "narrows.autoencoder",
    "Bottleneck": "narrows.bottlenecks.base",
    "Codec": "narrows.codec",
    "Latent": "narrows.latent",
    "Likelihood": "narrows.likelihoods",
    "Prior": "narrows.priors.base",
    "Run": "narrows.training.run",
    "evaluate": "narrows.training.evaluation",
    "fit": "narrows.training.fit",
}

__all__ = ["__version__", *_SUBMODULES, *_NAMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"narrows.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'narrows' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
