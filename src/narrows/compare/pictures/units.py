"""What single codes, atoms or features stand for, where they lie, and which pixels move them."""

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks import SparseDictionary
from narrows.codes import Atoms, Code, apply, atoms_of, tensors
from narrows.compare.pictures.changes import middle
from narrows.compare.pictures.codes import decoded, z_of
from narrows.modes import evaluating
from narrows.report import Picture, cover, grid, stretch
from narrows.report.codes import Projection, principal_plane

SHOWN, FIELDS = 32, 16
"""Units whose responses, and features whose fields are shown."""
RESPONSES = (
    "What the decoder adds to its answer to the mean code when one code, atom or feature stands "
    "at the middle site: codes and atoms by use, each atom at its usual size, a feature two "
    "standard deviations up. Mid-grey means no change; each picture is scaled separately."
)
RECEPTIVE = (
    "Mean gradient of single features at the middle site with respect to the pixels, over 64 "
    "held-out images, those that vary most first. Mid-grey is 0; each picture is stretched for "
    "itself. Centre and surround: the feature answers to contrast."
)
EXAMPLES = 64
"""Images that a field is the mean over."""
LARGEST = 4096
"""Codes beyond this many are too many to look at one by one."""


def responses(name: str, model: Autoencoder, *, x: Tensor) -> Picture | None:
    """What the decoder adds to the mean image for one code, atom or feature at the middle site.

    Args:
        name: label of the model.
        model: any.
        x: images whose codes say which units are used most, and what is their usual size.
    """
    images, unit = _responses(model, x)
    if not len(images):
        return None
    count = "features" if unit == "feature" else f"the {len(images)} {unit}s used most"
    shown, what = stretch(images.numpy(), symmetric=True), f"responses of {name} to single {unit}s"
    return grid(shown, what=what, room=SHOWN, caption=f"{name}: {count}")


def receptive_fields(name: str, model: Autoencoder, *, x: Tensor) -> Picture | None:
    """Mean gradient of the middle site's features with respect to the pixels.

    The features are what the bottleneck is given (locations, where there is a posterior); a
    field is centre and surround where the encoder sees contrast, and a smear where it sums.
    """
    fields = _fields(model, x[:EXAMPLES])
    if fields.dim() != 4 or fields.shape[1] not in (1, 3):
        return None
    shown, what = stretch(fields.numpy(), symmetric=True), f"receptive fields of {name}"
    return grid(shown, what=what, caption=name, room=FIELDS)


def covers(
    name: str, model: Autoencoder, *, x: Tensor, project: Projection = principal_plane
) -> Picture | None:
    """A codebook or dictionary in the plane, over the features that it codes."""
    codes = vectors(model)
    if codes is None:
        return None
    with torch.no_grad():
        features = model.latent(x).features.flatten(0, -2).cpu()
    use = _use(model.encode(x), len(codes)).numpy()
    what = "atom" if isinstance(model.bottleneck, SparseDictionary) else "code"
    if what == "atom":  # lines through the centre: shown at the features' typical length
        centre = features.mean(0)
        codes = centre + codes * (features - centre).norm(dim=1).mean()
    cloud, points = features.numpy(), codes.numpy()
    return cover(cloud, points, use=use, what=what, title=name, project=project)


def _fields(model: Autoencoder, x: Tensor) -> Tensor:
    """`[features, *shape]`, the strongest first; at most 16."""
    with evaluating(model):
        pixels = x.clone().requires_grad_()
        features = model.encoder(pixels)[(slice(None), *middle(model))]
        posterior = model.latent(x[:1]).posterior is not None
        used = features.shape[-1] // 2 if posterior else features.shape[-1]
        strong = features.detach().var(0)[:used].argsort(descending=True)[:FIELDS]
        found = [
            torch.autograd.grad(features[:, j].sum(), pixels, retain_graph=True)[0].mean(0)
            for j in strong.tolist()
        ]
    return torch.stack(found).detach().cpu()


def vectors(model: Autoencoder) -> Tensor | None:
    """The codebook `[K, d]`, or a dictionary's unit atoms; None where there is neither."""
    bottleneck = model.bottleneck
    if isinstance(bottleneck, SparseDictionary):
        return bottleneck.atoms.detach().cpu() if bottleneck.per_site else None
    size = getattr(bottleneck, "size", None)
    if not isinstance(size, int) or size > LARGEST:
        return None
    device = next(model.parameters()).device
    try:
        with torch.no_grad():
            z = bottleneck.embed(torch.arange(size, device=device)[:, None])
    except (ValueError, RuntimeError):  # several indices a site
        return None
    return z[:, 0].cpu() if z.dim() == 3 else None


def _use(code: Code, size: int) -> Tensor:
    """How often each code or atom is used, `[size]`."""
    first, *values = tensors(code)
    if values:
        chosen, active = first.flatten().cpu(), (values[0] != 0).flatten().float().cpu()
        return torch.zeros(size).index_add(0, chosen, active)
    return first.flatten().cpu().bincount(minlength=size).float()


@torch.no_grad()
def _responses(model: Autoencoder, x: Tensor) -> tuple[Tensor, str]:
    """Differences `[n, channels, height, width]` that units make, and what a unit is."""
    z = z_of(model, x)
    background = z.mean(0, keepdim=True)
    place = middle(model)
    if isinstance(model.bottleneck, SparseDictionary):
        units, what = _atoms(model, x), "atom"
    elif (codes := vectors(model)) is not None:
        order = _use(model.encode(x), len(codes)).argsort(descending=True)[:SHOWN]
        units, what = codes[order].to(z)[:, None], "code"
    elif model.latent(x[:1]).has_rate and model.latent(x[:1]).posterior is None:
        return torch.empty(0), ""
    else:
        units, what = _features(z, place), "feature"
    many = background.repeat(len(units), *[1] * (z.dim() - 1))
    if units.shape[1:] == z.shape[1:]:  # one code for the whole image
        many = units
    else:
        many[(slice(None), *place)] = units[:, 0]
    images = decoded(model, torch.cat([background, many]))
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        return torch.empty(0), ""
    return (images[1:] - images[:1]).cpu(), what


def _features(z: Tensor, place: tuple[int, ...]) -> Tensor:
    """The mean with one feature two standard deviations up, for every feature."""
    flat = z.flatten(0, -2)
    deviation, mean = flat.std(0), z.mean(0)[place]
    loud = deviation.argsort(descending=True)[:SHOWN]
    shift = torch.diag(2 * deviation)[loud]
    return (mean + shift)[:, None]


def _atoms(model: Autoencoder, x: Tensor) -> Tensor:
    """z of the most used atoms, each alone at its usual size."""
    bottleneck = model.bottleneck
    assert isinstance(bottleneck, SparseDictionary)
    chosen, values = apply(torch.flatten, atoms_of(model.encode(x)))
    size = bottleneck.size
    use = torch.zeros(size, device=values.device).index_add(0, chosen, (values != 0).float())
    total = torch.zeros_like(use).index_add(0, chosen, values)
    order = use.argsort(descending=True)[:SHOWN]
    usual = (total / use.clamp(min=1))[order]
    # The mean may vanish where the sign varies; then the size of the mean value over all.
    floor = values[values != 0].abs().mean() if bool((values != 0).any()) else values.new_ones(())
    usual = torch.where(usual.abs() < 0.1 * floor, floor, usual)
    width = (1,) if bottleneck.per_site else ()
    return bottleneck.embed(Atoms(order.view(-1, *width, 1), usual.view(-1, *width, 1)))
