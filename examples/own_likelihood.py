"""Your own likelihood: a Laplace density, which forgives outliers more than a normal one.

Recipes take it by its class path, `examples.own_likelihood.Laplace`.
"""

import torch
from torch import Tensor, nn

import narrows as nw


class Laplace(nw.Likelihood):
    """log p(x | output) = -sum |x - output| / b - D log 2b, with one learned scale b.

    Args:
        scale: b at the start of training, in the unit of x.
    """

    def __init__(self, scale: float = 0.2) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(scale).log())

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Nats per example, `[batch]`: summed over the dimensions, not averaged."""
        x, output = self._check(x, output)  # refuses other shapes; float32 or better
        scale = self.log_scale.to(x).exp()
        return -((x - output).abs() / scale + (2 * scale).log()).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """The reconstruction."""
        return output

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x given the decoder's output."""
        uniform = torch.empty_like(output).uniform_(-0.5, 0.5, generator=generator)
        noise = -uniform.sign() * torch.log1p(-2 * uniform.abs())
        return output + self.log_scale.detach().exp().to(output) * noise


if __name__ == "__main__":
    nw.testing.check_likelihood(Laplace())
    data = nw.data.load("digits")
    likelihood = Laplace()
    model = nw.Autoencoder.for_images(
        data.shape, nw.Identity(4), network=nw.Mlp(), likelihood=likelihood
    )
    run = nw.fit(model, data, epochs=10, seed=0, show=False)
    print(f"NMSE {run.test['nmse']:.3f}; learned scale {likelihood.log_scale.exp():.3f}")
