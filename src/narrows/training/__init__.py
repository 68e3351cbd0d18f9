"""Training and evaluation on an existing engine."""

from narrows.training.callbacks.base import Callback
from narrows.training.callbacks.beta import CyclicalBeta, Geco, LinearBeta
from narrows.training.callbacks.early_stopping import EarlyStopping
from narrows.training.callbacks.frozen import Frozen
from narrows.training.callbacks.loggers import TensorBoard, WeightsAndBiases
from narrows.training.callbacks.weight_average import WeightAverage
from narrows.training.checkpoint import CheckpointError
from narrows.training.checkpoint_writer import Checkpoints
from narrows.training.engine import Engine
from narrows.training.evaluation import evaluate, latents
from narrows.training.fit import fit
from narrows.training.loop import NonFiniteLossError
from narrows.training.optimization import Constant, Cosine, OneCycle, Optimization, Schedule
from narrows.training.priors import fit_prior
from narrows.training.progress import TrainingInterruptedError
from narrows.training.rate import Rate, RateUnreachableError
from narrows.training.run import Run
from narrows.training.seeding import keep_memory, seed_step

__all__ = [
    "Callback",
    "CheckpointError",
    "Checkpoints",
    "Constant",
    "Cosine",
    "CyclicalBeta",
    "EarlyStopping",
    "Engine",
    "Frozen",
    "Geco",
    "LinearBeta",
    "NonFiniteLossError",
    "OneCycle",
    "Optimization",
    "Rate",
    "RateUnreachableError",
    "Run",
    "Schedule",
    "TensorBoard",
    "TrainingInterruptedError",
    "WeightAverage",
    "WeightsAndBiases",
    "evaluate",
    "fit",
    "fit_prior",
    "keep_memory",
    "latents",
    "seed_step",
]
