"""`narrows data`: which data sets there are, and what is in one."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.cli import parsing

if TYPE_CHECKING:
    from narrows.data import Dataset

_ABOUT = """List the data sets: shape, size, and whether they are here.

With a name (folder:PATH and array:FILE too): sizes, variance, class counts, and a contact sheet.
"""


def run(arguments: list[str]) -> None:
    """Prints the list, or one set's facts, and writes its contact sheet."""
    parser = parsing.parser("data", _ABOUT)
    parser.add_argument("name", nargs="?", type=str, default=None, help="one set, to be shown")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    parser.add_argument(
        "--data-options", type=dict, default={}, help="arguments of the set's own load"
    )
    parser.add_argument("--out", type=str, default=None, help="contact sheet; default NAME.png")
    parser.add_argument(
        "--shards", type=str, default=None, help="write the set there as shards:DIR reads it"
    )
    config = parsing.parse(parser, arguments)
    if config.name is None:
        print("\n".join(listing(config.data_root)))
        return
    from narrows import data as sources

    options = parsing.values(config.data_options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ of \d+ files were left out")  # all named below
        data = sources.load(config.name, root=config.data_root, **options)
    print("\n".join(facts(data)))
    if config.shards is not None:
        print(f"shards           {sources.write_shards(data, config.shards)}")
    if len(data.shape) == 3 and not data.own_units:
        path = Path(config.out or f"{config.name.partition(':')[0]}.png")
        contact_sheet(data, path)
        print(f"contact sheet    {path}")


def listing(root: str | None) -> list[str]:
    """One line for each set."""
    from narrows.data.loading import data_root, present, sources

    folder = data_root(root)
    lines = [f"{'name':14} {'shape':12} {'examples':>9}  {'here':5} about"]
    for name, module in sources().items():
        argument = getattr(module, "ARGUMENT", None)
        if argument is not None:
            lines.append(f"{f'{name}:{argument}':37} {'':5} {module.ABOUT}")
            continue
        shape = "x".join(map(str, module.SHAPE))
        here = "yes" if present(name, folder) else "no"
        lines.append(f"{name:14} {shape:12} {module.EXAMPLES:>9,}  {here:5} {module.ABOUT}")
    return lines


def facts(data: "Dataset") -> list[str]:
    """What a set is made of, with units."""
    parts = {"training": data.train, "validation": data.validation, "test": data.test}
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    stored = f"{data.levels} levels" if data.levels else "floats"
    lines = [
        f"name             {data.name}",
        f"shape            {'x'.join(map(str, data.shape))}, {stored}",
        f"examples         {sizes}",
        f"variance         {data.variance:.6g} over all training values (NMSE divides by it)",
        f"note             {data.note or 'none'}",
    ]
    if data.inputs:
        lines.append(f"pairs            {data.inputs} numbers, and a target for them")
    if data.train.labels is not None:
        counts = data.train.labels.bincount().tolist()
        names = data.classes or tuple(map(str, range(len(counts))))
        listed = ", ".join(f"{n} {c:,}" for n, c in zip(names, counts, strict=False))
        lines.append(f"classes          {listed} (training)")
    return lines + [f"left out         {reason}" for reason in data.origin.skipped]


def contact_sheet(data: "Dataset", path: Path, *, rows: int = 8, columns: int = 12) -> None:
    """Writes training images, the classes by rows where there are labels, as one picture."""
    import torch

    from narrows.report.images import tile, to_png
    from narrows.saving.writing import write_bytes

    labels = data.train.labels
    chosen = torch.arange(min(rows * columns, len(data.train)))
    if labels is not None:
        present = labels.unique().tolist()[:rows]
        chosen = torch.cat([(labels == label).nonzero()[:columns, 0] for label in present])
    write_bytes(path, to_png(tile(data.train.batch(chosen).numpy(), columns)))
