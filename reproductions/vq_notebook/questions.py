"""The notebook's six questions, each answered with a measurement on one trained network."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.bottlenecks import Identity
from narrows.data.dataset import Dataset
from narrows.functional.kmeans import kmeans, kmeans_plus_plus
from narrows.functional.nearest import nearest
from narrows.metrics import components_for, explained_by_atoms, pca_spectrum, self_expression
from narrows.networks import Conv
from narrows.report import Block
from narrows.sparse import learn_dictionary, omp
from narrows.tasks import Call, Result
from narrows.training import Run
from reproductions.claim import Claim, Evidence, Hypothesis, Scale, differences, ratios
from reproductions.figures import dots, lines
from reproductions.training import Setting, train, whole
from reproductions.verdict import Estimate
from reproductions.vq_notebook.models import features, sizes

CHANGED = "2026-11-26"
"""Since when some claims are set against a control."""
K_ATOMS = 4
_ROWS = 6000
_COMPARED = 600


def answers(folder: Path, *, hidden: int, dim: int, size: int, **rest: Any) -> Result:
    """Trains the network without a bottleneck and looks at its z; see the claims."""
    setting = Setting(**rest)
    images, seed = setting.images(), setting.seed
    network = Conv(hidden, 2, residual_hidden=max(1, hidden // 4))
    run = train(folder, images, Identity(dim), network, setting)
    generator = torch.Generator().manual_seed(seed)
    known = features(run.model, images.train)
    known = known[torch.randperm(len(known), generator=generator)[:_ROWS]]
    new = features(run.model, images.test)
    some = new[torch.randperm(len(new), generator=generator)[:_COMPARED]]
    centre = known.mean(0)
    atoms = _learn(known - centre, size, seed)
    explained = explained_by_atoms(some - centre, atoms, k=min(K_ATOMS, dim - 1))
    counts = _sizes_of_codebooks(dim, size)
    return {
        "components": components_for(new, 0.95) / dim,
        "spectrum": pca_spectrum(new).numpy(),
        "subspaces": self_expression((some - centre).double(), 3)["ratio"],
        "explained_atoms": explained["atoms"],
        "explained_pca": explained["pca"],
        "explained_random": explained["random"],
        "subspaces_untrained": _untrained(images, network, dim, seed),
        "left_by_count": _left(known, new, counts, generator),
        "left_of_normal": _left(_like(known, generator), _like(new, generator), counts, generator),
        "dense": run.test["nmse"],
        "counts": np.array(counts, dtype=np.float64),
        "by_count": np.array([_with_codes(run, images, known, n, generator) for n in counts]),
        "nmse_patches": _patches(images, size, seed),
        "nmse_z": _with_atoms(run, images, atoms, centre),
    }


def _learn(signals: Tensor, size: int, seed: int) -> Tensor:
    k = min(K_ATOMS, signals.shape[1] - 1)
    return learn_dictionary(signals, size, encode=lambda x, d: omp(x, d, k=k), epochs=8, seed=seed)


def _sizes_of_codebooks(dim: int, size: int) -> tuple[int, ...]:
    """Powers of two up to 4 dim^2, dim^2 and `size` (of the notebook's kind) among them."""
    last = int(math.log2(max(4 * dim * dim, size)))
    return tuple(2**i for i in range(1, last + 1))


def _copied(run: Run, images: Dataset, z: Tensor) -> float:
    x = whole(images.test)
    with torch.no_grad():
        maps = z.view(len(x), *run.model.sites, -1)
        copies = torch.cat([run.model.decoder(part) for part in maps.split(256)])
    return (copies - x).square().mean().item() / images.variance


def _with_codes(
    run: Run, images: Dataset, known: Tensor, n: int, generator: torch.Generator
) -> float:
    """NMSE with n code vectors by k-means in the place of z."""
    codes, _ = kmeans(known, kmeans_plus_plus(known, n, generator), iterations=8)
    z = features(run.model, images.test)
    return _copied(run, images, codes[nearest(z, codes)])


def _with_atoms(run: Run, images: Dataset, atoms: Tensor, centre: Tensor) -> float:
    """NMSE with a few atoms a site in the place of z."""
    z = features(run.model, images.test) - centre
    solution = omp(z, atoms, k=min(K_ATOMS, z.shape[1] - 1))
    return _copied(run, images, solution.codes @ atoms + centre)


def _untrained(images: Dataset, network: Conv, dim: int, seed: int) -> float:
    """What 3 neighbours leave of the features of the same network before any training."""
    torch.manual_seed(seed + 1)
    encoder = network.encoder(images.shape, dim)
    with torch.no_grad():
        z = torch.cat([encoder(part).flatten(0, -2) for part in whole(images.test).split(256)])
    some = z[torch.randperm(len(z))[:_COMPARED]]
    return self_expression((some - some.mean(0)).double(), 3)["ratio"]


def _like(z: Tensor, generator: torch.Generator) -> Tensor:
    """Normal vectors with the mean and covariance of z."""
    values, axes = torch.linalg.eigh(z.T.cov())
    noise = torch.randn(z.shape, generator=generator)
    return z.mean(0) + noise * values.clamp_min(0).sqrt() @ axes.T


def _left(
    known: Tensor, new: Tensor, counts: tuple[int, ...], generator: torch.Generator
) -> NDArray[np.float64]:
    """Share of the variance of new vectors that n k-means codes of the known ones leave."""
    found = []
    for n in counts:
        codes, _ = kmeans(known, kmeans_plus_plus(known, n, generator), iterations=8)
        error = (new - codes[nearest(new, codes)]).square().sum()
        found.append(float(error / (new - new.mean(0)).square().sum()))
    return np.array(found)


def _patches(images: Dataset, size: int, seed: int) -> float:
    """Test NMSE of as many atoms a 4x4 patch, learned on pixels without any network."""
    known, new = (_cut(whole(split)) for split in (images.train, images.test))
    generator = torch.Generator().manual_seed(seed)
    known = known[torch.randperm(len(known), generator=generator)[:_ROWS]]
    centre = known.mean(0)
    atoms = _learn(known - centre, size, seed)
    solution = omp(new - centre, atoms, k=min(K_ATOMS, new.shape[1] - 1))
    error = solution.codes @ atoms + centre - new
    return error.square().mean().item() / images.variance


def _cut(x: Tensor) -> Tensor:
    """All 4x4 patches side by side, `[n, channels * 16]`; what is left at the border is cut."""
    patches = x.unfold(2, 4, 4).unfold(3, 4, 4)
    return patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * 16)


def trials(scale: Scale) -> list[Call]:
    """One network per seed."""
    shared = {**sizes(scale), "dim": scale.pick(4, 16, 32)}  # 4 dim^2 codes must be fewer than z
    shared |= {"train_examples": scale.pick(32, 3000, 50_000), "epochs": scale.pick(2, 40, 1021)}
    return [Call(answers, {**shared, "seed": seed}) for seed in range(scale.seeds)]


def values(evidence: Evidence, name: str) -> list[float]:
    """A figure of every seed."""
    return [float(outcome.result[name]) for outcome in evidence.outcomes]


def at_count(evidence: Evidence, times: float, figure: str = "by_count") -> list[float]:
    """A figure by count (NMSE) with dim^2 * times code vectors."""
    found = []
    for outcome in evidence.outcomes:
        wanted = times * int(str(outcome.task.arguments["dim"])) ** 2
        index = int(np.abs(np.asarray(outcome.result["counts"]) - wanted).argmin())
        found.append(float(np.asarray(outcome.result[figure])[index]))
    return found


def _over_counts(evidence: Evidence) -> Block:
    counts = np.asarray(evidence.outcomes[0].result["counts"])
    rows = np.stack([np.asarray(o.result["by_count"]) for o in evidence.outcomes])
    series = {"k-means codes": {c: list(v) for c, v in zip(counts, rows.T, strict=True)}}
    series["z itself"] = {c: values(evidence, "dense") for c in counts}
    return lines(
        series, across="code vectors", quantity="test NMSE", logarithmic=(True, True),
        caption="Codes by k-means on z in the place of z, the decoder unchanged.",
    )  # fmt: skip


def _spectrum(evidence: Evidence) -> Block:
    rows = np.stack([np.asarray(o.result["spectrum"]) for o in evidence.outcomes])
    series = {"z": {float(i): list(c) for i, c in enumerate(rows.T, 1)}}
    return lines(
        series, across="principal component", quantity="share of the variance of z",
        caption="Of held-out sites.", logarithmic=(False, True),
    )  # fmt: skip


def _shares(evidence: Evidence) -> Block:
    names = {"explained_atoms": "learned atoms", "explained_pca": "principal directions"}
    names["explained_random"] = "random atoms of equal covariance"
    groups = {text: values(evidence, name) for name, text in names.items()}
    return dots(groups, quantity="share of z explained by 4", caption="Held-out sites.")


def _regular(evidence: Evidence) -> Block:
    groups = {"4 atoms a patch of pixels": values(evidence, "nmse_patches")}
    groups |= {"4 atoms a site of z": values(evidence, "nmse_z")}
    groups |= {"z itself": values(evidence, "dense")}
    return dots(groups, quantity="test NMSE", caption="Equally many atoms and coefficients.")


def _company(evidence: Evidence) -> Block:
    groups = {"z": values(evidence, "subspaces")}
    groups |= {"z of the untrained network": values(evidence, "subspaces_untrained")}
    return dots(groups, quantity="residual over that of normal vectors", caption="3 neighbours.")


def claim(
    number: int,
    name: str,
    says: str,
    hypothesis: Hypothesis,
    figure: Any,
    note: str,
    control: Hypothesis | None = None,
) -> Claim:
    """One of the six."""
    return Claim(
        name=name,
        document="003",
        place=f"TODO {number}",
        says=says,
        hypotheses=(hypothesis,) if control is None else (hypothesis, control),
        trials=trials,
        figures=lambda e: [figure(e)],
        minutes=0.8,
        notes=(note,),
    )


CLAIMS = (
    claim(
        1,
        "z-low-dimensional",
        "z is low-dimensional.",
        Hypothesis(
            "principal components for 95 % of the variance of z, as a share of its width",
            "below",
            0.5,
            lambda e: Estimate.over_seeds(values(e, "components")),
        ),
        _spectrum,
        "Of the network without a bottleneck, whose width nothing else limits.",
    ),
    claim(
        2,
        "z-union-of-subspaces",
        "z lies in a union of low-dimensional subspaces.",
        Hypothesis(
            "what 3 other z leave of a z, over the same for normal vectors of that covariance",
            "below",
            0.8,
            lambda e: Estimate.over_seeds(values(e, "subspaces")),
        ),
        _company,
        "Near 1 nothing but the covariance is at work, near 0 it is a union of subspaces. An "
        "untrained network's z are the control: what training adds.",
        Hypothesis(
            "the same share: trained network less untrained",
            "below",
            0.0,
            lambda e: differences(values(e, "subspaces"), values(e, "subspaces_untrained")),
            since=CHANGED,
        ),
    ),
    claim(
        3,
        "z-sparse-in-dictionary",
        "z is represented by few items of a dictionary.",
        Hypothesis(
            "share of z that 4 learned atoms explain, less that of 4 principal directions",
            "above",
            0.0,
            lambda e: Estimate.over_seeds(
                [
                    a - b
                    for a, b in zip(
                        values(e, "explained_atoms"), values(e, "explained_pca"), strict=True
                    )
                ]
            ),
        ),
        _shares,
        "The document's hope is that atoms chosen for each z beat one basis for all. Random "
        "atoms of equal covariance are the control: what learning them adds.",
        Hypothesis(
            "what 4 learned atoms leave of z over what 4 of as many random atoms leave",
            "below",
            0.5,
            lambda e: ratios(
                [1 - share for share in values(e, "explained_atoms")],
                [1 - share for share in values(e, "explained_random")],
            ),
            since=CHANGED,
        ),
    ),
    claim(
        4,
        "few-codes-suffice",
        "A small set of code vectors allows efficient reconstruction.",
        Hypothesis(
            "test NMSE with D^2 k-means codes of z over that of z itself",
            "below",
            2.0,
            lambda e: ratios(at_count(e, 1.0), values(e, "dense")),
        ),
        _over_counts,
        "The set looked for: means of z; the figure has all sizes. At most twice the error.",
    ),
    claim(
        5,
        "quadratic-codebook",
        "A codebook may grow with the square of the width D instead of exponentially.",
        Hypothesis(
            "test NMSE with D^2 codes over that with 4 D^2",
            "below",
            1.1,
            lambda e: ratios(at_count(e, 1.0), at_count(e, 4.0)),
        ),
        _over_counts,
        "If D^2 sufficed, four times as many would save less than a tenth of the error. Normal "
        "vectors of equal covariance are the control: what the place of z adds.",
        Hypothesis(
            "share of z that D^2 codes leave over the same of normal vectors of that covariance",
            "below",
            0.8,
            lambda e: ratios(at_count(e, 1.0, "left_by_count"), at_count(e, 1.0, "left_of_normal")),
            since=CHANGED,
        ),
    ),
    claim(
        6,
        "regular-dictionary-first",
        "Regular dictionary learning, without a network, should be tried first.",
        Hypothesis(
            "test NMSE of 4 atoms a 4x4 patch of pixels over that of 4 atoms a site of z",
            "below",
            1.0,
            lambda e: ratios(values(e, "nmse_patches"), values(e, "nmse_z")),
        ),
        _regular,
        "As many atoms, coefficients and sites in both; learned alike.",
    ),
)
