"""What training may minimise in place of the evidence lower bound."""

from collections.abc import Callable
from typing import cast

from torch import Tensor
from torch.distributions import Categorical

from narrows.autoencoder import Autoencoder, Loss, Objective
from narrows.functional.corruption import corrupt
from narrows.functional.score_function import log_mean_exp, score_function_surrogate, vimco_signals
from narrows.latent import Code, Latent


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
        if draws < 2:
            raise ValueError(f"ImportanceWeighted: take 2 or more draws, got {draws}")
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
