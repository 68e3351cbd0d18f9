"""`narrows traverse RUN`: one dimension of a test image's code moved at a time."""

from typing import TYPE_CHECKING

from narrows.cli import parsing, trained
from narrows.cli.generate import pictures

if TYPE_CHECKING:
    from torch import Tensor

    from narrows.codes import Code

_LOOKED_AT = 256  # test images whose codes say what values are usual


def run(arguments: list[str]) -> None:
    """Writes one PNG, a dimension in each row."""
    import torch

    from narrows import generation

    parser = parsing.parser(
        "traverse",
        "Decode a test image's code with one dimension moved: a feature of a continuous code, an "
        "atom's coefficient of a sparse one, an index of a discrete one.",
    )
    trained.add_options(parser)
    parser.add_argument("--image", type=int, default=0, help="which test image")
    parser.add_argument("--rows", type=int, default=8, help="most dimensions shown")
    parser.add_argument("--steps", type=int, default=8, help="values of each")
    pictures.add_out(parser, "traversal")
    config = parsing.parse(parser, arguments)
    loaded, data = pictures.load(config)
    if not 0 <= config.image < len(data.test) or config.rows < 1 or config.steps < 1:
        raise ValueError(
            f"expected an image in 0..{len(data.test) - 1} and at least 1 row and step, got "
            f"{config.image}, {config.rows} and {config.steps}"
        )
    others = data.test.batch(torch.arange(min(_LOOKED_AT, len(data.test))))
    dimensions, values = usual(loaded.model.encode(others), config.rows, config.steps)
    x = data.test.batch(torch.tensor([config.image]))
    images = generation.traverse(loaded.model, x, values=values, dimensions=dimensions)
    print(f"dimensions {', '.join(map(str, dimensions))}")
    print(f"values {', '.join(f'{value:.3g}' for value in values)}")
    pictures.write(config, "traversal", images, len(values))


def usual(code: "Code", rows: int, steps: int) -> tuple[list[int], list[float]]:
    """Dimensions and values worth a look, from codes of many images.

    Continuous: the features that vary most, from their 1st to their 99th percentile. Sparse: the
    atoms used most, over the range of coefficients. Integers: places spread over the code, and
    the indices used most.
    """
    import torch

    from narrows.codes import tensors

    first, *values = tensors(code)
    if values:
        active = values[0] != 0
        return _often(first[active], rows), _range(values[0][active], steps)
    if first.is_floating_point():
        flat = first.flatten(0, -2)
        order = flat.var(0).argsort(descending=True)[:rows]
        return sorted(order.tolist()), _range(flat[:, order], steps)
    count = first[0].numel()
    places = torch.linspace(0, count - 1, min(rows, count)).round().long()
    return places.tolist(), [float(index) for index in _often(first, steps)]


def _often(indices: "Tensor", count: int) -> list[int]:
    """The integers that occur most, ascending."""
    used = indices.flatten().bincount()
    most = used.argsort(descending=True, stable=True)[:count]
    return sorted(index for index in most.tolist() if used[index])


def _range(values: "Tensor", steps: int) -> list[float]:
    import torch

    if not values.numel():
        raise ValueError("the codes of these images are empty: nothing to traverse")
    ends = torch.tensor([0.01, 0.99])
    low, high = values.flatten()[: 1 << 20].float().cpu().quantile(ends).tolist()
    return torch.linspace(low, high, steps).tolist()
