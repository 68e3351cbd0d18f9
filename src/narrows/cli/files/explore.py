"""`narrows explore [RUN...]`: a page on this machine where codes are moved by hand and decoded."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from narrows.cli import parsing, trained
from narrows.cli.main import UsageError

if TYPE_CHECKING:
    from narrows.autoencoder import Autoencoder
    from narrows.data import Dataset
    from narrows.explore.explorer import Explorer

USUAL = 64
"""Test examples from whose codes ranges and orders are taken."""
SHIPPED = ("digits-vq", "digits-vae", "digits-sparse-topk")
"""Models of the zoo that are installed, in the order of their columns where nothing is named."""


def explore(arguments: list[str]) -> None:
    """Opens the page, and answers it until Ctrl-C."""
    parser = parsing.parser(
        "explore",
        "Open a page on this machine where you pick, draw or drop an example, see its code under "
        "one or several models, change the code and see at once what it decodes to. Without a "
        "name it shows three models of digits that come with narrows. Only this machine can reach "
        "it, by an address with a token. Ctrl-C ends it.",
    )
    parser.add_argument(
        "runs", type=str, nargs="*",
        help="folders of runs, or names that `narrows zoo` lists, all for the same data",
    )  # fmt: skip
    parser.add_argument("--data", type=str, default=None, help="default: the first one's own")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    parser.add_argument("--prior", type=str, default=None, help="fitted prior of each run to use")
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    config = parsing.parse(parser, arguments)
    if not 0 <= config.port < 1 << 16:
        raise UsageError(f"expected a port in 0..65535, got {config.port}")
    try:
        from narrows.explore.server import serve
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"narrows explore needs the library {error.name}: pip install 'narrows[explore]'"
        ) from None
    serve(_explorer(config), port=config.port, browser=not config.no_browser)


def _explorer(config: Namespace) -> "Explorer":
    """Models and data behind the page."""
    import torch

    from narrows.explore.examples import Examples, display_for
    from narrows.explore.explorer import Explorer
    from narrows.explore.subject import Subject

    data, models = _loaded(config, config.runs or SHIPPED)
    display = display_for(data)
    usual = data.test.batch(torch.arange(min(USUAL, len(data.test))))
    subjects = [
        Subject(name, model, usual=usual, display=display, folder=folder)
        for name, (model, folder) in models.items()
    ]
    return Explorer(data.name, subjects, Examples(data, display))


def _loaded(
    config: Namespace, words: Sequence[str]
) -> "tuple[Dataset, dict[str, tuple[Autoencoder, Path | None]]]":
    """The models by the shortest names that tell them apart, and the first one's data."""
    from narrows import data as sources
    from narrows import zoo
    from narrows.training.run import Run

    names = [Path(word).resolve().name for word in words]
    if len({*names}) < len(names):
        names = list(words)
    if len({*names}) < len(names):
        raise UsageError("every run can be shown once; name different folders")
    found = {name: _model(word, config.prior) for name, word in zip(names, words, strict=True)}
    if config.data:
        data = sources.load(config.data, root=config.data_root)
    elif Path(words[0]).is_dir():
        run = Namespace(**vars(config), run=words[0])
        data = trained.data(run, Run.load(words[0]))
    else:
        data = zoo.data(words[0], config.data_root)
    return data, found


def _model(word: str, prior: str | None) -> "tuple[Autoencoder, Path | None]":
    """The model of a run's folder, or of a name in the zoo, and the folder of a run."""
    from narrows import zoo
    from narrows.cli.prior import load

    if Path(word).is_dir():
        return load(word, prior), Path(word)
    try:
        zoo.find(word)
    except ValueError as error:
        raise UsageError(f"{word!r} is no folder of a finished run, and {error}") from None
    if prior:
        raise UsageError(f"{word} has one prior, its own; leave --prior out")
    return zoo.load(word), None
