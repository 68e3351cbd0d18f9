"""`narrows sample`, `interpolate`, `traverse`, `mask`, `denoise`: each draws one picture of a run.

The images come from `narrows.generation` or the model. Helpers that all five commands share are at
the end.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from narrows.cli import parsing, trained

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from narrows.autoencoder import Autoencoder
    from narrows.data.dataset import Dataset

_PATHS = ("linear", "spherical", "switching", "blending")
_USUAL = 256  # test images from which the usual range of a code is taken


def sample(arguments: list[str]) -> None:
    """Writes one PNG with a grid of samples."""
    from narrows.cli.prior import load

    parser = parsing.parser("sample", "Draw codes from the prior of a run and decode them.")
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("--prior", type=str, default=None, help="fitted prior to use")
    parser.add_argument("--n", type=int, default=64, help="number of samples")
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="sampling temperature of an autoregressive prior",
    )
    parser.add_argument(
        "--top-k", type=int, default=None, help="draw from the k likeliest symbols only"
    )
    parser.add_argument(
        "--label", type=int, default=None, help="class to draw from a conditional prior"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    config = _parse(parser, arguments, "samples[-PRIOR]")
    if config.n < 1:
        raise ValueError(f"expected at least 1 sample, got --n {config.n}")
    model = load(config.run, config.prior)
    _check_images(model)
    images = model.sample(config.n, _generator(config), **_options(config, model))
    _write(config, "samples" if config.prior is None else f"samples-{config.prior}", images, 8)


def _options(config: Namespace, model: "Autoencoder") -> "dict[str, float | int | Tensor | None]":
    """Temperature and top-k, which only autoregressive priors have; the class, if any."""
    import torch

    from narrows.priors.base import Autoregressive

    found = {}
    classes = model.prior.classes or 0
    if config.label is not None:
        if not 0 <= config.label < classes:
            known = f"0..{classes - 1}" if classes else "none: narrows prior --conditional true"
            raise ValueError(
                f"--label {config.label} is not a class of this prior (it has {known})"
            )
        found["label"] = torch.full((config.n,), config.label)
    if isinstance(model.prior, Autoregressive):
        return {"temperature": config.temperature, "top_k": config.top_k, **found}
    if config.temperature != 1 or config.top_k is not None:
        raise ValueError(
            f"{type(model.prior).__name__} has no temperature or top-k; fit another prior with "
            "narrows prior, such as pixelcnn"
        )
    return {}


def interpolate(arguments: list[str]) -> None:
    """Writes one PNG, a path in each row."""
    from narrows import generation

    parser = parsing.parser("interpolate", "Decode paths between the codes of two test images.")
    trained.add_options(parser)
    parser.add_argument("--rows", type=int, default=8, help="number of paths")
    parser.add_argument("--steps", type=int, default=8, help="images per path, including both ends")
    parser.add_argument(
        "--path", type=str, default=None, choices=list(_PATHS), help="default: what suits the code"
    )
    config = _parse(parser, arguments, "interpolation")
    model, data = _load(config)
    if len(data.test) < 2 * config.rows or config.rows < 1:
        raise ValueError(
            f"expected 1 to {len(data.test) // 2} rows for this test split, got {config.rows}"
        )
    x = _first(data, 2 * config.rows)
    path = getattr(generation, config.path) if config.path else None
    images = generation.interpolate(
        model, x[: config.rows], b=x[config.rows :], steps=config.steps, path=path
    )
    _write(config, "interpolation", images, config.steps)


def traverse(arguments: list[str]) -> None:
    """Writes one PNG, a dimension in each row."""
    import torch

    from narrows import generation

    parser = parsing.parser(
        "traverse",
        "Decode a test image's code with one dimension moved: a feature of a continuous code, an "
        "atom's coefficient of a sparse one, an index of a discrete one.",
    )
    trained.add_options(parser)
    parser.add_argument("--image", type=int, default=0, help="index of the test image")
    parser.add_argument("--rows", type=int, default=8, help="maximum number of dimensions")
    parser.add_argument("--steps", type=int, default=8, help="number of values per dimension")
    config = _parse(parser, arguments, "traversal")
    model, data = _load(config)
    if not 0 <= config.image < len(data.test) or config.rows < 1 or config.steps < 1:
        raise ValueError(
            f"expected an image in 0..{len(data.test) - 1} and at least 1 row and step, got "
            f"{config.image}, {config.rows} and {config.steps}"
        )
    code = model.encode(_first(data, _USUAL))
    dimensions, values = generation.usual(code, config.rows, steps=config.steps)
    x = data.test.batch(torch.tensor([config.image]))
    images = generation.traverse(model, x, values=values, dimensions=dimensions)
    print(f"dimensions {', '.join(map(str, dimensions))}")
    print(f"values {', '.join(f'{value:.3g}' for value in values)}")
    _write(config, "traversal", images, len(values))


def mask(arguments: list[str]) -> None:
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
    parser.add_argument("--prior", type=str, default=None, help="fitted prior to use")
    parser.add_argument("--rows", type=int, default=4, help="number of images")
    parser.add_argument("--draws", type=int, default=8, help="completions per image, with --prior")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    config = _parse(parser, arguments, "masked[-PRIOR]")
    _, data = _load(config)
    if not 1 <= config.rows <= len(data.test) or config.draws < 1:
        raise ValueError(
            f"expected 1 to {len(data.test)} rows and at least 1 draw, got {config.rows} and "
            f"{config.draws}"
        )
    model, x = load(config.run, config.prior), _first(data, config.rows)
    if config.prior is None:
        parts = generation.mask_sites(model, x)
    else:
        parts = generation.redraw(model, x, draws=config.draws, generator=_generator(config))
    images = torch.cat([model.reconstruct(x)[:, None], parts], dim=1)
    name = "masked" if config.prior is None else f"masked-{config.prior}"
    _write(config, name, images, images.shape[1])


def denoise(arguments: list[str]) -> None:
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
    parser.add_argument("--n", type=int, default=8, help="number of images to show")
    parser.add_argument(
        "--measured", type=int, default=1000, help="number of images to measure PSNR on"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise")
    config = _parse(parser, arguments, "denoised")
    model, data = _load(config)
    if not 1 <= config.n <= len(data.test) or config.measured < 1:
        raise ValueError(
            f"expected 1 to {len(data.test)} images shown and at least 1 measured, got --n "
            f"{config.n} and --measured {config.measured}"
        )
    clean, shown = _first(data, config.measured), _first(data, config.n)
    (row,) = denoising(model.reconstruct, clean, weights=[config.noise], seed=config.seed)
    noisy = corrupt(shown, config.noise, generator=_generator(config))
    print(
        f"noise {config.noise:g}, {len(clean)} test images: PSNR {row['noisy']:.2f} dB noisy, "
        f"{row['denoised']:.2f} dB restored ({row['mean_image']:.2f} dB for the mean image)"
    )
    _write(config, "denoised", torch.cat([shown, noisy, model.reconstruct(noisy)]), config.n)


def _parse(parser: ArgumentParser, arguments: list[str], name: str) -> Namespace:
    """Adds --out, by default a file of this name in the run's folder, and parses."""
    parser.add_argument("--out", type=str, default=None, help=f"default RUN/{name}.png")
    return parsing.parse(parser, arguments)


def _generator(config: Namespace) -> "Generator":
    """What --seed seeds."""
    import torch

    return torch.Generator().manual_seed(config.seed)


def _load(config: Namespace) -> "tuple[Autoencoder, Dataset]":
    """The model of a run on images, and its data."""
    from narrows.training.run import Run

    run = Run.load(config.run)
    _check_images(run.model)
    return run.model, trained.data(config, run)


def _first(data: "Dataset", n: int) -> "Tensor":
    """The first test images, at most n."""
    import torch

    return data.test.batch(torch.arange(min(n, len(data.test))))


def _check_images(model: "Autoencoder") -> None:
    if len(model.shape) != 3:
        raise ValueError(
            f"expected a run on images to draw pictures of, but its examples have shape "
            f"{tuple(model.shape)}; in Python nw.generation and model.sample give their values"
        )


def _write(config: Namespace, name: str, images: "Tensor", columns: int) -> None:
    """Writes images `[..., channels, height, width]` as the grid of one PNG and says where."""
    from narrows.report.images import tile, to_png
    from narrows.saving.writing import write_bytes

    out = Path(config.out) if config.out else Path(config.run) / f"{name}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, to_png(tile(images.flatten(0, -4).cpu().numpy(), columns)))
    print(out)
