"""Does the L1 penalty enforce sparsity?"""

from pathlib import Path

import torch

from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.figures import dots
from reproductions.verdict import Estimate
from reproductions.vq_notebook.as_written import NotebookDictionaryAsWritten


def penalised(folder: Path, *, size: int, dim: int, k: int, signals: int, seed: int) -> Result:
    """How much |softmax|_1 varies over features, and the sparsity level of two unlike layers."""
    del folder
    torch.manual_seed(seed)
    features = torch.randn(signals, 1, 1, dim, dtype=torch.float64)
    levels, norms = [], []
    for gain in (1.0, 30.0):
        layer = NotebookDictionaryAsWritten(size, dim, k).double()
        with torch.no_grad():
            layer.logits.weight.mul_(gain)
            norms.append(layer.logits(features).softmax(-1).abs().sum(-1).flatten())
            levels.append(float((layer(features).code[1] != 0).double().mean()) * k / size)
    return {
        "spread": float(torch.cat(norms).std()),
        "level_change": abs(levels[1] - levels[0]),
        "level": levels[0],
    }


def _trials(scale: Scale) -> list[Call]:
    sizes = {"size": scale.pick(32, 512, 512), "dim": scale.pick(8, 256, 256)}
    sizes |= {"k": scale.pick(6, 100, 100), "signals": scale.pick(8, 200, 200)}
    return [Call(penalised, {**sizes, "seed": seed}) for seed in range(scale.seeds)]


def _values(evidence: Evidence, name: str) -> list[float]:
    return [float(outcome.result[name]) for outcome in evidence.outcomes]


CLAIM = Claim(
    name="l1-makes-sparse",
    document="003",
    place="the dictionary learning algorithm",
    says="An L1 penalty on the representation makes it sparse, at a level that training sets.",
    hypotheses=(
        Hypothesis(
            "standard deviation of the softmax's L1 norm over features and layers",
            "above",
            1e-6,
            lambda e: Estimate.over_seeds(_values(e, "spread")),
        ),
        Hypothesis(
            "change of the sparsity level between two layers with logits 30 times apart",
            "above",
            0.0,
            lambda e: Estimate.over_seeds(_values(e, "level_change")),
        ),
    ),
    trials=_trials,
    figures=lambda e: [
        dots(
            {"sparsity level": _values(e, "level")}, quantity="active atoms over all atoms",
            caption="k / K, 0.1953125 in every line of the notebook's log."
        )
    ],
    minutes=0.1,
    notes=(
        "A softmax adds up to 1 whatever its input, so that its L1 norm has no gradient; its "
        "weight in the notebook is 0 besides. The level is k / K by construction.",
    ),
)  # fmt: skip
