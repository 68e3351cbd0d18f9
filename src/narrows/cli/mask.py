"""`narrows mask RUN`: what becomes of test images when parts of their codes are missing."""

from pathlib import Path

from narrows.cli import parsing


def run(arguments: list[str]) -> None:
    """Writes one PNG, an image in each row: reconstruction, then the masked codes."""
    import torch

    from narrows import data as sources
    from narrows import generation
    from narrows.cli.prior import load
    from narrows.report.images import tile, to_png
    from narrows.training.run import Run

    parser = parsing.parser(
        "mask",
        "Decode test images with one site of the code empty each; or, with --prior, with the "
        "lower half of the code drawn anew by an autoregressive prior.",
    )
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("--prior", type=str, default=None, help="a kind fitted by narrows prior")
    parser.add_argument("--rows", type=int, default=4, help="number of images")
    parser.add_argument("--draws", type=int, default=8, help="completions of each, with --prior")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--data", type=str, default=None, help="default: the run's own")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    parser.add_argument("--out", type=str, default=None, help="default RUN/masked[-PRIOR].png")
    config = parsing.parse(parser, arguments)
    data = sources.load(config.data or Run.load(config.run).data, root=config.data_root)
    if not 1 <= config.rows <= len(data.test) or config.draws < 1:
        raise ValueError(
            f"expected 1 to {len(data.test)} rows and at least 1 draw, got {config.rows} and "
            f"{config.draws}"
        )
    model = load(config.run, config.prior)
    x = data.test.batch(torch.arange(config.rows))
    whole = model.reconstruct(x)[:, None]
    if config.prior is None:
        parts = generation.mask_sites(model, x)
    else:
        generator = torch.Generator().manual_seed(config.seed)
        parts = generation.redraw(model, x, config.draws, generator)
    images = torch.cat([whole, parts], dim=1)
    name = "masked" if config.prior is None else f"masked-{config.prior}"
    out = Path(config.out) if config.out else Path(config.run) / f"{name}.png"
    out.write_bytes(to_png(tile(images.flatten(0, 1).cpu().numpy(), images.shape[1])))
    print(out)
