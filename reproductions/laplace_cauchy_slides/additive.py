"""Can the posteriors only match the prior where the family is additive? No."""

from pathlib import Path

import numpy as np
from scipy import integrate, stats

from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.figures import lines
from reproductions.verdict import Estimate


def mixture_against_laplace(folder: Path, *, places: int) -> Result:
    """Distribution functions of E_x q(z | x) and of the Laplace prior, by quadrature.

    q(z | x) = N(0, t(x)) with t exponential of mean 2: normal posteriors, Laplace aggregate.
    """
    del folder
    grid = np.linspace(-6, 6, places)
    values, errors = np.array([_mixture(z) for z in grid]).T
    return {
        "gap": float(np.abs(values - stats.laplace.cdf(grid)).max()),
        "error": float(errors.max()),
        "grid": grid,
        "mixture": values,
        "laplace": stats.laplace.cdf(grid),
        "best_normal": stats.norm.cdf(grid, scale=np.sqrt(2)),
    }


def _mixture(z: float) -> tuple[float, float]:
    """P(Z <= z) for Z ~ N(0, t), t ~ exponential of mean 2; substituted t = u^2."""

    def integrand(u: float) -> float:
        return float(stats.norm.cdf(z / u) * u * np.exp(-0.5 * u * u)) if u > 0 else 0.0

    value, error = integrate.quad(integrand, 0, 12, limit=400, epsabs=1e-12)[:2]
    return value, error


def figures(evidence: Evidence) -> list[Block]:
    """The two distribution functions, one on the other, and a single normal's."""
    result = evidence.outcomes[0].result
    grid = np.asarray(result["grid"])
    shown = slice(None, None, max(1, len(grid) // 24))

    def points(name: str) -> dict[float, list[float]]:
        return {z: [v] for z, v in zip(grid[shown], np.asarray(result[name])[shown], strict=True)}

    series = {
        "mixture": points("mixture"),
        "Laplace prior": points("laplace"),
        "one normal": points("best_normal"),
    }
    caption = "Normal posteriors of exponential variance add up to the Laplace prior exactly."
    return [lines(series, across="z", quantity="distribution function", caption=caption)]


CLAIM = Claim(
    name="additive-family-needed",
    document="001",
    place="a sparse VAE, the alternative approach",
    says=(
        "The posteriors can equal the prior together only if both belong to one additive (stable) "
        "family, so that a Laplace prior cannot be matched."
    ),
    hypotheses=(
        Hypothesis(
            "largest gap of the distribution functions of a mixture of normal posteriors and of "
            "the Laplace prior",
            "above",
            1e-6,
            lambda e: Estimate.exact(e.values("gap")[0], e.values("error")[0]),
        ),
    ),
    trials=lambda scale: [_trial(scale)],
    figures=figures,
    minutes=0.1,
    notes=(
        "The counter-example: q(z | x) = N(0, t(x)) with t exponential over the data, of mean "
        "2b^2. Its aggregate has the characteristic function 1 / (1 + b^2 w^2), the Laplace's. The "
        "document's other remark, that the Cauchy is the only stable law beside the normal, leaves "
        "out a whole family (0 < alpha <= 2), of which the Levy law has a closed density, too.",
    ),
)


def _trial(scale: Scale) -> Call:
    return Call(mixture_against_laplace, {"places": scale.pick(9, 241, 241)})
