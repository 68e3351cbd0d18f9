"""A bottleneck in a model of your own: a small convolutional network with a skip connection.

The layer needs no call after a step: its codebook follows the optimiser.
"""

import torch
from torch import nn
from torch.nn import functional as F

import narrows as nw


class Model(nn.Module):
    """Two levels; the lower one passes through a bottleneck, the upper one through 2 channels."""

    def __init__(self, bottleneck: nw.Bottleneck) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU())
        self.skip = nn.Conv2d(32, 2, 1)
        self.lower = nn.Conv2d(32, bottleneck.in_features, 2, stride=2)
        self.layer = nw.Layer(bottleneck, per="element")
        self.upper = nn.ConvTranspose2d(bottleneck.out_features, 32, 2, stride=2)
        self.out = nn.Conv2d(34, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The reconstruction and the loss of the bottleneck."""
        features = self.down(x)
        z, _, loss = self.layer(self.lower(features))
        both = torch.cat([F.relu(self.upper(z)), self.skip(features)], 1)
        return torch.sigmoid(self.out(both)), loss


def train(model: Model, images: torch.Tensor, *, steps: int) -> float:
    """Trains on random batches; returns the last mean squared error."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    error = images.new_zeros(())
    for _ in range(steps):
        x = images[torch.randint(len(images), (64,))]
        copy, loss = model(x)
        error = F.mse_loss(copy, x)
        (error + loss).backward()
        optimizer.step()
        optimizer.zero_grad()
    return float(error.detach())


if __name__ == "__main__":
    torch.manual_seed(0)
    images = nw.data.load("digits").train.batch(torch.arange(1000))
    model = Model(nw.VectorQuantizer(64, 16))
    print(f"MSE {train(model, images, steps=300):.4f}")
    used = model.eval().layer(model.lower(model.down(images))).code.unique().numel()
    print(f"{used} of 64 codes in use")
