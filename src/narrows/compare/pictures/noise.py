"""What becomes of noise."""

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.functional.corruption import corrupt
from narrows.objectives import Denoising
from narrows.report import Strips, strips


def denoised(models: Mapping[str, Autoencoder], x: Tensor, *, weight: float = 0.5) -> Strips:
    """Clean images, the same with noise, and what each model makes of the latter."""
    noisy = corrupt(x, weight, generator=torch.Generator(x.device).manual_seed(0))
    rows = {"clean": x, f"noise {weight:g}": noisy}
    rows |= {name: model.reconstruct(noisy).clamp(0, 1) for name, model in models.items()}
    trained = [name for name, model in models.items() if isinstance(model.objective, Denoising)]
    caption = (
        f"Noise of standard deviation {weight:g}, clipped to [0, 1], and the reconstructions of "
        f"the noisy images. Trained to remove noise: {', '.join(trained) or 'no model'}."
    )
    return strips({name: images.cpu().numpy() for name, images in rows.items()}, caption=caption)
