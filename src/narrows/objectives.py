"""What training may minimise in place of the evidence lower bound."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.distributions import Categorical

from narrows.autoencoder import Autoencoder, Loss, Objective
from narrows.functional.corruption import corrupt
from narrows.functional.score_function import log_mean_exp, score_function_surrogate, vimco_signals
from narrows.functional.spectra import stft_loss
from narrows.latent import Code, Latent
from narrows.saving.arguments import check_draws


class ImportanceWeighted(Objective):
    """The K-sample bound: total = -mean over examples of log 1/K sum_k w_k.

    log w_k = log p(x | z_k) + beta * (log p(z_k) - log q(z_k | x)), z_k drawn from q. Codes that
    are drawn by reparameterisation (`Variational`) give the importance-weighted autoencoder;
    those that need the score function (`Categorical` with `ScoreFunction`) give VIMCO.

    Args:
        draws: K, at least 2; the decoder runs once for each.

    Raises:
        ValueError: if there are fewer than 2 draws.
        TypeError: in `loss`, for a categorical code whose draws are relaxed or biased.

    Source: Burda, Grosse & Salakhutdinov (2016), eq. 8 and 13; Mnih & Rezende (2016), eq. 9.

    Example:
        >>> import torch, narrows as nw
        >>> model = nw.Autoencoder.for_vectors(
        ...     4, nw.bottlenecks.Variational(2), objective=ImportanceWeighted(5)
        ... )
        >>> model.loss(torch.rand(3, 4)).total.shape
        torch.Size([])
    """

    def __init__(self, draws: int = 50) -> None:
        check_draws("ImportanceWeighted", draws, least=2)
        self.draws = draws

    def loss(self, model: Autoencoder, x: Tensor) -> Loss:
        """The negative bound; `Loss.rate` is log q - log p of each draw."""
        latent, output, nll = model.draw(x, self.draws)
        if isinstance(latent.posterior, Categorical) and latent.log_q is None:
            raise TypeError(
                "ImportanceWeighted needs hard draws of a categorical code and their log q; build "
                "the bottleneck with estimator=ScoreFunction()"
            )
        rate = log_q(latent, latent.code) - model.prior.log_prob(latent.code)
        log_weights = -model.combine(nll, rate).unflatten(0, (self.draws, -1))
        total = -log_mean_exp(log_weights).mean()
        if latent.log_q is not None:
            signals = -vimco_signals(log_weights.detach()).flatten()
            total = total + self.draws * score_function_surrogate(signals, latent.log_q).mean()
        for name, weight in model.bottleneck.weights.items():
            total = total + weight * latent.terms[name].mean()
        return Loss(total, nll, rate, latent.terms, latent, output[: x.shape[0]])


class Denoising(Objective):
    """The evidence bound of a clean image given the code of a noisy one.

    loss = -log p(x | z) + beta * rate + terms, z coded from clip(x + weight * noise, 0, 1).
    Evaluation codes what it is given, as always; `narrows.metrics.distortion` measures how well
    noise is removed.

    Args:
        weight: standard deviation of the noise, for data in [0, 1].

    Raises:
        ValueError: if the weight is negative.

    Source: Vincent et al. (2008), section 3; with a rate, Im et al. (2017).

    Example:
        >>> import torch, narrows as nw
        >>> model = nw.Autoencoder.for_vectors(
        ...     4, nw.bottlenecks.Identity(2), objective=Denoising(0.25)
        ... )
        >>> model.loss(torch.rand(3, 4)).total.shape
        torch.Size([])
    """

    def __init__(self, weight: float = 0.5) -> None:
        if not weight >= 0:
            raise ValueError(f"Denoising: weight must be at least 0, got {weight}")
        self.weight = weight

    def loss(self, model: Autoencoder, x: Tensor) -> Loss:
        """The bound for a batch; noise from the caller's random numbers."""
        return model.bound(corrupt(x, self.weight), target=x)


class MultiResolutionSTFT(Objective):
    """The evidence bound plus a distance of spectra, for sound and other `[channels, t]`.

    loss = -log p(x | z) + beta * rate + terms + weight * T * mean over windows of
    [ || |X| - |Y| || / || |X| || + mean |ln |X| - ln |Y|| ], with X and Y the short-time Fourier
    transforms of x and of its reconstruction, and T the number of values of an example.

    The bound alone answers what it cannot code with silence, which is right in mean square and
    muffled to the ear; the spectra ask for the right energy at each frequency.

    Args:
        weight: in nats per value, as the bound's own error.
        windows: lengths of the frames in samples; frames begin every quarter of one.
        floor: magnitudes below that of white noise of so many training standard deviations count
            as equal.

    Raises:
        ValueError: if an argument is out of its range.
        TypeError: in `loss`, for examples other than `[channels, t]`.

    Source: Yamamoto, Song & Kim (2020), section 2.2, whose frames begin every fifth of a window
        and which has an adversary in the place of the bound.

    Example:
        >>> import torch, narrows as nw
        >>> model = nw.Autoencoder(
        ...     (1, 256), nw.bottlenecks.Identity(4), network=nw.Conv(8),
        ...     objective=MultiResolutionSTFT(windows=(32, 64)),
        ... )
        >>> model.loss(torch.randn(2, 1, 256)).total.shape
        torch.Size([])
    """

    def __init__(
        self,
        weight: float = 1.0,
        windows: Sequence[int] = (64, 128, 256, 512),
        *,
        floor: float = 0.01,
    ) -> None:
        if not (weight >= 0 and floor > 0 and windows and min(windows) >= 4):
            raise ValueError(
                "MultiResolutionSTFT: expected weight >= 0, floor > 0 and windows of at least 4 "
                f"samples, got {weight}, {floor} and {tuple(windows)}"
            )
        self.weight: float = weight
        self.windows: tuple[int, ...] = tuple(windows)
        self.floor: float = floor

    def loss(self, model: Autoencoder, x: Tensor) -> Loss:
        """The bound and the distance of spectra; `Loss.terms` has it, unweighted, as `stft`."""
        if len(model.shape) != 2:
            raise TypeError(
                f"MultiResolutionSTFT is for examples [channels, t], got shape {model.shape}"
            )
        bound = model.bound(x)
        one, two = (part.float() / model.unit for part in (x, model.likelihood.mean(bound.output)))
        each = [stft_loss(one, two, window=window, floor=self.floor) for window in self.windows]
        distance = torch.stack(each).mean(0)
        total = bound.total + self.weight * math.prod(model.shape) * distance.mean()
        return replace(bound, total=total, terms={**bound.terms, "stft": distance})


def log_q(latent: Latent, code: Code) -> Tensor:
    """Log q(code | x), `[batch]` in nats.

    Raises:
        ValueError: if the latent has no posterior.
    """
    if latent.posterior is None:
        raise ValueError(
            "importance weights need a random code, and this bottleneck's is deterministic; use "
            "a probabilistic one (Variational, Categorical, SpikeAndSlab)"
        )
    log_prob = cast("Callable[[Code], Tensor]", latent.posterior.log_prob)  # a joint one: tuples
    terms = log_prob(code)
    return terms if terms.dim() == 1 else terms.flatten(1).sum(1)
