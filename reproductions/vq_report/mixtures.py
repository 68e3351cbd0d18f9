"""Does a mixture of normals depend on the number of its clusters?"""

from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis, Scale
from reproductions.figures import lines
from reproductions.training import subset, whole
from reproductions.verdict import Estimate

COUNTS = (1, 2, 5, 10, 20, 40, 80)


def by_clusters(folder: Path, *, examples: int, dim: int, largest: int, seed: int) -> Result:
    """Held-out log-likelihood per image of mixtures of normals on principal components of digits.

    A new half of the images is held out for each seed.
    """
    del folder
    x = whole(subset("digits", examples, 1).train).flatten(1).numpy().astype(np.float64)
    x = x[np.random.default_rng(seed).permutation(len(x))]
    known, new = np.array_split(x, 2)
    pca = PCA(dim, random_state=0).fit(known)
    counts = [count for count in COUNTS if count <= largest]
    scores = [
        GaussianMixture(count, reg_covar=1e-3, random_state=seed)
        .fit(pca.transform(known))
        .score(pca.transform(new))
        for count in counts
    ]
    return {"scores": np.array(scores)}


def gap(evidence: Evidence, end: int) -> Estimate:
    """Nats per image that the best number of clusters is better than one end of the range."""
    rows = [np.asarray(outcome.result["scores"]) for outcome in evidence.outcomes]
    return Estimate.over_seeds([float(row.max() - row[end]) for row in rows])


def _trials(scale: Scale) -> list[Call]:
    arguments = {"examples": scale.pick(100, 1200, 1200), "dim": scale.pick(3, 12, 12)}
    arguments |= {"largest": scale.pick(5, 80, 80)}
    return [Call(by_clusters, {**arguments, "seed": seed}) for seed in range(scale.seeds)]


def _figure(evidence: Evidence):
    rows = np.stack([np.asarray(outcome.result["scores"]) for outcome in evidence.outcomes])
    series = {"mixture": {float(k): list(c) for k, c in zip(COUNTS, rows.T, strict=False)}}
    return lines(
        series, across="clusters", quantity="held-out log p [nats per image]",
        caption="Full covariances, 12 principal components of digits.", logarithmic=(True, False),
    )  # fmt: skip


CLAIM = Claim(
    name="mixture-needs-k",
    document="004",
    place="abstract",
    says="A mixture of normals performs poorly where its number of clusters is chosen wrongly.",
    hypotheses=(
        Hypothesis("nats per image lost with one cluster", "above", 0.1, lambda e: gap(e, 0)),
        Hypothesis("nats per image lost with 80 clusters", "above", 0.1, lambda e: gap(e, -1)),
    ),
    trials=_trials,
    figures=lambda e: [_figure(e)],
    minutes=0.5,
    notes=("The best of the numbers tried is the line from which the loss is counted.",),
)
