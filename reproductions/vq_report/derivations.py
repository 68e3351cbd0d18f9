"""The document's mathematics: its bound, its constant, its gradients."""

from pathlib import Path

import numpy as np
import torch

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import CodebookLearning, VectorQuantizer
from narrows.likelihoods import Normal
from narrows.networks import Conv
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Hypothesis, Scale
from reproductions.figures import dots
from reproductions.verdict import Estimate


def bounds(folder: Path, *, cases: int) -> Result:
    """The bound with either sign of the divergence, less the evidence, in closed form.

    z ~ N(0, 1), x | z ~ N(z, 1), so that x ~ N(0, 2); q(z | x) = N(m, s^2) at random.
    """
    del folder
    random = np.random.default_rng(0)
    x, m = random.normal(0, 2, cases), random.normal(0, 2, cases)
    s = np.exp(random.uniform(-2, 1, cases))
    evidence = -0.5 * (np.log(4 * np.pi) + x**2 / 2)
    fit = -0.5 * (np.log(2 * np.pi) + (x - m) ** 2 + s**2)
    kl = 0.5 * (m**2 + s**2 - 1) - np.log(s)
    return {
        "printed": float((fit + kl - evidence).max()),
        "mended": float((fit - kl - evidence).max()),
    }


def constant_and_routes(folder: Path, *, size: int, dim: int, seed: int) -> Result:
    """Spread of KL(q || uniform) over examples, and gradients where the text says there are none.

    Gradients as shares of those that each part does get.
    """
    del folder
    torch.manual_seed(seed)
    quantizer = VectorQuantizer(
        size, dim, learning=CodebookLearning(method="gradient", init="uniform", revive_after=None)
    )
    model = Autoencoder(
        (1, 8, 8), quantizer, network=Conv(8, 1, residual_hidden=4), likelihood=Normal(0.70711)
    ).double()
    loss = model.loss(torch.rand(32, 1, 8, 8, dtype=torch.float64))
    assert loss.rate is not None
    terms = {"nll": loss.nll, **loss.terms}
    parts = {
        "decoder": list(model.decoder.parameters()),
        "encoder": list(model.encoder.parameters()),
        "codes": list(quantizer.parameters()),
    }
    norms = {(t, p): _norm(terms[t].mean(), parts[p]) for t in terms for p in parts}
    reached = min(
        norms["nll", "decoder"], norms["nll", "encoder"],
        norms["commitment", "encoder"], norms["codebook", "codes"],
    )  # fmt: skip
    stray = (
        norms["commitment", "decoder"] + norms["codebook", "decoder"] + norms["codebook", "encoder"]
        + norms["nll", "codes"] + norms["commitment", "codes"]
    )  # fmt: skip
    return {
        "spread": float(loss.rate.detach().std()),
        "stray": stray / max(reached, 1e-300),
        "reached": reached,
    }


def _norm(value: torch.Tensor, parameters: list) -> float:
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return float(sum(g.square().sum() for g in found if g is not None) ** 0.5)


def _routes(scale: Scale) -> list[Call]:
    sizes = {"size": 16, "dim": 4}
    return [Call(constant_and_routes, {**sizes, "seed": seed}) for seed in range(scale.seeds)]


def _of_routes(name: str, figure: str, place: str, says: str, quantity: str) -> Claim:
    return Claim(
        name=name,
        document="004",
        place=place,
        says=says,
        hypotheses=(
            Hypothesis(
                quantity,
                "below",
                1e-9,
                lambda e: Estimate.over_seeds([float(o.result[figure]) for o in e.outcomes]),
            ),
        ),
        trials=_routes,
        figures=lambda e: [
            dots(
                {"measured": [float(o.result[figure]) for o in e.outcomes]},
                quantity=quantity, caption="Untrained models in float64.",
            )
        ],
        minutes=0.1,
    )  # fmt: skip


CLAIMS = (
    Claim(
        name="bound-as-printed",
        document="004",
        place="literature review, equations 2 and 3",
        says="The divergence plus the expected log-likelihood is a lower bound of the evidence.",
        hypotheses=(
            Hypothesis(
                "largest excess of the printed expression over log p(x), nats",
                "below",
                0.0,
                lambda e: Estimate.exact(e.values("printed")[0], 1e-9),
            ),
        ),
        trials=lambda scale: [Call(bounds, {"cases": scale.pick(50, 10_000, 10_000)})],
        figures=lambda e: [
            dots(
                {"as printed": e.values("printed"), "divergence subtracted": e.values("mended")},
                quantity="largest excess over log p(x) [nats]",
                caption="A bound has none.",
            )
        ],
        minutes=0.1,
        notes=(
            "The sign of the divergence is turned round in equation 3, the logarithm is lost in "
            "the last line of equation 2. With the divergence subtracted there is no excess.",
        ),
    ),
    _of_routes(
        "uniform-divergence-constant",
        "spread",
        "literature review, below equation 4",
        "Under a uniform prior the divergence is constant and may be left out of training.",
        "standard deviation over examples of KL(q || uniform), nats",
    ),
    _of_routes(
        "losses-reach-their-parts",
        "stray",
        "literature review, below equation 4",
        "The decoder learns from the first loss alone, the encoder from first and last, the codes "
        "from the middle one.",
        "gradient of losses to parts that they should not reach, over the least that they should",
    ),
)
