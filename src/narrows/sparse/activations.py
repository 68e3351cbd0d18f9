"""One-shot codes by thresholds on correlations, with the gradients that train them."""

import torch
from torch import Tensor

from narrows.sparse.solution import tiles


def above(
    signals: Tensor, dictionary: Tensor, *, thresholds: Tensor, width: int, margin: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The atoms whose correlations exceed thresholds, all of them where at most `width` do.

    The K correlations of a signal live for a few hundred signals at a time only.

    Args:
        signals: `[n, dim]`.
        dictionary: `[K, dim]`.
        thresholds: one for each atom, `[K]`.
        width: most atoms of one signal; the farthest above their thresholds are kept.
        margin: also lists atoms so far below.

    Returns:
        Atoms `[n, width]` and whether each entry is one, bool; no gradient.

    Example:
        >>> signals, atoms = torch.tensor([[3.0, 1.0]]), torch.eye(2)
        >>> above(signals, atoms, thresholds=torch.full((2,), 2.0), width=2)
        (tensor([[0, 0]]), tensor([[ True, False]]))
    """
    found = [_above(signals[i], dictionary, thresholds, width, margin) for i in tiles(signals)]
    return torch.cat([atoms for atoms, _ in found]), torch.cat([listed for _, listed in found])


def _above(
    signals: Tensor, dictionary: Tensor, thresholds: Tensor, width: int, margin: float
) -> tuple[Tensor, Tensor]:
    excess = torch.addmm(-thresholds, signals, dictionary.T)
    most = width
    if not torch.compiler.is_compiling():  # sorting as few as there are
        most = int((excess > -margin).sum(1).amax()) if len(excess) else 0
    best, atoms = excess.topk(min(most, width), dim=1)
    room = (0, width - best.shape[1])
    listed = torch.nn.functional.pad(best > -margin, room)
    return torch.nn.functional.pad(atoms, room) * listed, listed


def jump_relu(z: Tensor, threshold: Tensor, *, bandwidth: float) -> Tensor:
    r"""z H(z - theta), whose threshold learns by a kernel estimate of its expected gradient.

    .. math:: \frac{\partial}{\partial\theta} := -\frac{\theta}{\epsilon}
        K\Big(\frac{z - \theta}{\epsilon}\Big), \qquad K(u) = [\,|u| < 1/2\,]

    Args:
        z: any shape.
        threshold: theta > 0, of the same shape.
        bandwidth: epsilon, in units of z.

    Source: Rajamanoharan et al. 2024, "Jumping Ahead: Improving Reconstruction Fidelity with
        JumpReLU Sparse Autoencoders", equations 10 and 11.

    Example:
        >>> jump_relu(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]), bandwidth=0.1)
        tensor([0., 3.])
    """
    slope = -_kernel(z, threshold, bandwidth) * threshold.detach()
    return z * (z > threshold) + slope * (threshold - threshold.detach())


def step(z: Tensor, threshold: Tensor, *, bandwidth: float) -> Tensor:
    r"""H(z - theta), 1 or 0, with the gradient -K((z - theta) / epsilon) / epsilon to theta alone.

    Its sum is an L0 whose expected gradient is unbiased as epsilon goes to 0.

    Args:
        z: any shape; gets no gradient.
        threshold: theta, of the same shape.
        bandwidth: epsilon, in units of z.

    Source: as `jump_relu`, equation 12.

    Example:
        >>> step(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]), bandwidth=0.1)
        tensor([0., 1.])
    """
    slope = -_kernel(z, threshold, bandwidth)
    return (z > threshold).to(z.dtype) + slope * (threshold - threshold.detach())


def _kernel(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """K((z - theta) / epsilon) / epsilon; no gradient."""
    return ((z - threshold).abs() < bandwidth / 2).to(z.dtype) / bandwidth


def first_of_each(atoms: Tensor) -> Tensor:
    """Which entries `[n, width]` of codes count: padding repeats atom 0 after them.

    Example:
        >>> first_of_each(torch.tensor([[2, 0, 0]]))
        tensor([[ True,  True, False]])
    """
    return (atoms != 0) | ((atoms == 0).cumsum(1) == 1)
