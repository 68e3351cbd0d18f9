"""`narrows codes RUN ARRAY`: a table of items and their codes, such as semantic identifiers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.cli import parsing

if TYPE_CHECKING:
    from torch import Tensor

    from narrows.autoencoder import Autoencoder

_BATCH = 256


def codes(arguments: list[str]) -> None:
    """Writes the table, and prints how well the codes name the items."""
    from narrows.data.loading import data_root
    from narrows.saving.table import check_suffix, write_table
    from narrows.tasks.shown import shown
    from narrows.training.run import Run

    parser = parsing.parser(
        "codes",
        "Write a table of items and their discrete codes, in the order of a .npy file. Prints how "
        "many codes are unique, how each level is used, and whether items that are near one "
        "another share prefixes (vectors only).",
    )
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("array", type=str, help=".npy file of examples as the model takes them")
    parser.add_argument("--out", type=str, default=None, help="table; default RUN/codes.csv")
    parser.add_argument("--names", type=str, default=None, help="text file, a name in each line")
    parser.add_argument(
        "--ties", type=bool, default=True, help="a last column that tells equal codes apart"
    )
    config = parsing.parse(parser, arguments)
    out = Path(config.out) if config.out else Path(config.run) / "codes.csv"
    check_suffix(out)
    model = Run.load(config.run).model.eval()
    x = _examples(config.array, data_root())
    names = _names(config.names, len(x))
    with shown("codes"):
        code = _encode(model, x)
        measures = _measures(model, code, x)
    columns = {"item": names, **{f"code_{i}": code[:, i].tolist() for i in range(code.shape[1])}}
    if config.ties:
        from narrows.metrics import tie_breakers

        columns["tie"] = tie_breakers(code).tolist()
    write_table(out, columns)
    print(json.dumps(measures, indent=1))
    print(out)


def _examples(argument: str, root: Path | None) -> "Tensor":
    """All rows of the file, in its order."""
    import numpy as np
    import torch

    from narrows.data.dataset import as_unit
    from narrows.data.loaders.array import find_path

    path = find_path(argument, root)
    if path.suffix != ".npy" or not path.is_file():
        raise ValueError(f"expected a .npy file of examples, got {argument!r}")
    return as_unit(torch.from_numpy(np.load(path, allow_pickle=False)))


def _names(names_file: str | None, n: int) -> list[str] | range:
    """One for each example; their numbers by default."""
    if names_file is None:
        return range(n)
    names = Path(names_file).read_text(encoding="utf-8").splitlines()
    if len(names) != n:
        raise ValueError(f"expected {n} names, a line for each example, got {len(names)}")
    return names


def _encode(model: "Autoencoder", x: "Tensor") -> "Tensor":
    """The codes, `[n, indices]`."""
    import torch

    from narrows.codes import is_discrete, one_tensor

    parts = [one_tensor(model.encode(part)) for part in x.split(_BATCH)]
    code = torch.cat(parts)
    if not is_discrete(code):
        raise ValueError(
            f"{type(model.bottleneck).__name__} has codes of values; a table of indices needs a "
            "discrete one, such as the recipe semantic-ids"
        )
    return code.flatten(1) if code.dim() > 1 else code[:, None]


def _measures(model: "Autoencoder", code: "Tensor", x: "Tensor") -> dict[str, object]:
    """Of the codes as identifiers, where all indices are of one codebook's size."""
    from narrows.codes import Indices
    from narrows.metrics import identifiers

    space = model.bottleneck.codes
    if not isinstance(space, Indices) or len(code) < 2:
        return {"items": len(code)}
    vectors = x if x.dim() == 2 else None
    return identifiers(code, size=space.size, vectors=vectors).figures()
