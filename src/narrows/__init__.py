"""narrows: autoencoders that differ in one place only, the bottleneck.

`nw.X` holds what a script needs by name: the model and everything that is passed to it
(bottlenecks and their coders, networks, likelihoods, objectives), `fit`, `fit_prior`, `evaluate`
and `Codec`. All else stays in its package: `nw.data.load`, `nw.priors.PixelCNN`, `nw.metrics.psnr`.

Where two packages use one name, the flat name is that of the part passed to a model: `nw.Normal`
is the likelihood (`nw.distributions.Normal` the posterior or prior of a `Variational` code),
`nw.Split` the bottleneck (`nw.data.Split` a part of a data set).
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from narrows import bottlenecks as bottlenecks
    from narrows import codec as codec
    from narrows import compare as compare
    from narrows import data as data
    from narrows import distributions as distributions
    from narrows import export as export
    from narrows import functional as functional
    from narrows import generation as generation
    from narrows import hub as hub
    from narrows import kernels as kernels
    from narrows import likelihoods as likelihoods
    from narrows import metrics as metrics
    from narrows import networks as networks
    from narrows import objectives as objectives
    from narrows import priors as priors
    from narrows import report as report
    from narrows import sparse as sparse
    from narrows import testing as testing
    from narrows import training as training
    from narrows.autoencoder import Autoencoder as Autoencoder
    from narrows.autoencoder import Loss as Loss
    from narrows.autoencoder import Objective as Objective
    from narrows.bottlenecks import NVIL as NVIL
    from narrows.bottlenecks import OMP as OMP
    from narrows.bottlenecks import RLOO as RLOO
    from narrows.bottlenecks import BatchTopK as BatchTopK
    from narrows.bottlenecks import Bottleneck as Bottleneck
    from narrows.bottlenecks import Categorical as Categorical
    from narrows.bottlenecks import CodebookLearning as CodebookLearning
    from narrows.bottlenecks import FiniteScalarQuantizer as FiniteScalarQuantizer
    from narrows.bottlenecks import GumbelSoftmax as GumbelSoftmax
    from narrows.bottlenecks import Identity as Identity
    from narrows.bottlenecks import Lasso as Lasso
    from narrows.bottlenecks import LookupFreeQuantizer as LookupFreeQuantizer
    from narrows.bottlenecks import ResidualQuantizer as ResidualQuantizer
    from narrows.bottlenecks import ScoreFunction as ScoreFunction
    from narrows.bottlenecks import SimVQ as SimVQ
    from narrows.bottlenecks import SoftmaxDictionary as SoftmaxDictionary
    from narrows.bottlenecks import SparseDictionary as SparseDictionary
    from narrows.bottlenecks import SpikeAndSlab as SpikeAndSlab
    from narrows.bottlenecks import Split as Split
    from narrows.bottlenecks import StraightThrough as StraightThrough
    from narrows.bottlenecks import TopK as TopK
    from narrows.bottlenecks import Variational as Variational
    from narrows.bottlenecks import VectorQuantizer as VectorQuantizer
    from narrows.codec import Codec as Codec
    from narrows.latent import Latent as Latent
    from narrows.likelihoods import Bernoulli as Bernoulli
    from narrows.likelihoods import Categorical256 as Categorical256
    from narrows.likelihoods import DiscretizedLogisticMixture as DiscretizedLogisticMixture
    from narrows.likelihoods import Likelihood as Likelihood
    from narrows.likelihoods import Normal as Normal
    from narrows.networks import Conv as Conv
    from narrows.networks import Mlp as Mlp
    from narrows.networks import Network as Network
    from narrows.networks import ResNet as ResNet
    from narrows.networks import Transformer as Transformer
    from narrows.objectives import Denoising as Denoising
    from narrows.objectives import ImportanceWeighted as ImportanceWeighted
    from narrows.priors import Prior as Prior
    from narrows.training import Callback as Callback
    from narrows.training import Checkpoints as Checkpoints
    from narrows.training import Engine as Engine
    from narrows.training import Optimization as Optimization
    from narrows.training import Run as Run
    from narrows.training import evaluate as evaluate
    from narrows.training import fit as fit
    from narrows.training import fit_prior as fit_prior

# The same names at run time, found on first use, so that `narrows --help` need not import torch.
_MODULES = (
    "bottlenecks", "codec", "compare", "data", "distributions", "export", "functional",
    "generation", "hub", "kernels", "likelihoods", "metrics", "networks", "objectives", "priors",
    "report", "sparse", "testing", "training",
)  # fmt: skip
_NAMES = {
    "autoencoder": "Autoencoder Loss Objective",
    "bottlenecks": (
        "NVIL OMP RLOO BatchTopK Bottleneck Categorical CodebookLearning FiniteScalarQuantizer "
        "GumbelSoftmax Identity Lasso LookupFreeQuantizer ResidualQuantizer ScoreFunction SimVQ "
        "SoftmaxDictionary SparseDictionary SpikeAndSlab Split StraightThrough TopK Variational "
        "VectorQuantizer"
    ),
    "codec": "Codec",
    "latent": "Latent",
    "likelihoods": "Bernoulli Categorical256 DiscretizedLogisticMixture Likelihood Normal",
    "networks": "Conv Mlp Network ResNet Transformer",
    "objectives": "Denoising ImportanceWeighted",
    "priors": "Prior",
    "training": "Callback Checkpoints Engine Optimization Run evaluate fit fit_prior",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


if not TYPE_CHECKING:  # to a type checker, what is not listed above does not exist

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return import_module(f"narrows.{name}")
        if name in _HOMES:
            return getattr(import_module(f"narrows.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'narrows' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted(["__version__", *_MODULES, *_HOMES])
