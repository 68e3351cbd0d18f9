"""`narrows interpolate RUN`: images along paths between the codes of test images."""

from pathlib import Path

from narrows.cli import parsing

_PATHS = ("linear", "spherical", "switching", "blending")


def run(arguments: list[str]) -> None:
    """Writes one PNG, a path in each row."""
    import torch

    from narrows import data as sources
    from narrows import generation
    from narrows.report.images import tile, to_png
    from narrows.training.run import Run

    parser = parsing.parser("interpolate", "Decode paths between the codes of two test images.")
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("--rows", type=int, default=8, help="number of paths")
    parser.add_argument("--steps", type=int, default=8, help="images on each, ends included")
    parser.add_argument("--path", type=str, default=None, choices=list(_PATHS))
    parser.add_argument("--data", type=str, default=None, help="default: the run's own")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    parser.add_argument("--out", type=str, default=None, help="default RUN/interpolation.png")
    config = parsing.parse(parser, arguments)
    loaded = Run.load(config.run)
    data = sources.load(config.data or loaded.data, root=config.data_root)
    if len(data.test) < 2 * config.rows or config.rows < 1:
        raise ValueError(
            f"expected 1 to {len(data.test) // 2} rows for this test split, got {config.rows}"
        )
    x = data.test.batch(torch.arange(2 * config.rows))
    path = getattr(generation, config.path) if config.path else None
    images = generation.interpolate(
        loaded.model, x[: config.rows], x[config.rows :], config.steps, path
    )
    out = Path(config.out) if config.out else Path(config.run) / "interpolation.png"
    out.write_bytes(to_png(tile(images.flatten(0, 1).cpu().numpy(), config.steps)))
    print(out)
