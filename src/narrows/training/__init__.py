"""Training and evaluation on an existing engine."""

from narrows.training.callback import Callback
from narrows.training.checkpoint import CheckpointError
from narrows.training.checkpointing import Checkpoints
from narrows.training.early_stopping import EarlyStopping
from narrows.training.engine import Engine
from narrows.training.evaluation import evaluate, latents
from narrows.training.fit import fit
from narrows.training.interruption import TrainingInterruptedError
from narrows.training.learning_rate import Constant, Cosine, OneCycle, Schedule
from narrows.training.loggers import TensorBoard, WeightsAndBiases
from narrows.training.loop import NonFiniteLossError
from narrows.training.memory import keep_memory
from narrows.training.optimization import Optimization
from narrows.training.run import Run
from narrows.training.schedules import CyclicalBeta, Geco, LinearBeta
from narrows.training.weight_average import WeightAverage

__all__ = [
    "Callback",
    "CheckpointError",
    "Checkpoints",
    "Constant",
    "Cosine",
    "CyclicalBeta",
    "EarlyStopping",
    "Engine",
    "Geco",
    "LinearBeta",
    "NonFiniteLossError",
    "OneCycle",
    "Optimization",
    "Run",
    "Schedule",
    "TensorBoard",
    "TrainingInterruptedError",
    "WeightAverage",
    "WeightsAndBiases",
    "evaluate",
    "fit",
    "keep_memory",
    "latents",
]
