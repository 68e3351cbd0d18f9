"""Your own network: one site for each patch of pixels, coded by the same small MLP everywhere.

Recipes take it by its class path, `examples.own_network.Patches`.
"""

from torch import nn

import narrows as nw
from narrows.networks.images import ChannelsFirst, ChannelsLast, Crop, Pad


class Patches(nw.Network):
    """Each patch through linear, GELU, linear; `Pad` and `Crop` take care of any image size.

    Args:
        side: height and width of a patch in pixels.
        hidden: width of the hidden layer.
    """

    def __init__(self, side: int = 4, *, hidden: int = 64) -> None:
        self.side, self.hidden = side, hidden

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The grid of patches that covers an image `(channels, height, width)`."""
        if len(shape) != 3:
            raise TypeError(f"Patches: expected images, got examples of shape {shape}")
        return -(-shape[1] // self.side), -(-shape[2] // self.side)

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """Images `[batch, *shape]` -> features `[batch, *sites, features]`."""
        return nn.Sequential(
            Pad(shape, self.side),
            nn.Conv2d(shape[0], self.hidden, self.side, stride=self.side),
            nn.GELU(),
            nn.Conv2d(self.hidden, features, 1),
            ChannelsLast(),
        )

    def decoder(self, shape: tuple[int, ...], features: int, channels: int) -> nn.Module:
        """Z `[batch, *sites, features]` -> the likelihood's parameters for every pixel."""
        return nn.Sequential(
            ChannelsFirst(self.sites(shape), features),
            nn.Conv2d(features, self.hidden, 1),
            nn.GELU(),
            nn.ConvTranspose2d(self.hidden, channels, self.side, stride=self.side),
            Crop(shape, self.side),
        )


if __name__ == "__main__":
    nw.testing.check_network(Patches())
    data = nw.data.load("digits")
    model = nw.Autoencoder.for_images(
        data.shape, nw.VectorQuantizer(64, 16), network=Patches(side=2)
    )
    run = nw.fit(model, data, epochs=10, seed=0, show=False)
    print(f"NMSE {run.test['nmse']:.3f} on {model.sites} sites")
