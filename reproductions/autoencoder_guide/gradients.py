"""Score function against reparameterisation: the spread of one-draw gradients."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import Variational
from narrows.functional.score_function import leave_one_out
from narrows.networks import Mlp
from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.autoencoder_guide.models import likelihood, sizes
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.figures import dots
from reproductions.training import Setting, train, whole
from reproductions.verdict import Estimate


def spreads(folder: Path, *, dim: int, images: int, draws: int, **rest: Any) -> Result:
    """Trains a small VAE and estimates d E_q log p(x|z) / d (mean, log scale) by one draw each.

    `ratio`: total variance of the score function's estimates over that of the reparameterised
    ones, mean of the logarithm over images; `baseline_ratio` with the other three of four draws
    as a baseline; `gap`: root mean square of the difference of the two means over its standard
    error, 1 if both estimate the same.
    """
    setting = Setting(**rest)
    examples = setting.images()
    scale = likelihood(examples, 0.001)
    latent, network = Variational(dim), Mlp((256,))
    model = train(folder, examples, latent, network, setting, likelihood=scale).model
    torch.manual_seed(setting.seed)
    logs, baseline_logs, gaps = [], [], []
    for x in whole(examples.test)[:images].split(1):
        path, score, better = estimates(model, x, draws)
        one, two, three = (part.var(0).sum() for part in (path, score, better))
        logs.append(math.log10(two / one))
        baseline_logs.append(math.log10(three / one))
        error = ((path.var(0) + score.var(0)) / draws).sqrt()
        gaps.append(((path.mean(0) - score.mean(0)) / error).square().mean().item())
    return {
        "ratio": sum(logs) / images,
        "baseline_ratio": sum(baseline_logs) / images,
        "gap": math.sqrt(sum(gaps) / images),
    }


def estimates(model: Autoencoder, x: Tensor, draws: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of each draw, `[draws, 2 dim]`: pathwise, score function, with a baseline.

    With z = m + s e the score is d log q / d m = e / s and d log q / d log s = e^2 - 1.
    """
    posterior = model.latent(x).posterior
    assert isinstance(posterior, torch.distributions.Normal)
    mean = posterior.loc.detach().expand(draws, -1).clone().requires_grad_()
    log_scale = posterior.scale.detach().log().expand(draws, -1).clone().requires_grad_()
    noise = torch.randn_like(mean)
    fit = model.likelihood.log_prob(
        x.expand(draws, *x.shape[1:]), model.decoder(mean + log_scale.exp() * noise)
    )
    path = torch.cat(torch.autograd.grad(fit.sum(), [mean, log_scale]), 1).double()
    scores = torch.cat([noise / log_scale.detach().exp(), noise.square() - 1], 1).double()
    values = fit.detach().double()
    signals = leave_one_out(values.unflatten(0, (4, -1))).flatten()
    return path, values[:, None] * scores, signals[:, None] * scores


def trials(scale: Scale) -> list[Call]:
    """One model per seed."""
    arguments = {
        **sizes(scale), "dim": 8, "images": scale.pick(2, 50, 200),
        "draws": scale.pick(8, 400, 2000), "epochs": scale.pick(1, 40, 25),
    }  # fmt: skip
    return [Call(spreads, {**arguments, "seed": seed}) for seed in range(scale.seeds)]


def figures(evidence: Evidence) -> list[Block]:
    """How many times the variance."""
    values = {
        "score function": [10**v for v in evidence.values("ratio")],
        "with a baseline of 3 other draws": [10**v for v in evidence.values("baseline_ratio")],
    }
    caption = "Variance of one-draw gradients over that of the reparameterised ones."
    quantity = "ratio of variances"
    return [dots(values, quantity=quantity, caption=caption, logarithmic=True)]


CLAIM = Claim(
    name="score-function-variance",
    document="002",
    place="2.3",
    says="The score-function estimator is unbiased, of higher variance than the reparameterised.",
    hypotheses=(
        Hypothesis(
            "log10 of its total variance over the reparameterised one's, mean over images",
            "above",
            0.0,
            lambda e: Estimate.over_seeds(e.values("ratio")),
        ),
        Hypothesis(
            "root mean square difference of the two means in standard errors (1 if unbiased)",
            "below",
            1.2,
            lambda e: Estimate.over_seeds(e.values("gap")),
        ),
    ),
    trials=trials,
    figures=figures,
    minutes=0.2,
    notes=(
        "The document's reason, that every draw is pulled up whatever it is worth, is what a "
        "baseline takes away: the figure shows how much that is.",
    ),
)
