"""`narrows denoise RUN`: noisy test images, encoded and decoded."""

from pathlib import Path

from narrows.cli import parsing


def run(arguments: list[str]) -> None:
    """Writes one PNG (clean, noisy, restored in turn) and says how much noise went."""
    import torch

    from narrows import data as sources
    from narrows.functional.corruption import corrupt
    from narrows.metrics.denoising import denoising
    from narrows.report.images import tile, to_png
    from narrows.training.run import Run

    parser = parsing.parser(
        "denoise",
        "Add noise to test images, encode and decode them. A code that cannot hold the noise "
        "loses it, with what detail it cannot hold either.",
    )
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("--noise", type=float, default=0.25, help="standard deviation, in [0, 1]")
    parser.add_argument("--n", type=int, default=8, help="images shown")
    parser.add_argument("--measured", type=int, default=1000, help="images that PSNR is taken of")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--data", type=str, default=None, help="default: the run's own")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    parser.add_argument("--out", type=str, default=None, help="default RUN/denoised.png")
    config = parsing.parse(parser, arguments)
    loaded = Run.load(config.run)
    data = sources.load(config.data or loaded.data, root=config.data_root)
    if not 1 <= config.n <= len(data.test) or config.measured < 1:
        raise ValueError(
            f"expected 1 to {len(data.test)} images shown and at least 1 measured, got --n "
            f"{config.n} and --measured {config.measured}"
        )
    clean = data.test.batch(torch.arange(min(config.measured, len(data.test))))
    (row,) = denoising(loaded.model.reconstruct, clean, [config.noise], config.seed)
    shown = data.test.batch(torch.arange(config.n))
    noisy = corrupt(shown, config.noise, torch.Generator().manual_seed(config.seed))
    images = torch.cat([shown, noisy, loaded.model.reconstruct(noisy)])
    out = Path(config.out) if config.out else Path(config.run) / "denoised.png"
    out.write_bytes(to_png(tile(images.cpu().numpy(), config.n)))
    print(
        f"noise {config.noise:g}, {len(clean)} test images: PSNR {row['noisy']:.2f} dB noisy, "
        f"{row['denoised']:.2f} dB restored ({row['mean_image']:.2f} dB for the mean image)"
    )
    print(out)
