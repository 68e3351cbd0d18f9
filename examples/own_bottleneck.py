"""Your own bottleneck: each feature becomes -1, 0 or 1; `examples.own_bottleneck.Ternary`."""

import torch
from torch import Tensor

import narrows as nw
from narrows.codes import Code, Indices
from narrows.functional.straight_through import straight_through


class Ternary(nw.Bottleneck):
    """z = round(x) clipped to -1..1, with a straight-through gradient.

    Args:
        dim: width of the features; each costs at most log2(3) bits.
        commitment: weight of the distance between features and z.
    """

    gradient = "straight_through"

    def __init__(self, dim: int, *, commitment: float = 0.25) -> None:
        super().__init__(dim, dim)
        self.commitment = commitment

    @property
    def codes(self) -> Indices:
        """What is stored: `dim` integers in 0..2 at each site."""
        return Indices(3, channels=self.in_features)

    @property
    def weights(self) -> dict[str, float]:  # of the terms, in the loss
        return {"commitment": self.commitment}

    def forward(self, features: Tensor) -> nw.Latent:
        """Features `[batch, *sites, dim]` -> latent."""
        features = self._check(features)  # refuses NaN and another width
        code = features.detach().round().clamp(-1, 1).long() + 1
        z = straight_through(features, self.embed(code).to(features))
        terms = {"commitment": (features - z.detach()).square().flatten(1).mean(1)}
        return nw.Latent(z, code, features.detach(), terms=terms)

    def embed(self, code: Code) -> Tensor:
        """Code -> what the decoder sees."""
        return (self.codes.check(code) - 1).to(torch.get_default_dtype())

    def default_prior(self, sites: tuple[int, ...]) -> nw.Prior:
        """Independent integers, uniform until fitted."""
        return nw.priors.CategoricalPrior.for_codes(self.codes, sites)


if __name__ == "__main__":
    nw.testing.check_bottleneck(Ternary(4))
    data = nw.data.load("digits")
    network = nw.Conv(hidden=32, downsamplings=1)
    model = nw.Autoencoder.for_images(data.shape, Ternary(8), network=network)
    run = nw.fit(model, data, epochs=10, seed=0, show=False)
    print(f"NMSE {run.test['nmse']:.3f} at {run.test['bits_per_example']:.1f} bits per image")
