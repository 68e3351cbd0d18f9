"""Training and evaluation on an existing engine."""

from narrows.training.callback import Callback
from narrows.training.engine import Engine
from narrows.training.evaluation import evaluate, latents
from narrows.training.fit import NonFiniteLossError, fit
from narrows.training.learning_rate import Constant, Cosine, OneCycle, Schedule
from narrows.training.optimization import Optimization
from narrows.training.run import Run
from narrows.training.schedules import CyclicalBeta, Geco, LinearBeta

__all__ = [
    "Callback",
    "Constant",
    "Cosine",
    "CyclicalBeta",
    "Engine",
    "Geco",
    "LinearBeta",
    "NonFiniteLossError",
    "OneCycle",
    "Optimization",
    "Run",
    "Schedule",
    "evaluate",
    "fit",
    "latents",
]
