"""`narrows zoo`: the trained models that come with narrows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from narrows.cli import parsing
from narrows.cli.main import UsageError

if TYPE_CHECKING:
    from narrows.zoo import Entry

_ABOUT = """List the trained models that come with narrows, and whether they are here.

narrows zoo show NAME    the model's card: figures, commands that made it, when to use it
narrows zoo path NAME    its folder
narrows zoo fetch NAME   write it as the folder of a run, which every command takes

Some are installed with narrows, together with the checksums of all; the others are in the folder
zoo of its repository, where a checkout finds them. Elsewhere --from names that folder, or an
address below which its content is found; the environment variable NARROWS_ZOO names it for good.
"""


def zoo(arguments: list[str]) -> None:
    """Prints the list, or does what is asked with one model."""
    parser = parsing.parser("zoo", _ABOUT)
    parser.add_argument("verb", nargs="?", type=str, default=None, help="show, path or fetch")
    parser.add_argument("name", nargs="?", type=str, default=None, help="of the model")
    parser.add_argument("--from", type=str, default=None, help="folder or address of the models")
    parser.add_argument("--out", type=str, default=None, help="of fetch; default runs/NAME")
    config = parsing.parse(parser, arguments)
    from narrows.zoo import as_run, find, path

    place = config["from"]
    if config.verb is None:
        print("\n".join(listing(place)))
        return
    if config.verb not in ("show", "path", "fetch") or config.name is None:
        raise UsageError(f"expected show NAME, path NAME or fetch NAME, got {config.verb}")
    if config.verb == "show":
        print("\n".join(facts(find(config.name), place)))
    elif config.verb == "path":
        print(path(config.name, base=place))
    else:
        out = config.out or f"runs/{config.name}"
        print(as_run(config.name, out=out, base=place).folder)
        print(f"next:\n  narrows explore {out}\n  narrows evaluate {out}")


def listing(place: str | None) -> Iterator[str]:
    """One line for each model."""
    from narrows.zoo import is_here
    from narrows.zoo import list as models

    yield f"{'name':22} {'bits/dim':>8} {'NMSE':>7} {'kB':>5}  {'here':4} about"
    for entry in models():
        f, here = entry.figures, "yes" if is_here(entry.name, base=place) else "no"
        head = f"{entry.name:22} {f['bits_per_dimension']:8.3g} {f['nmse']:7.3g}"
        yield f"{head} {entry.kilobytes:5.0f}  {here:4} {entry.about}"


def facts(entry: "Entry", place: str | None) -> Iterator[str]:
    """A model's card, if it is here, else what the list says of it."""
    from narrows.hub import CARD
    from narrows.zoo import is_here, path

    if is_here(entry.name, base=place):
        yield (path(entry.name, base=place) / CARD).read_text(encoding="utf-8").rstrip()
        return
    yield f"{entry.name}: {entry.about}"
    yield from (f"  {name:20} {value:.5g}" for name, value in entry.figures.items())
    yield from (f"  {command}" for command in entry.commands)
    yield f"its files are not here: narrows zoo fetch {entry.name} --from PLACE"
