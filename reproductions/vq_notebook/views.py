"""The notebook's pictures: latent maps, masks, copies, atoms in the plane."""

import importlib
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.report import Block, pca_rgb, principal_plane, strips
from reproductions.claim import Claim, Evidence, Hypothesis
from reproductions.figures import dots, planes
from reproductions.verdict import Estimate
from reproductions.vq_notebook.models import trials

KIND = "dictionary"
SHOWN = 10


def pictures(evidence: Evidence) -> list[Block]:
    """Originals, codes as colours, with a site masked, and what the decoder makes of both."""
    colours = pca_rgb(evidence.array("maps", kind=KIND))[:SHOWN]
    holed = colours.copy()
    sites = holed.shape[2] * holed.shape[3]
    for i, one in enumerate(holed):
        row, column = divmod(i % sites, holed.shape[3])
        one[:, row, column] = 0
    rows = {"originals": evidence.array("originals", kind=KIND), "codes (PCA as RGB)": colours}
    rows |= {"copies": evidence.array("copies", kind=KIND), "codes, a site masked": holed}
    rows |= {"their copies": evidence.array("masked", kind=KIND)}
    shown = {k: np.asarray(v, dtype=np.float64)[:SHOWN].clip(0, 1) for k, v in rows.items()}
    side = next(iter(shown.values())).shape[-1]
    return [
        strips(
            {name: enlarged(images, side) for name, images in shown.items()},
            caption="Held-out images; in the i-th column the i-th site is masked. Seed 0.",
        )
    ]


def enlarged(images: NDArray[Any], side: int) -> NDArray[Any]:
    """Maps of sites at the images' size, each site a square."""
    factor = max(1, side // images.shape[-1])
    return images.repeat(factor, 2).repeat(factor, 3)[..., :side, :side]


def atoms_in_the_plane(atoms: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """UMAP by cosine as in the notebook where umap is installed; else principal components.

    Fewer than 100 atoms are not worth the half minute that umap takes to compile itself.
    """
    if len(atoms) < 100 or find_spec("umap") is None:
        plane, share = principal_plane(atoms)
        return plane, f"PCA, {share.sum():.0%} of variance"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap names parts of it that are not installed
        umap = importlib.import_module("umap")
        made = umap.UMAP(n_neighbors=3, min_dist=0.1, metric="cosine", random_state=0, n_jobs=1)
        return np.asarray(made.fit_transform(atoms)), "UMAP (cosine)"


def maps_and_atoms(evidence: Evidence) -> list[Block]:
    """Latent maps, masks, copies, and the atoms in the plane."""
    plane, how = atoms_in_the_plane(np.asarray(evidence.array("atoms", kind=KIND)))
    caption = "Atoms of the repaired dictionary, seed 0."
    return [*pictures(evidence), planes({how: plane}, caption=caption, names=("", ""))]


def blur(evidence: Evidence) -> list[Block]:
    """How sharp the copies are."""
    ratios = {
        name.replace("_ratio", ""): evidence.values(name, kind=KIND)
        for name in ("high_frequency_ratio", "laplacian_ratio")
    }
    return [
        *pictures(evidence),
        dots(ratios, quantity="sharpness of copies over originals", caption="1: as sharp."),
    ]


def claim(
    name: str, place: str, says: str, hypothesis: Hypothesis, figures: Callable, *, ours: bool
) -> Claim:
    """One of the sentences that go with the pictures, or one of ours about them."""
    return Claim(
        name=name,
        document="003",
        place=place,
        says=says,
        hypotheses=(hypothesis,),
        trials=lambda scale: trials(scale, KIND),
        figures=figures,
        minutes=0.4,
        notes=("Of the repaired dictionary: the decoder sees the code alone.",),
        ours=ours,
    )


CLAIMS = (
    claim(
        "masked-site-is-local",
        "view reconstructions, masks",
        "A masked site of the code changes the image around that site.",
        Hypothesis(
            "share of the squared change within the site's patch and the eight around it",
            "above",
            0.9,
            lambda e: Estimate.over_seeds(e.values("mask_near", kind=KIND)),
        ),
        maps_and_atoms,
        ours=True,
    ),
    claim(
        "copies-a-little-blurry",
        "view reconstructions, last sentence",
        "Reconstructions are decent but a little blurry.",
        Hypothesis(
            "energy above 1/4 cycle per pixel of copies over that of originals",
            "below",
            1.0,
            lambda e: Estimate.over_seeds(e.values("high_frequency_ratio", kind=KIND)),
        ),
        blur,
        ours=False,
    ),
)
