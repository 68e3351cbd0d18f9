"""Is KL(normal || Laplace) without a closed form? No."""

from pathlib import Path

import numpy as np
import torch
from scipy import integrate, stats

from narrows.distributions import normal_laplace
from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.figures import lines
from reproductions.verdict import Estimate


def closed_against_integral(folder: Path, *, count: int, draws: int) -> Result:
    """The largest gap of the closed form to quadrature, and the spread of one-draw estimates."""
    del folder
    random = np.random.default_rng(0)
    location = random.uniform(-4, 4, count)
    scale, prior = np.exp(random.uniform(-2, 1.5, count)), np.exp(random.uniform(-1, 1, count))
    gaps, errors = [], []
    for m, s, b in zip(location, scale, prior, strict=True):
        closed = normal_laplace(torch.tensor(m), torch.tensor(s), prior_scale=float(b)).item()
        integral, error = _integral(m, s, b)
        gaps.append(abs(closed - integral))
        errors.append(error)
    grid = np.linspace(0, 4, 9)
    return {
        "gap": max(gaps),
        "error": max(errors),
        "locations": grid,
        "closed": normal_laplace(
            torch.from_numpy(grid), torch.tensor(1.0), prior_scale=1.0
        ).numpy(),
        "one_draw": np.stack([_one_draw(m, draws) for m in grid]),
    }


def _integral(m: float, s: float, b: float) -> tuple[float, float]:
    """KL(N(m, s^2) || Laplace(0, b)) by adaptive quadrature, and its error bound."""
    ends = (m - 12 * s, m + 12 * s)
    kink = [0.0] if ends[0] < 0 < ends[1] else None

    def integrand(z: float) -> float:
        log_q = stats.norm.logpdf(z, m, s)
        return float(np.exp(log_q) * (log_q - stats.laplace.logpdf(z, 0, b)))

    value, error = integrate.quad(integrand, *ends, points=kink, limit=200, epsabs=1e-11)[:2]
    return value, error


def _one_draw(m: float, draws: int) -> np.ndarray:
    """Estimates log q(z) - log p(z) of one draw each, s = b = 1."""
    z = m + np.random.default_rng(1).standard_normal(draws)
    return stats.norm.logpdf(z, m) - stats.laplace.logpdf(z)


def figures(evidence: Evidence) -> list[Block]:
    """The closed form among estimates by one draw, which the document uses instead."""
    result = evidence.outcomes[0].result
    places, draws = np.asarray(result["locations"]), np.asarray(result["one_draw"])
    spread = float(draws.std(1).mean())
    series = {
        "closed form": {m: [v] for m, v in zip(places, np.asarray(result["closed"]), strict=True)},
        "mean of draws": {m: list(v) for m, v in zip(places, draws, strict=True)},
        "one draw": {m: [v[0]] for m, v in zip(places, draws, strict=True)},
    }
    caption = (
        f"KL(N(m, 1) || Laplace(0, 1)). One draw, as the document takes it, has a standard "
        f"deviation of {spread:.2f} nats."
    )
    return [lines(series, across="m", quantity="KL [nats]", caption=caption)]


CLAIM = Claim(
    name="laplace-divergence-unsolvable",
    document="001",
    place="a sparse VAE, on the Laplace prior",
    says="With a Laplace prior the divergence of a normal posterior cannot be had in closed form.",
    hypotheses=(
        Hypothesis(
            "largest gap between E|z|/b + log(2b/s) - log(2 pi e)/2 and quadrature, nats "
            "(a formula that is not the divergence must miss somewhere)",
            "above",
            1e-6,
            lambda e: Estimate.exact(e.values("gap")[0], e.values("error")[0]),
        ),
    ),
    trials=lambda scale: [_trial(scale)],
    figures=figures,
    minutes=0.1,
    notes=(
        "E|z| = s sqrt(2/pi) exp(-m^2/2s^2) + m erf(m/(s sqrt 2)) is the mean of a folded normal. "
        "The gap's error is the quadrature's own bound.",
    ),
)


def _trial(scale: Scale) -> Call:
    return Call(
        closed_against_integral,
        {"count": scale.pick(5, 500, 500), "draws": scale.pick(50, 2000, 2000)},
    )
