"""Two lines of the derivations, computed."""

from pathlib import Path

import numpy as np
import torch
from scipy import integrate, stats

from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.figures import lines
from reproductions.verdict import Estimate


def normal_divergence(folder: Path, *, count: int) -> Result:
    """Both of the document's formulas for KL(normal || normal) against quadrature."""
    del folder
    random = np.random.default_rng(0)
    first, last, errors = [], [], []
    for _ in range(count):
        mq, mp = random.uniform(-2, 2, 2)
        sq, sp = np.exp(random.uniform(-1, 1, 2))
        integral, error = _integral(mq, sq, mp, sp)
        stated = np.log(sp / sq) + (sq**2 + (mp - mq) ** 2) / (2 * sp**2) - 0.5
        derived = np.log(sp / sq) + (sq**2 + (mp - mq) ** 2) / sp**2 - 0.5
        first.append(abs(stated - integral))
        last.append(abs(derived - integral))
        errors.append(error)
    scales = np.exp(np.linspace(-1.5, 1.0, 9))
    return {
        "stated": max(first),
        "derived": max(last),
        "error": max(errors),
        "scales": scales,
        "integrals": np.array([_integral(0.0, s, 0.0, 1.0)[0] for s in scales]),
    }


def _integral(mq: float, sq: float, mp: float, sp: float) -> tuple[float, float]:
    def integrand(z: float) -> float:
        log_q = stats.norm.logpdf(z, mq, sq)
        return float(np.exp(log_q) * (log_q - stats.norm.logpdf(z, mp, sp)))

    value, error = integrate.quad(integrand, mq - 12 * sq, mq + 12 * sq, limit=200, epsabs=1e-11)[
        :2
    ]
    return value, error


MULTIPLES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


def weight_of_divergence(folder: Path, *, count: int) -> Result:
    """Gradients of -log N(x; f, c I) + KL against those of |x - f|^2 + lambda KL.

    `gaps`: largest distance of 2c times the first from the second, over its length, for lambda
    = c times each of `MULTIPLES`; `gap`: that for 2.
    """
    del folder
    generator = torch.Generator().manual_seed(0)
    gaps = np.zeros(len(MULTIPLES))
    for _ in range(count):
        x, z = torch.randn(2, 6, dtype=torch.float64, generator=generator)
        f = torch.randn(6, dtype=torch.float64, generator=generator).requires_grad_()
        c = float(torch.rand((), generator=generator)) + 0.1
        output, kl = torch.tanh(f + z), (f - z).square().sum()  # any output, any divergence
        distance = (x - output).square().sum()
        bound = distance / (2 * c) + 3 * np.log(2 * np.pi * c) + kl
        (one,) = torch.autograd.grad(bound, f, retain_graph=True)
        for index, multiple in enumerate(MULTIPLES):
            weighted = distance + multiple * c * kl
            (two,) = torch.autograd.grad(weighted, f, retain_graph=True)
            gap = float((two - 2 * c * one).norm() / two.norm())
            gaps[index] = max(gaps[index], gap)
    return {"gap": float(gaps[MULTIPLES.index(2.0)]), "gaps": gaps}


def weight_figures(evidence: Evidence) -> list[Block]:
    """The gap by weight."""
    gaps = np.asarray(evidence.array("gaps"))
    series = {"weighted loss": {m: [g] for m, g in zip(MULTIPLES, gaps, strict=True)}}
    caption = "How far the weighted loss's gradient is from the bound's, by its weight."
    return [lines(series, across="weight over c", quantity="relative gap", caption=caption)]


def trials(scale: Scale) -> list[Call]:
    """Computations without training."""
    return [Call(normal_divergence, {"count": scale.pick(3, 200, 200)})]


def figures(evidence: Evidence) -> list[Block]:
    """The formulas over the posterior's scale."""
    result = evidence.outcomes[0].result
    scales = np.asarray(result["scales"])
    stated = -np.log(scales) + scales**2 / 2 - 0.5
    series = {
        "quadrature": dict(zip(scales, np.asarray(result["integrals"])[:, None], strict=True)),
        "as asked for": dict(zip(scales, stated[:, None], strict=True)),
        "as derived": dict(zip(scales, (stated + scales**2 / 2)[:, None], strict=True)),
    }
    caption = "KL(N(0, s^2) || N(0, 1)): the last line of the derivation has lost a factor 1/2."
    return [lines(series, across="s", quantity="KL [nats]", caption=caption)]


def _claim(name: str, place: str, says: str, figure: str, quantity: str) -> Claim:
    return Claim(
        name=name,
        document="002",
        place=place,
        says=says,
        hypotheses=(
            Hypothesis(
                quantity,
                "below",
                1e-6,
                lambda e: Estimate.exact(e.values(figure)[0], e.values("error")[0]),
            ),
        ),
        trials=trials,
        figures=figures,
        minutes=0.1,
    )


CLAIMS = (
    _claim(
        "normal-divergence",
        "2.2, question 3, as asked",
        "KL of two normals is log(sp/sq) + (sq^2 + (mp - mq)^2) / 2 sp^2 - 1/2.",
        "stated",
        "largest gap of the formula to quadrature, nats",
    ),
    _claim(
        "normal-divergence-derived",
        "2.2, question 3, last line of the answer",
        "The answer ends in log(sp/sq) + (sq^2 + (mp - mq)^2) / sp^2 - 1/2.",
        "derived",
        "largest gap of the last line to quadrature, nats",
    ),
    Claim(
        name="weight-is-2c",
        document="002",
        place="2.2, question 1",
        says="A normal likelihood of variance c makes the weight of the divergence 2c.",
        hypotheses=(
            Hypothesis(
                "largest relative gap of 2c times the gradient of the bound and that of the loss",
                "below",
                1e-6,
                lambda e: Estimate.exact(e.values("gap")[0], 1e-12),
            ),
        ),
        trials=lambda scale: [Call(weight_of_divergence, {"count": scale.pick(3, 200, 200)})],
        figures=weight_figures,
        minutes=0.1,
        notes=("Their density is written with det(c I) where its square root belongs; the result "
               "does not depend on it.",),
    ),
)  # fmt: skip
