"""`narrows mask RUN`: what becomes of test images when parts of their codes are missing."""

from narrows.cli import parsing, trained
from narrows.cli.generate import pictures


def run(arguments: list[str]) -> None:
    """Writes one PNG, an image in each row: reconstruction, then the masked codes."""
    import torch

    from narrows import generation
    from narrows.cli.prior import load

    parser = parsing.parser(
        "mask",
        "Decode test images with one site of the code empty each; or, with --prior, with the "
        "lower half of the code drawn anew by an autoregressive prior.",
    )
    trained.add_options(parser)
    parser.add_argument("--prior", type=str, default=None, help="a kind fitted by narrows prior")
    parser.add_argument("--rows", type=int, default=4, help="number of images")
    parser.add_argument("--draws", type=int, default=8, help="completions of each, with --prior")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    pictures.add_out(parser, "masked[-PRIOR]")
    config = parsing.parse(parser, arguments)
    _, data = pictures.load(config)
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
        parts = generation.redraw(model, x, draws=config.draws, generator=generator)
    images = torch.cat([whole, parts], dim=1)
    name = "masked" if config.prior is None else f"masked-{config.prior}"
    pictures.write(config, name, images, images.shape[1])
