"""What each number of a code says about the example, and about its class."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from narrows.autoencoder import Autoencoder
from narrows.codes import Code, atoms_of, tensors
from narrows.latent import JointLatent, Latent
from narrows.metrics.information import class_information, entropies
from narrows.metrics.likelihood import batches, measuring
from narrows.priors.base import Prior
from narrows.priors.joint import JointPrior

PERMUTATIONS = 8
"""Shuffles of the classes that a floor is the mean of."""


@dataclass(frozen=True)
class CodeInformation:
    """What `code_information` found, in nats, the n examples being the whole population.

    Attributes:
        whole: I(x; code) of all units together, at most log n.
        units: I(x; unit) of each, `[units]`; each at most log n, their sum without such a bound.
        rate: mean rate under the model's prior, per example.
        classes: I(class; unit) of each, `[units]`; None without labels.
        floor: the largest I(class; unit) once the classes are shuffled, mean over shuffles: what
            the best of so many units gets from n examples by chance; None without labels.
    """

    whole: float
    units: Tensor
    rate: float
    classes: Tensor | None = None
    floor: float | None = None

    @property
    def prior_gap(self) -> float:
        """Rate - sum of I(x; unit): what fitting the prior to each unit by itself would save.

        Negative where the prior knows of dependences between units.
        """
        return self.rate - float(self.units.sum())


@torch.no_grad()
def code_information(
    model: Autoencoder,
    x: Tensor,
    *,
    labels: Tensor | None = None,
    draws: int = 1,
    chunk: int = 2**22,
    seed: int = 0,
) -> CodeInformation:
    r"""Information of a code and of its units about the n examples given.

    A unit is one number of the stored code: an index, a rounded value, a dimension of a random
    code, each at its site. For a random code, with z_i one draw from q(z | x_i),

    .. math:: I(x; z_u) = \frac1n \sum_i \log \frac{q(z_{iu} | x_i)}
        {\frac1n \sum_j q(z_{iu} | x_j)}, \qquad
        I(c; z_u) = \frac1n \sum_i \log \frac{\frac1{n_{c_i}} \sum_{j: c_j = c_i} q(z_{iu} | x_j)}
        {\frac1n \sum_j q(z_{iu} | x_j)};

    the whole code takes q of all units in the place of one's. For a deterministic code these are
    the entropy of the n codes and the information of its table of counts. For units that q and
    the prior treat independently,

    .. math:: \text{rate} = \sum_u I(x; z_u) + \sum_u KL(q(z_u) \| p(z_u)),

    with q(z_u) the mean posterior: the second sum is `prior_gap`. Information about a sample of
    n examples is in the mean no more than that about all there are, and never above log n:
    `whole` says nothing once it is near that, while information on classes from so few examples
    is too large by about what `floor` says.

    Args:
        model: with a rate; continuous deterministic codes as rounded by their prior.
        x: `[n, *shape]`.
        labels: classes `[n]`.
        draws: of every random code, which figures are means over.
        chunk: numbers held at a time.
        seed: of draws and shuffles; the caller's random numbers are left alone.

    Raises:
        ValueError: if there are fewer than two examples or no draws, or the code has no rate yet.
        TypeError: for a code in parts whose prior is not in the same parts.

    Source: Hoffman & Johnson (2016), "ELBO surgery", for the split of the rate; by dimension,
        with the draws' own examples among those of the mean, Chen et al. (2018), section 3.

    Example:
        >>> import torch, narrows as nw
        >>> model = nw.Autoencoder.for_vectors(4, nw.bottlenecks.Variational(2))
        >>> code_information(model, torch.rand(50, 4)).units.shape
        torch.Size([2])
    """
    if len(x) < 2 or draws < 1:
        raise ValueError(
            f"code_information: expected at least 2 examples and 1 draw, got {len(x)} and {draws}"
        )
    with measuring(model, seed):
        features = torch.cat([model.encoder(batch) for batch in batches(model, x, 256)])
        latent = model.bottleneck(features)
        own = replace(latent, code=model.prior.quantize(latent.code))  # of draws, as below
        rate = model.prior.rate(own).double().mean().item()
        classes = [] if labels is None else _shuffles(labels.to(features.device))
        found = []
        for _ in range(draws if latent.posterior is not None else 1):
            parts = list(_stored(latent, model.prior))
            about = [_part(posterior, code, classes, chunk) for posterior, code in parts]
            found.append((_whole(parts, chunk), *map(torch.cat, zip(*about, strict=True))))
    whole, units, by_shuffle = (_mean(values) for values in zip(*found, strict=True))
    if labels is None:
        return CodeInformation(whole.item(), units, rate)
    floor = by_shuffle[:, 1:].amax(0).mean().item()
    return CodeInformation(whole.item(), units, rate, by_shuffle[:, 0], floor)


_Part = tuple[Distribution | None, Tensor]
"""Posterior of a part and its codes `[n, ...]`; None and codes `[n, units]` if deterministic."""


def _stored(latent: Latent, prior: Prior) -> Iterator[_Part]:
    """The parts of the code as they would be stored."""
    if isinstance(latent, JointLatent):
        if not isinstance(prior, JointPrior):
            raise TypeError(
                f"code_information: a code in {len(latent.parts)} parts needs a JointPrior (as "
                f"bottleneck.default_prior(sites) is), got {type(prior).__name__}"
            )
        for part, own in zip(latent.parts, prior.parts, strict=True):
            yield from _stored(part, cast("Prior", own))
    elif latent.posterior is not None:
        yield latent.posterior, cast("Tensor", latent.posterior.sample())
    else:
        yield None, _dense(prior.quantize(latent.code)).reshape(latent.batch, -1)


def _dense(code: Code) -> Tensor:
    """Sparse codes (atoms, values) as values of all atoms in use."""
    first = tensors(code)[0]
    if first is code:
        return first
    return atoms_of(code).coefficients(int(first.max()) + 1 if first.numel() else 1)


def _shuffles(labels: Tensor) -> list[Tensor]:
    """The classes, numbered, as they are and then shuffled."""
    _, classes = labels.unique(return_inverse=True)
    orders = [torch.randperm(len(classes), device=classes.device) for _ in range(PERMUTATIONS)]
    return [classes, *[classes[order] for order in orders]]


def _part(
    posterior: Distribution | None, code: Tensor, classes: list[Tensor], chunk: int
) -> tuple[Tensor, Tensor]:
    """I(x; unit) `[units]`, and I(class; unit) for every list of classes, `[units, lists]`."""
    if posterior is None:
        table = torch.zeros(code.shape[1], len(classes), dtype=torch.float64, device=code.device)
        for i, own in enumerate(classes):
            table[:, i] = class_information(code, own)
        return entropies(code), table
    n = len(code)
    same = torch.stack([own[:, None] == own for own in classes]) if classes else torch.ones(0, n, n)
    about_example, about_class = [], []
    for rows, table in _tables(posterior, code, chunk):
        peak = table.amax(1, keepdim=True)
        likelihood = (table - peak).exp()
        mixture = _log(likelihood.mean(1))
        own = table[torch.arange(len(rows)), rows] - peak.squeeze(1)
        mask = same[:, rows].to(table)
        within = torch.einsum("rju,lrj->lru", likelihood, mask) / mask.sum(2, keepdim=True)
        about_example.append(own - mixture)
        about_class.append(_log(within) - mixture)
    return torch.cat(about_example).mean(0), torch.cat(about_class, 1).mean(1).T


def _whole(parts: list[_Part], chunk: int) -> float:
    """I(x; code) of all parts together."""
    if all(posterior is None for posterior, _ in parts):
        codes = torch.cat([_numbered(code) for _, code in parts], 1)
        _, code = codes.unique(dim=0, return_inverse=True)
        return entropies(code[:, None]).item()
    n = len(parts[0][1])
    total = torch.zeros(n, n, dtype=torch.float64, device=parts[0][1].device)
    for posterior, code in parts:
        if posterior is None:
            same = (_numbered(code)[:, None] == _numbered(code)).all(2)
            total = total.masked_fill(~same, -torch.inf)
        else:
            for rows, table in _tables(posterior, code, chunk):
                total[rows] += table.sum(2)
    return (total.diagonal() - total.logsumexp(1)).mean().item() + torch.tensor(n).log().item()


def _tables(posterior: Distribution, code: Tensor, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Some examples i, and log q(z_iu | x_j) `[i, j, u]` in float64 for all j."""
    n = len(code)
    each = n * max(1, code[0].numel())
    for rows in torch.arange(n, device=code.device).split(max(1, chunk // each)):
        yield rows, posterior.log_prob(code[rows].unsqueeze(1)).double().reshape(len(rows), n, -1)


def _numbered(code: Tensor) -> Tensor:
    """Values as numbers of their own column, `[n, units]`."""
    return code.unique(return_inverse=True)[1]


def _log(mean: Tensor) -> Tensor:
    return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()


def _mean(values: Iterable[float | Tensor]) -> Tensor:
    return torch.stack([torch.as_tensor(value, dtype=torch.float64) for value in values]).mean(0)
