"""Draws from the prior as an estimate of p(x), and one encoder in place of a q for each image."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from narrows import metrics
from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import Variational
from narrows.likelihoods import Bernoulli
from narrows.networks import Mlp
from narrows.report import Block
from narrows.tasks import Call, Result
from reproductions.autoencoder_guide.models import sizes
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.figures import lines
from reproductions.training import Setting, binary, train, whole
from reproductions.verdict import Estimate

DIMS = (2, 8, 32)
SINCE = "2026-11-26"


def inferred(folder: Path, *, dim: int, images: int, draws: int, steps: int, **rest: Any) -> Result:
    """Trains a VAE of binary images and estimates log p(x) and its bounds of some test images.

    `prior_ess`, `encoder_ess`: median share of the draws that count. `missed`: nats by which the
    estimate from the prior lies below that from the encoder's q. `gap`: nats that a q of its own
    adds to the bound of an image, as a share of the bound. `slower`: its time over the encoder's.
    """
    setting = Setting(**rest)
    data = binary(setting.images())
    latent, network = Variational(dim), Mlp((256,))
    model = train(folder, data, latent, network, setting, likelihood=Bernoulli()).model
    y = whole(data.test.head(images))
    prior_nll, prior_size = from_prior(model, y, draws, setting.seed)
    known = metrics.importance_estimate(model, y, draws=draws, seed=setting.seed)
    shared, own, slower = bounds(model, y, setting.seed, steps=steps)
    return {
        "prior_ess": float(prior_size.median()) / draws,
        "encoder_ess": float(known.effective_sample_size.median()) / draws,
        "missed": float((prior_nll - known.nll).mean()),
        "gap": (own - shared) / abs(shared),
        "slower": slower,
    }


@torch.no_grad()
def from_prior(model: Autoencoder, y: Tensor, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """-log 1/K sum_k p(x | z_k), z_k from the prior, and the effective number of draws, `[n]`."""
    codes = model.prior.sample(draws, torch.Generator().manual_seed(seed))
    output = model.decoder(model.bottleneck.embed(codes))
    rows = [model.likelihood.log_prob(x.expand(draws, *x.shape), output) for x in y]
    weights = torch.stack(rows).double()
    first, second = weights.logsumexp(1), (2 * weights).logsumexp(1)
    return torch.tensor(float(draws)).log() - first, (2 * first - second).exp()


def bounds(
    model: Autoencoder, y: Tensor, seed: int, *, steps: int = 300, draws: int = 16
) -> tuple[float, float, float]:
    """Mean bound with the encoder's q and with a normal of its own for each image, nats.

    The third: seconds of finding the latter over those of the encoder.
    """
    began = time.process_time()
    posterior = model.latent(y).posterior
    encoding = time.process_time() - began
    assert isinstance(posterior, Normal)
    location, scale = posterior.loc.detach(), posterior.scale.detach().log()
    leaves = [location.clone().requires_grad_(), scale.clone().requires_grad_()]
    optimizer = torch.optim.Adam(leaves, lr=0.03)
    generator = torch.Generator().manual_seed(seed)
    began = time.process_time()
    for _ in range(steps):
        optimizer.zero_grad()
        (-_bound(model, y, leaves[0], leaves[1], draws, generator)).backward()
        optimizer.step()
    fitting = time.process_time() - began
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed + 1)
        shared = float(_bound(model, y, location, scale, 50 * draws, generator))
        generator = torch.Generator().manual_seed(seed + 1)
        own = float(_bound(model, y, leaves[0], leaves[1], 50 * draws, generator))
    return shared, own, fitting / max(encoding, 1e-9)


def _bound(
    model: Autoencoder, y: Tensor, location: Tensor, log_scale: Tensor, draws: int, noise: Any
) -> Tensor:
    """Mean over images of E_q log p(x | z) - KL(q || N(0, I)), by draws."""
    q = Normal(location, log_scale.exp())
    total = torch.zeros(())
    for _ in range(draws):
        z = location + q.scale * torch.randn(location.shape, generator=noise)
        total = total + model.likelihood.log_prob(y, model.decoder(z)).mean() / draws
    return total - kl_divergence(q, Normal(0.0, 1.0)).sum(-1).mean()


def trials(scale: Scale) -> list[Call]:
    """One model for each size of latent and seed."""
    shared = {**sizes(scale), "epochs": scale.pick(1, 40, 100)}
    shared |= {"images": scale.pick(4, 50, 500), "draws": scale.pick(50, 5000, 5000)}
    shared |= {"steps": scale.pick(10, 300, 300)}
    dims = scale.pick((2, 3, 4), DIMS, DIMS)
    return [
        Call(inferred, {**shared, "dim": dim, "seed": seed})
        for dim in dims
        for seed in range(scale.seeds)
    ]


def by_dim(evidence: Evidence, figure: str) -> list[list[float]]:
    """Values of all seeds for each size of latent, ascending."""
    dims = sorted({int(str(o.task.arguments["dim"])) for o in evidence.outcomes})
    return [evidence.values(figure, dim=dim) for dim in dims]


def figures(evidence: Evidence) -> list[Block]:
    """Shares of draws that count, and what a q of its own gains, by size of latent."""
    dims = sorted({float(str(o.task.arguments["dim"])) for o in evidence.outcomes})

    def points(name: str) -> dict[float, list[float]]:
        return dict(zip(dims, by_dim(evidence, name), strict=True))

    shares = {"from the prior": points("prior_ess"), "from the encoder": points("encoder_ess")}
    gains = {"share of the bound": points("gap")}
    across = "numbers in the latent"
    return [
        lines(
            shares, across=across, quantity="effective share of 5,000 draws",
            caption="Median over held-out images.", logarithmic=(True, True),
        ),
        lines(
            gains, across=across, quantity="gain of a q for each image",
            caption="What the shared encoder loses.", logarithmic=(True, False),
        ),
    ]  # fmt: skip


def _logs(values: list[float]) -> list[float]:
    return torch.tensor(values).log10().tolist()


CLAIMS = (
    Claim(
        name="prior-draws-miss",
        document="002",
        place="2.1, question 1",
        says=(
            "Draws from the prior estimate p(x) at an extremely low efficiency, which falls with "
            "the size of the latent."
        ),
        hypotheses=(
            Hypothesis(
                "effective share of 5,000 draws from the prior, the largest latent",
                "below",
                0.01,
                lambda e: Estimate.over_seeds(by_dim(e, "prior_ess")[-1]),
                since=SINCE,
            ),
            Hypothesis(
                "log10 of that share: the largest latent less the smallest",
                "below",
                0.0,
                lambda e: Estimate.over_seeds(
                    [
                        a - b
                        for a, b in zip(
                            _logs(by_dim(e, "prior_ess")[-1]),
                            _logs(by_dim(e, "prior_ess")[0]),
                            strict=True,
                        )
                    ]
                ),
                since=SINCE,
            ),
            Hypothesis(
                "nats by which it misses the estimate from the encoder's draws, the largest latent",
                "above",
                1.0,
                lambda e: Estimate.over_seeds(by_dim(e, "missed")[-1]),
                since=SINCE,
            ),
        ),
        trials=trials,
        figures=figures,
        minutes=3.0,
        notes=("Binary images, so that p(x) is a probability; 5,000 draws either way.",),
    ),
    Claim(
        name="one-encoder-serves-all",
        document="002",
        place="2.1, note on amortised inference",
        says=(
            "A q for each example cannot be afforded; one encoder learns a good mapping for all "
            "of them."
        ),
        hypotheses=(
            Hypothesis(
                "what a q of its own for each held-out image adds to the bound, as a share of it, "
                "the largest latent",
                "below",
                0.05,
                lambda e: Estimate.over_seeds(by_dim(e, "gap")[-1]),
                since=SINCE,
            ),
            Hypothesis(
                "time of fitting such a q over that of the encoder",
                "above",
                100.0,
                lambda e: Estimate.over_seeds(by_dim(e, "slower")[-1]),
                since=SINCE,
            ),
        ),
        trials=trials,
        figures=figures,
        minutes=3.0,
        notes=(
            "300 steps of Adam from the encoder's own answer (Cremer et al., 2018, call the "
            "difference the amortisation gap). A twentieth of the bound is our line for good.",
        ),
    ),
)
