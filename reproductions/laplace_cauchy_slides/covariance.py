"""The slides' divergence of a normal posterior with a full covariance."""

from itertools import product
from pathlib import Path

import numpy as np

from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis
from reproductions.figures import lines
from reproductions.verdict import Estimate

CORRELATIONS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95)


def full_covariance(folder: Path, *, count: int, dim: int) -> Result:
    """The printed formula against Gauss-Hermite quadrature, exact as log q - log p is quadratic.

    `price`: nats by which the best posterior with a diagonal covariance is off one in the plane,
    by its correlation.
    """
    del folder
    random = np.random.default_rng(0)
    gaps = []
    for _ in range(count):
        mean, root = random.normal(size=dim), random.normal(size=(dim, dim))
        gaps.append(abs(printed(mean, root @ root.T) - integral(mean, root)))
    prices = [-0.5 * np.log(1 - c * c) for c in CORRELATIONS]
    return {"gap": max(gaps), "prices": np.array(prices)}


def printed(mean: np.ndarray, covariance: np.ndarray) -> float:
    """[tr S + m'm - k - log det S] / 2."""
    trace, log_det = np.trace(covariance), np.linalg.slogdet(covariance)[1]
    return float((trace + mean @ mean - len(mean) - log_det) / 2)


def integral(mean: np.ndarray, root: np.ndarray) -> float:
    """E_q[log q - log p] of q = N(m, R R'), p = N(0, I), with three nodes a coordinate."""
    dim = len(mean)
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    weights = weights / weights.sum()
    total, log_det = 0.0, np.linalg.slogdet(root)[1]
    for index in product(range(3), repeat=dim):
        noise = nodes[list(index)]
        z = mean + root @ noise
        weight = float(np.prod(weights[list(index)]))
        total += weight * float(z @ z - noise @ noise) / 2
    return total - float(log_det)


def figures(evidence: Evidence) -> list[Block]:
    """What leaving the correlation out costs."""
    prices = np.asarray(evidence.outcomes[0].result["prices"])
    series = {"diagonal covariance": {c: [p] for c, p in zip(CORRELATIONS, prices, strict=True)}}
    caption = "KL of the best diagonal normal from a normal posterior in the plane."
    return [lines(series, across="correlation", quantity="nats lost", caption=caption)]


CLAIM = Claim(
    name="full-covariance-divergence",
    document="001",
    place="variational auto-encoders, Q(z|X) = N(u, S)",
    says="KL(N(u, S) || N(0, I)) = [tr S + u'u - k - log det S] / 2.",
    hypotheses=(
        Hypothesis(
            "largest gap of the formula to quadrature, nats",
            "below",
            1e-6,
            lambda e: Estimate.exact(e.values("gap")[0], 1e-9),
            since="2026-11-26",
        ),
    ),
    trials=lambda scale: [Call(full_covariance, {"count": scale.pick(3, 100, 100), "dim": 3})],
    figures=figures,
    minutes=0.1,
    notes=(
        "The slides write a full covariance and, as everybody, train a diagonal one. The price of "
        "that is the divergence in the figure where the true posterior is correlated.",
    ),
)
