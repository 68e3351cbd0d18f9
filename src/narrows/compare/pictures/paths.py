"""Between two codes, and along one feature of a code."""

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import Values
from narrows.generation import interpolate, traverse
from narrows.report import Picture, Strips, grid, strips

STEPS = 9
FEATURES = 4
ABOUT = (
    "Each row moves one feature of one image's code over the range of 96 of 100 codes, at all "
    "sites together; the features that vary most. Discrete and sparse codes have no such axis."
)


def interpolations(models: Mapping[str, Autoencoder], a: Tensor, *, b: Tensor) -> list[Strips]:
    """One strip per model from image a[i] to b[i], on the path that suits the model's code."""
    found = []
    for one, two in zip(a.split(1), b.split(1), strict=True):
        blend = torch.stack([torch.lerp(one[0], two[0], i / (STEPS - 1)) for i in range(STEPS)])
        rows = {"pixels blended": blend.cpu().numpy()}
        for name, model in models.items():
            path = interpolate(model, one, b=two, steps=STEPS)[0]
            rows[name] = path.clamp(0, 1).cpu().numpy()
        caption = (
            "From the left image's code to the right one's: spherically for continuous codes, "
            "index by index for discrete ones, atoms fading out and in for sparse ones. First row: "
            "what needs no code."
        )
        found.append(strips(rows, caption=caption))
    return found


def traversals(models: Mapping[str, Autoencoder], x: Tensor) -> list[Picture]:
    """One feature at a time over its range, at all sites together; continuous codes alone.

    Args:
        models: by label.
        x: examples; the first is the one that is changed.
    """
    found = []
    for name, model in models.items():
        space = model.bottleneck.codes
        if not isinstance(space, Values):
            continue
        flat = space.check(model.encode(x)).flatten(0, -2)
        loud = flat.std(0).argsort(descending=True)[:FEATURES].tolist()
        low, high = torch.quantile(flat.float(), flat.new_tensor([0.02, 0.98]).float(), dim=0)
        rows = []
        for j in loud:
            values = torch.linspace(float(low[j]), float(high[j]), STEPS).tolist()
            rows.append(traverse(model, x[:1], values=values, dimensions=[j])[0])
        images = torch.cat(rows).clamp(0, 1).cpu().numpy()
        room = STEPS * FEATURES
        found.append(
            grid(images, what=f"traversals of {name}", columns=STEPS, caption=name, room=room)
        )
    return found
