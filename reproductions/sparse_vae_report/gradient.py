"""Is the gradient for the dictionary the gradient of the task's loss?"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from narrows.report import Block
from narrows.sparse import coordinate_descent, differentiate
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.figures import dots
from reproductions.sparse_vae_report.as_written.sparse_vae import misindexed_betas
from reproductions.verdict import Estimate

_WEIGHT = 0.1
_STEP = 1e-6
TOLERANCE = 1e-3
FORMULAS = {
    "code": "the document's code (wrong axis)",
    "printed": "the document's formula, with + I",
    "narrows": "Mairal's formula without ridge, as narrows computes it",
}


def against_differences(folder: Path, *, signals: int, atoms: int, dim: int, seed: int) -> Result:
    """Relative errors of three gradients of sum_ij t_ij z_ij(D) to central differences.

    z(D) is the exact lasso code, t random.
    """
    del folder
    generator = torch.Generator().manual_seed(seed)
    x, d, target = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((signals, dim), (atoms, dim), (signals, atoms))
    )
    d = d / d.norm(dim=1, keepdim=True)

    def loss(dictionary: Tensor) -> float:
        return (_codes(x, dictionary) * target).sum().item()

    slope = _differences(loss, d)
    codes = _codes(x, d)
    found = {
        "code": _mairal(x, d, codes, misindexed_betas(d, codes, target)),
        "printed": _mairal(x, d, codes, _betas(d, codes, target, ridge=1.0)),
        "narrows": _ours(x, d, target),
    }
    return {name: float((value - slope).norm() / slope.norm()) for name, value in found.items()}


def _codes(x: Tensor, d: Tensor) -> Tensor:
    return coordinate_descent(x, d, penalty=_WEIGHT, tolerance=1e-13).codes


def _differences(loss: Callable[[Tensor], float], d: Tensor) -> Tensor:
    slope = torch.zeros_like(d)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            step = torch.zeros_like(d)
            step[i, j] = _STEP
            slope[i, j] = (loss(d + step) - loss(d - step)) / (2 * _STEP)
    return slope


def _betas(d: Tensor, codes: Tensor, gradient: Tensor, ridge: float) -> Tensor:
    """(D_S D_S^T + ridge I)^-1 g_S on each example's support S, 0 off it; atoms are rows."""
    betas = torch.zeros_like(codes)
    for beta, code, g in zip(betas, codes, gradient, strict=True):
        active = code.nonzero()[:, 0]
        gram = d[active] @ d[active].T + ridge * torch.eye(len(active), dtype=d.dtype)
        beta[active] = torch.linalg.solve(gram, g[active])
    return betas


def _mairal(x: Tensor, d: Tensor, codes: Tensor, betas: Tensor) -> Tensor:
    """The gradient beta (x - z D) - z (beta D), summed over examples."""
    return betas.T @ (x - codes @ d) - codes.T @ (betas @ d)


def _ours(x: Tensor, d: Tensor, target: Tensor) -> Tensor:
    solution = coordinate_descent(x, d, penalty=_WEIGHT, tolerance=1e-13)
    leaf = d.clone().requires_grad_()
    values = differentiate(x, leaf, atoms=solution.atoms, values=solution.values)
    return torch.autograd.grad((values * target.gather(1, solution.atoms)).sum(), leaf)[0]


def errors(evidence: Evidence, name: str) -> list[float]:
    """Of every seed's problem."""
    return [float(outcome.result[name]) for outcome in evidence.outcomes]


def figures(evidence: Evidence) -> list[Block]:
    """All three."""
    groups = {text: errors(evidence, name) for name, text in FORMULAS.items()}
    caption = "A random lasso problem per seed; 1: as wrong as no gradient at all."
    return [dots(groups, quantity="relative error", caption=caption, logarithmic=True)]


def trials(scale: Scale) -> list[Call]:
    """One problem per seed."""
    arguments = {"signals": 4, "atoms": scale.pick(5, 12, 12), "dim": scale.pick(3, 6, 6)}
    return [Call(against_differences, {**arguments, "seed": seed}) for seed in range(scale.seeds)]


def claim(name: str, key: str, says: str) -> Claim:
    """That one of the formulas is the gradient."""
    return Claim(
        name=name,
        document="000",
        place="method, the gradient for D",
        says=says,
        hypotheses=(
            Hypothesis(
                f"relative error to central differences: {FORMULAS[key]}",
                "below",
                TOLERANCE,
                lambda e: Estimate.over_seeds(errors(e, key)),
            ),
        ),
        trials=trials,
        figures=figures,
        minutes=0.2,
        notes=(
            "+ I belongs to an elastic net with a ridge of 1, which the document does not solve.",
        ),
    )


CLAIMS = (
    claim(
        "task-driven-gradient-as-written",
        "code",
        "The dictionary follows the gradient of the decoder's loss (its code).",
    ),
    claim(
        "task-driven-gradient-printed",
        "printed",
        "The dictionary follows the gradient of the decoder's loss (its formula).",
    ),
    claim(
        "task-driven-gradient-repaired",
        "narrows",
        "The dictionary follows the gradient of the decoder's loss (without ridge and right axis).",
    ),
)
