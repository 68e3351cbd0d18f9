"""Does one discrete coordinate find the digit?"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from narrows.bottlenecks import Categorical, GumbelSoftmax, Split, Variational
from narrows.likelihoods import Normal
from narrows.networks import Mlp
from narrows.report import Block, strips
from narrows.tasks import Call, Result
from narrows.training import LinearBeta
from reproductions.autoencoder_guide.models import sizes
from reproductions.claim import Claim, Evidence, Hypothesis, differences
from reproductions.figures import dots
from reproductions.training import Setting, decoded, labels, train, whole
from reproductions.verdict import Estimate

DIGITS = 10


def categories(folder: Path, **rest: Any) -> Result:
    """Trains the `discrete-continuous` recipe's model and names digits by their category."""
    setting = Setting(**rest)
    data = setting.images()
    parts = [Categorical(DIGITS, estimator=GumbelSoftmax(decay=0.001)), Variational(2)]
    run = train(
        folder, data, Split(parts), Mlp((256, 256)), setting,
        # The recipe's sigma of .25 on 64 pixels, with as many nats on any number of them.
        likelihood=Normal(0.25 * (data.dimensions / 64) ** 0.5),
        callbacks=[LinearBeta(start=0.1, until=0.5)],
    )  # fmt: skip
    model = run.model
    with torch.no_grad():
        known, new = (_category(model.latent(whole(part)).code) for part in (data.train, data.test))
        z = torch.cat([torch.eye(DIGITS), torch.zeros(DIGITS, 2)], 1)
        pictures = decoded(model, z).clamp(0, 1)
    flat, other = (whole(part).flatten(1).numpy() for part in (data.train, data.test))
    clusters = KMeans(DIGITS, n_init="auto", random_state=setting.seed).fit(flat)
    truth = labels(data.train), labels(data.test)
    return {
        "named": named(known, new, *truth),
        "named_by_clusters": named(
            torch.from_numpy(clusters.labels_).long(),
            torch.from_numpy(clusters.predict(other)).long(),
            *truth,
        ),
        "pictures": pictures.numpy().astype(np.float16),
    }


def _category(code: Any) -> Tensor:
    return torch.as_tensor(code[0]).flatten()


def named(known: Tensor, new: Tensor, known_truth: Tensor, truth: Tensor) -> float:
    """Share of new examples whose class is the commonest of their category in training."""
    counts = torch.zeros(DIGITS, int(known_truth.max()) + 1)
    counts.index_put_((known, known_truth), torch.ones(len(known)), accumulate=True)
    return float((counts.argmax(1)[new] == truth).double().mean())


def figures(evidence: Evidence) -> list[Block]:
    """Accuracies, and what each category looks like."""
    groups = {"category": evidence.values("named")}
    groups |= {"k-means on pixels": evidence.values("named_by_clusters")}
    return [
        dots(groups, quantity="share of digits named", caption="Ten categories or clusters."),
        strips(
            {"each category": evidence.array("pictures")},
            caption="The ten categories at the middle of the continuous plane, seed 0.",
        ),
    ]


CLAIM = Claim(
    name="discrete-coordinate-finds-digit",
    document="002",
    place="2.3",
    says=(
        "One discrete coordinate may come to stand for the digit, beside continuous ones for style."
    ),
    hypotheses=(
        Hypothesis(
            "share of held-out digits that their category names (the commonest in training)",
            "above",
            0.5,
            lambda e: Estimate.over_seeds(e.values("named")),
            since="2026-11-26",
        ),
        Hypothesis(
            "that share less what ten k-means clusters of pixels name",
            "above",
            0.0,
            lambda e: differences(e.values("named"), e.values("named_by_clusters")),
            since="2026-11-26",
        ),
    ),
    trials=lambda scale: [
        Call(categories, {**sizes(scale), "epochs": scale.pick(1, 60, 25), "seed": seed})
        for seed in range(scale.seeds)
    ],
    figures=figures,
    minutes=3.0,
    notes=("Gumbel-softmax in place of the score function, which is slower to learn.",),
)
