"""`narrows denoise RUN`: noisy test images, encoded and decoded."""

from narrows.cli import parsing, trained
from narrows.cli.generate import pictures


def run(arguments: list[str]) -> None:
    """Writes one PNG (clean, noisy, restored in turn) and says how much noise went."""
    import torch

    from narrows.functional.corruption import corrupt
    from narrows.metrics.distortion import denoising

    parser = parsing.parser(
        "denoise",
        "Add noise to test images, encode and decode them. A code that cannot hold the noise "
        "loses it, with what detail it cannot hold either.",
    )
    trained.add_options(parser)
    parser.add_argument("--noise", type=float, default=0.25, help="standard deviation, in [0, 1]")
    parser.add_argument("--n", type=int, default=8, help="images shown")
    parser.add_argument("--measured", type=int, default=1000, help="images that PSNR is taken of")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    pictures.add_out(parser, "denoised")
    config = parsing.parse(parser, arguments)
    loaded, data = pictures.load(config)
    if not 1 <= config.n <= len(data.test) or config.measured < 1:
        raise ValueError(
            f"expected 1 to {len(data.test)} images shown and at least 1 measured, got --n "
            f"{config.n} and --measured {config.measured}"
        )
    clean = data.test.batch(torch.arange(min(config.measured, len(data.test))))
    (row,) = denoising(loaded.model.reconstruct, clean, weights=[config.noise], seed=config.seed)
    shown = data.test.batch(torch.arange(config.n))
    noisy = corrupt(shown, config.noise, generator=torch.Generator().manual_seed(config.seed))
    images = torch.cat([shown, noisy, loaded.model.reconstruct(noisy)])
    print(
        f"noise {config.noise:g}, {len(clean)} test images: PSNR {row['noisy']:.2f} dB noisy, "
        f"{row['denoised']:.2f} dB restored ({row['mean_image']:.2f} dB for the mean image)"
    )
    pictures.write(config, "denoised", images, config.n)
