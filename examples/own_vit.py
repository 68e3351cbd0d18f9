"""A bottleneck behind a vision transformer of your own: patches in, tokens `[batch, t, c]` coded.

Images of different sizes share a batch: a mask leaves the patches of padding out of everything.
"""

import torch
from torch import nn
from torch.nn import functional as F

import narrows as nw

SIDE = 2  # pixels of a patch
GRID = 4  # patches of a row


class Model(nn.Module):
    """Transformer blocks on both sides of the layer."""

    def __init__(self, bottleneck: nw.Bottleneck, *, hidden: int = 32) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(hidden, 4, 2 * hidden, dropout=0, batch_first=True)
        self.embed = nn.Linear(SIDE**2, hidden)
        self.place = nn.Parameter(0.1 * torch.randn(2, GRID**2, hidden))
        self.encoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.to_code = nn.Linear(hidden, bottleneck.in_features)
        self.layer = nw.Layer(bottleneck, axis=-1, per="element")
        self.from_code = nn.Linear(bottleneck.out_features, hidden)
        self.decoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.out = nn.Linear(hidden, SIDE**2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches as they come back, and the layer's loss; the mask is True where images are."""
        h = self.encoder(self.embed(x) + self.place[0], src_key_padding_mask=~mask)
        z, _, loss = self.layer(self.to_code(h), mask)
        h = self.decoder(self.from_code(z) + self.place[1], src_key_padding_mask=~mask)
        return self.out(h), loss


def patches_of(images: torch.Tensor) -> torch.Tensor:
    """Images `[batch, 1, 8, 8]` -> `[batch, 16, 4]`."""
    return F.unfold(images, SIDE, stride=SIDE).transpose(1, 2)


if __name__ == "__main__":
    torch.manual_seed(0)
    images = patches_of(nw.data.load("digits").train.batch(torch.arange(1000)))
    rows = torch.randint(2, GRID + 1, (1000,))  # as if the lower rows of some were padding
    masks = torch.arange(GRID**2) < GRID * rows[:, None]
    model = Model(nw.VectorQuantizer(256, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(200):
        some = torch.randint(1000, (64,))
        copy, loss = model(images[some], masks[some])
        error = F.mse_loss(copy[masks[some]], images[some][masks[some]])
        (error + loss).backward()
        optimizer.step()
        optimizer.zero_grad()
    print(f"MSE {error:.4f}, variance {images[masks].var():.4f}")
