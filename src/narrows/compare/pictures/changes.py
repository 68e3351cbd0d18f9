"""What becomes of changed codes and images: paths, moved features, masked sites, noise."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import Values
from narrows.compare.pictures.codes import decoded, z_of
from narrows.functional.corruption import corrupt
from narrows.generation import interpolate, traverse
from narrows.objectives import Denoising
from narrows.report import Picture, Strips, grid, stretch, strips

STEPS = 9
FEATURES = 4
TRAVERSED = (
    "Each row moves one feature of one image's code over the range of 96 of 100 codes, at all "
    "sites together; the features that vary most. Discrete and sparse codes have no such axis."
)
MASKED = (
    "Reconstructions; the same with z of the middle site set to 0; and the change, stretched "
    "(mid-grey: none). A change far from the middle means that the decoder looks around."
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


def traversals(name: str, model: Autoencoder, *, x: Tensor) -> Picture | None:
    """One feature of the first image at a time over its range, at all sites together."""
    space = model.bottleneck.codes
    if not isinstance(space, Values):
        return None
    flat = space.check(model.encode(x)).flatten(0, -2)
    loud = flat.std(0).argsort(descending=True)[:FEATURES].tolist()
    low, high = torch.quantile(flat.float(), flat.new_tensor([0.02, 0.98]).float(), dim=0)
    rows = []
    for j in loud:
        values = torch.linspace(float(low[j]), float(high[j]), STEPS).tolist()
        rows.append(traverse(model, x[:1], values=values, dimensions=[j])[0])
    images = torch.cat(rows).clamp(0, 1).cpu().numpy()
    what, room = f"traversals of {name}", STEPS * FEATURES
    return grid(images, what=what, columns=STEPS, caption=name, room=room)


def masked(name: str, model: Autoencoder, *, x: Tensor) -> Picture | None:
    """Reconstructions, the same with the middle site's code set to zero, and what changed."""
    z = z_of(model, x)
    if not model.sites or z.shape[1:-1] != model.sites or math.prod(model.sites) < 2:
        return None
    hidden = z.clone()
    hidden[(slice(None), *middle(model))] = 0
    whole, part = decoded(model, z), decoded(model, hidden)
    change = torch.from_numpy(stretch((part - whole).cpu().numpy(), symmetric=True))
    images = torch.cat([whole.clamp(0, 1).cpu(), part.clamp(0, 1).cpu(), change.float()])
    what = f"masked reconstructions of {name}"
    return grid(images.numpy(), what=what, columns=len(x), caption=name)


def middle(model: Autoencoder) -> tuple[int, ...]:
    """The middle site."""
    return tuple(size // 2 for size in model.sites)


def denoised(models: Mapping[str, Autoencoder], x: Tensor, *, weight: float = 0.5) -> Strips:
    """Clean images, the same with noise, and what each model makes of the latter."""
    noisy = corrupt(x, weight, generator=torch.Generator(x.device).manual_seed(0))
    rows = {"clean": x, f"noise {weight:g}": noisy}
    rows |= {name: model.reconstruct(noisy).clamp(0, 1) for name, model in models.items()}
    trained = [name for name, model in models.items() if isinstance(model.objective, Denoising)]
    caption = (
        f"Noise of standard deviation {weight:g}, clipped to [0, 1], and the reconstructions of "
        f"the noisy images. Trained to remove noise: {', '.join(trained) or 'no model'}."
    )
    return strips({name: images.cpu().numpy() for name, images in rows.items()}, caption=caption)
