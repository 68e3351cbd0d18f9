"""`narrows sample RUN`: images of codes drawn from the prior."""

from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from narrows.cli import parsing
from narrows.cli.generate import pictures

if TYPE_CHECKING:
    from narrows.autoencoder import Autoencoder


def run(arguments: list[str]) -> None:
    """Writes one PNG with a grid of samples."""
    import torch

    from narrows.cli.prior import load

    parser = parsing.parser("sample", "Draw codes from the prior of a run and decode them.")
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("--prior", type=str, default=None, help="a kind fitted by narrows prior")
    parser.add_argument("--n", type=int, default=64, help="number of samples")
    parser.add_argument("--temperature", type=float, default=1.0, help="of learned priors")
    parser.add_argument("--top-k", type=int, default=None, help="likeliest symbols to draw from")
    parser.add_argument("--label", type=int, default=None, help="class, of a conditional prior")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    pictures.add_out(parser, "samples[-PRIOR]")
    config = parsing.parse(parser, arguments)
    if config.n < 1:
        raise ValueError(f"expected at least 1 sample, got --n {config.n}")
    model = load(config.run, config.prior)
    pictures.check(model)
    generator = torch.Generator().manual_seed(config.seed)
    images = model.sample(config.n, generator, **_options(config, model))
    name = "samples" if config.prior is None else f"samples-{config.prior}"
    pictures.write(config, name, images, columns=8)


def _options(config: Namespace, model: "Autoencoder") -> dict[str, Any]:
    """Temperature and top-k, which only autoregressive priors have; the class, if any."""
    import torch

    from narrows.priors.base import Autoregressive

    found = {}
    classes = model.prior.classes or 0
    if config.label is not None:
        if not 0 <= config.label < classes:
            known = f"0..{classes - 1}" if classes else "none: narrows prior --conditional true"
            raise ValueError(f"--label {config.label} is no class of this prior (it has {known})")
        found["label"] = torch.full((config.n,), config.label)
    if isinstance(model.prior, Autoregressive):
        return {"temperature": config.temperature, "top_k": config.top_k, **found}
    if config.temperature != 1 or config.top_k is not None:
        raise ValueError(
            f"{type(model.prior).__name__} has no temperature or top-k; fit another prior with "
            "narrows prior, such as pixelcnn"
        )
    return {}
