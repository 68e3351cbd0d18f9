"""`narrows interpolate RUN`: images along paths between the codes of test images."""

from narrows.cli import parsing, trained
from narrows.cli.generate import pictures

_PATHS = ("linear", "spherical", "switching", "blending")


def run(arguments: list[str]) -> None:
    """Writes one PNG, a path in each row."""
    import torch

    from narrows import generation

    parser = parsing.parser("interpolate", "Decode paths between the codes of two test images.")
    trained.add_options(parser)
    parser.add_argument("--rows", type=int, default=8, help="number of paths")
    parser.add_argument("--steps", type=int, default=8, help="images on each, ends included")
    parser.add_argument(
        "--path", type=str, default=None, choices=list(_PATHS), help="default: what suits the code"
    )
    pictures.add_out(parser, "interpolation")
    config = parsing.parse(parser, arguments)
    loaded, data = pictures.load(config)
    if len(data.test) < 2 * config.rows or config.rows < 1:
        raise ValueError(
            f"expected 1 to {len(data.test) // 2} rows for this test split, got {config.rows}"
        )
    x = data.test.batch(torch.arange(2 * config.rows))
    path = getattr(generation, config.path) if config.path else None
    images = generation.interpolate(
        loaded.model, x[: config.rows], b=x[config.rows :], steps=config.steps, path=path
    )
    pictures.write(config, "interpolation", images, config.steps)
