"""`narrows explore RUN...`: a page on this machine where codes of models are moved and decoded."""

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
_EMPTY = (
    "give the folder of a run, or of several runs on the same data: narrows explore runs/vq; "
    "to train one: narrows train vq; to see how it looks: narrows explore --demo"
)


def explore(arguments: list[str]) -> None:
    """Opens the page, and answers it until Ctrl-C."""
    parser = parsing.parser(
        "explore",
        "Open a page on this machine where you pick, draw or drop an example, see its code under "
        "one or several models, change the code and see at once what it decodes to. Only this "
        "machine can reach it, by an address with a token. Ctrl-C ends it.",
    )
    parser.add_argument("runs", type=str, nargs="*", help="folders of runs on the same data")
    parser.add_argument("--demo", action="store_true", help="train small models of digits for it")
    parser.add_argument("--data", type=str, default=None, help="default: the first run's own")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    parser.add_argument("--prior", type=str, default=None, help="fitted prior of each run to use")
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    config = parsing.parse(parser, arguments)
    if config.demo == bool(config.runs):
        raise UsageError(_EMPTY if not config.runs else "give runs or --demo, not both")
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

    data, models = _demo() if config.demo else _loaded(config)
    display = display_for(data)
    usual = data.test.batch(torch.arange(min(USUAL, len(data.test))))
    subjects = [
        Subject(name, model, usual=usual, display=display, folder=folder)
        for name, (model, folder) in models.items()
    ]
    return Explorer(data.name, subjects, Examples(data, display))


def _loaded(config: Namespace) -> "tuple[Dataset, dict[str, tuple[Autoencoder, Path | None]]]":
    """The runs' models by the shortest names that tell them apart, and the first one's data."""
    from narrows.cli.prior import load
    from narrows.training.run import Run

    folders = [Path(folder) for folder in config.runs]
    names = [folder.resolve().name for folder in folders]
    if len({*names}) < len(names):
        names = [str(folder) for folder in folders]
    if len({*names}) < len(names):
        raise UsageError("every run can be shown once; name different folders")
    found = {
        name: (load(str(folder), config.prior), folder)
        for name, folder in zip(names, folders, strict=True)
    }
    first = Run.load(folders[0])
    return trained.data(Namespace(**vars(config), run=config.runs[0]), first), {**found}


def _demo() -> "tuple[Dataset, dict[str, tuple[Autoencoder, Path | None]]]":
    from narrows.explore.demo import demo

    data, models = demo()
    return data, {name: (model, None) for name, model in models.items()}
