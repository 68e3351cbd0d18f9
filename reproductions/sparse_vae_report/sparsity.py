"""How sparse are the codes, and why are they not?"""

from pathlib import Path

import numpy as np
import torch

from narrows.report import Block
from narrows.sparse import L1, coordinate_descent
from narrows.tasks import Call, Result
from reproductions.claim import Claim, Evidence, Hypothesis, Scale, differences
from reproductions.figures import dots, lines
from reproductions.sparse_vae_report import pictures
from reproductions.sparse_vae_report.as_written.backtracking import backtracking_fista
from reproductions.sparse_vae_report.models import WITH_PRIOR, trials
from reproductions.verdict import Estimate

SHARE = 500 / 512
SHARES = (0.002, 0.01, 0.05, 0.2, 0.5, 0.7)


def active_by_lambda(folder: Path, *, atoms: int, features: int, signals: int, seed: int) -> Result:
    """Share of active atoms of normal signals over the document's atoms, by lambda/lambda_max."""
    del folder
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(signals, features, generator=generator)
    d = torch.randn(atoms, features, generator=generator)
    found: dict[str, float] = {
        "as_written": float((backtracking_fista(x, d, 1.0) != 0).double().mean()),
        "optimum": float(coordinate_descent(x, d, penalty=1.0, tolerance=1e-6).l0.double().mean())
        / atoms,
        "share": float((1.0 / (x @ d.T).abs().amax(1)).median()),
    }
    by_share = [coordinate_descent(x, d, penalty=L1(s, relative=True)).l0 for s in SHARES]
    return found | {"by_share": np.array([float(l0.double().mean()) / atoms for l0 in by_share])}


def initial(scale: Scale) -> list[Call]:
    """At the document's own size by default: no training is needed for it."""
    arguments = {
        "atoms": scale.pick(16, 512, 512),
        "features": scale.pick(512, 16_384, 16_384),
        "signals": scale.pick(4, 16, 128),
    }
    return [Call(active_by_lambda, {**arguments, "seed": seed}) for seed in range(scale.seeds)]


def first(evidence: Evidence) -> list:
    """Outcomes at the document's size."""
    return [o for o in evidence.outcomes if o.task.function is active_by_lambda]


def trained(part: str, kind: str, what: str) -> Hypothesis:
    """The document's count after training, as a share of the atoms."""
    return Hypothesis(
        f"active atoms of {part} images as a share of all, {what} (500 of 512 in the document)",
        "above",
        SHARE - 0.05,
        lambda e: Estimate.over_seeds(e.values(f"active_{part}", kind=kind)),
    )


def figures(evidence: Evidence) -> list[Block]:
    """Sparsity after training, and what lambda does to it."""
    groups = {
        f"{kind}, {part}": evidence.values(f"active_{part}", kind=kind)
        for kind in ("sparse as written", "sparse")
        for part in ("train", "test")
    }
    rows = np.stack([o.result["by_share"] for o in first(evidence)])
    series = {"exact lasso": {s: list(c) for s, c in zip(SHARES, rows.T, strict=True)}}
    kinds = ("sparse as written", "sparse")
    return [
        pictures.curves(evidence, kinds, "active_curve", "share of active atoms, held out"),
        dots(groups, quantity="share of active atoms", caption="After training, figures 4 and 5."),
        lines(
            series, across="lambda / lambda_max", quantity="share of active atoms",
            caption="Normal features and atoms at the start.", logarithmic=(True, False),
        ),
    ]  # fmt: skip


WRITTEN = Claim(
    name="not-sparse-as-written",
    document="000",
    place="data, figures 4 and 5",
    says="More than 500 of 512 coefficients are active on average, so that codes are not sparse.",
    hypotheses=(
        Hypothesis(
            "share of active atoms before training at the document's size, its own ten steps",
            "above",
            SHARE,
            lambda e: Estimate.over_seeds([o.result["as_written"] for o in first(e)]),
        ),
        Hypothesis(
            "the same for the exact lasso: more steps would not help",
            "above",
            SHARE,
            lambda e: Estimate.over_seeds([o.result["optimum"] for o in first(e)]),
        ),
        Hypothesis(
            "lambda / lambda_max there (the cause: 1 would switch every atom off)",
            "below",
            0.01,
            lambda e: Estimate.over_seeds([o.result["share"] for o in first(e)]),
        ),
        trained("train", "sparse as written", "as written"),
        trained("test", "sparse as written", "as written"),
    ),
    trials=lambda scale: [*initial(scale), *trials(scale, "sparse as written", "sparse")],
    figures=figures,
    minutes=2.0,
    notes=("lambda is left at 1 while atoms have norm 128. After training the bound allows 0.05.",),
)
REPAIRED = Claim(
    name="not-sparse-repaired",
    ours=True,
    document="000",
    place="data, figures 4 and 5, and conclusion",
    says="A trained sparse dictionary ends with nearly all of its atoms active.",
    hypotheses=(
        trained("train", "sparse", "unit norms and four atoms a site"),
        trained("test", "sparse", "unit norms and four atoms a site"),
    ),
    trials=lambda scale: [*initial(scale), *trials(scale, "sparse as written", "sparse")],
    figures=figures,
    minutes=2.0,
    notes=(
        "Four a site by construction: the question is whether the model trains all the same, and "
        "`sparse-reconstructs-better` answers it.",
    ),
)


def with_prior(evidence: Evidence) -> list[Block]:
    """What the term for p(z) does to the code and to the copies."""
    kinds = ("sparse as written", WITH_PRIOR)
    active = {kind: evidence.values("active_test", kind=kind) for kind in kinds}
    errors = {kind: evidence.values("nmse", kind=kind) for kind in kinds}
    return [
        dots(active, quantity="share of active atoms", caption="Held-out images."),
        dots(errors, quantity="test NMSE", caption="Held-out images."),
    ]


PRIOR = Claim(
    name="prior-on-z-makes-sparse",
    ours=True,
    document="000",
    place="method, the loss: lambda log p(z)",
    says="The loss's term for p(z), which the code leaves out, would make the code sparser.",
    hypotheses=(
        Hypothesis(
            "active atoms of test images as a share of all: with lambda log p(z) less without",
            "below",
            0.0,
            lambda e: differences(
                e.values("active_test", kind=WITH_PRIOR),
                e.values("active_test", kind="sparse as written"),
            ),
            since="2026-11-26",
        ),
    ),
    trials=lambda scale: trials(scale, "sparse as written", WITH_PRIOR),
    figures=with_prior,
    minutes=2.0,
    notes=("p(z) is N(0, I) on what the decoder is given: it shrinks values, and no atom to 0.",),
)
CLAIMS = (WRITTEN, REPAIRED, PRIOR)
