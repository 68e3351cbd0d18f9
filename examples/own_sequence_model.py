"""A quantiser in your own model of sequences: `nw.Layer` between two convolutions along time.

Tones of 256 steps, 16 codes of 6 bits each; the codebook follows the optimiser by itself.
"""

import torch
from torch import nn

import narrows as nw


class ToneCodec(nn.Module):
    """`[batch, 1, t]` -> code `[batch, t / 16]` -> `[batch, 1, t]`."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(1, width, 8, stride=4, padding=2), nn.GELU(),
            nn.Conv1d(width, width, 8, stride=4, padding=2),
        )  # fmt: skip
        learning = nw.CodebookLearning(init="kmeans", warmup=20)
        quantizer = nw.VectorQuantizer(64, width, learning=learning)
        self.layer = nw.Layer(quantizer, axis=1, per="element")  # features of [batch, width, t]
        self.decoder = nn.Sequential(
            nn.ConvTranspose1d(width, width, 8, stride=4, padding=2), nn.GELU(),
            nn.ConvTranspose1d(width, 1, 8, stride=4, padding=2),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z, code, loss = self.layer(self.encoder(x))
        return self.decoder(z), code, loss


def tones(n: int) -> torch.Tensor:
    """Sines of any pitch and phase, `[n, 1, 256]`."""
    pitch, phase = 0.05 + 0.3 * torch.rand(n, 1, 1), 6.3 * torch.rand(n, 1, 1)
    return (pitch * torch.arange(256.0) + phase).sin()


if __name__ == "__main__":
    torch.manual_seed(0)
    model = ToneCodec()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        x = tones(32)
        y, _, loss = model(x)
        optimizer.zero_grad()
        (nn.functional.mse_loss(y, x) + loss).backward()
        optimizer.step()
    x = tones(200)
    y, code, _ = model.eval()(x)
    snr = -10 * ((y - x).square().mean() / x.var()).log10()
    lsd = nw.metrics.log_spectral_distance(x, y, window=64, deviation=x.std().item()).mean()
    used = code.unique().numel()
    print(f"SNR {snr:.1f} dB, spectra {lsd:.1f} dB apart, {used} of 64 codes in use")
