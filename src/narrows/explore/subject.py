"""One model that is looked at: what its codes are, and what can be done with them."""

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import AtomValues, Code, Indices, Values, rows, tensors
from narrows.explore import edits
from narrows.explore.display import Display
from narrows.explore.filed import filed
from narrows.explore.habits import Habit, habits
from narrows.explore.palette import offers
from narrows.explore.wire import to_wire
from narrows.functional.conditionals import follow, sampler
from narrows.generation import complete

Json: TypeAlias = dict[str, object]


class Subject:
    """A model under a name, with what is usual in its codes.

    Args:
        name: as the page calls it.
        model: on the CPU.
        usual: some examples `[n, *shape]`, from which ranges and orders are taken.
        display: how examples are shown.
        folder: of the run, where a page of its features may lie.

    Raises:
        ValueError: if the model is for examples of another shape.
    """

    def __init__(
        self,
        name: str,
        model: Autoencoder,
        *,
        usual: Tensor,
        display: Display,
        folder: Path | None = None,
    ) -> None:
        if model.shape != display.shape:
            raise ValueError(
                f"{name} is for examples of shape {model.shape}, and the data have {display.shape};"
                " open models of one data set together, or name their data with --data"
            )
        self.name = name
        self.model: Autoencoder = model.eval()
        self.display = display
        self.folder = folder
        self.space = model.bottleneck.codes
        self._codes: Code = model.prior.quantize(model.encode(usual))
        self.habits: list[Habit] = habits(self.space, self._codes)

    def describe(self) -> Json:
        """All that a page needs to know before there is a code."""
        kinds = {Indices: "indices", Values: "values", AtomValues: "atoms"}
        described = []
        for part, habit in zip(edits.parts(self.space), self.habits, strict=True):
            described.append({
                "kind": kinds.get(type(part), "other"), "words": str(part),
                "grid": part.grid(self.model.sites), "sizes": edits.sizes(part),
                "order": habit.order[0] if isinstance(part, Values) else [],
                "low": habit.low, "high": habit.high,
            })  # fmt: skip
        page = self.folder is not None and (self.folder / "features.html").is_file()
        return {
            "name": self.name, "prior": type(self.model.prior).__name__, "parts": described,
            "features": page, "folder": str(self.folder or ""),
            "draw": _reason(lambda: self.draw(seed=0)), "temperature": self._cools is not None,
            "complete": _reason(lambda: self.completed(rows(self._codes, slice(1)), seed=0)),
        }  # fmt: skip

    def show(self, code: Code, x: Tensor | None = None) -> Json:
        """What a code decodes to, rounded as in a file, and what it lost of an example x."""
        began = perf_counter()
        code = self.model.prior.quantize(code)
        y = self.model.decode(code)[0]
        shown: Json = {
            "code": to_wire(self.space, code), "decoded": self.display.example(y, x),
            "ms": 1000 * (perf_counter() - began),
        }  # fmt: skip
        if x is not None:
            mse = float((x - y).square().mean())
            shown |= {"error": self.display.error(x, y), "mse": mse}
        return shown

    def price(self, code: Code) -> Json:
        """What a code takes in a file, or why it has none; it may take longer than decoding."""
        try:
            return {"file": vars(filed(self.model, code))}
        except (ValueError, TypeError) as error:
            return {"no_file": str(error)}

    def encoded(self, x: Tensor) -> Json:
        """`show` for the code of an example, and its cost by bits-back where it is random."""
        shown = self.show(self.model.encode(x[None]), x)
        if self.model.prior.coding == "bits_back":
            shown["bits_back"] = float(self.model.bits(x[None]))
        return shown

    def palette(self, code: Code, *, part: int, site: Sequence[int], page: int = 0) -> Json:
        """What could stand at a site (see `offers`), each with what it would look like there.

        The picture of a codeword is the example with it; that of an atom is what the atom adds.
        """
        spaces, held = edits.parts(self.space), edits.split(self.space, code)
        if not 0 <= part < len(spaces):
            raise ValueError(f"expected a part in 0..{len(spaces) - 1}, got {part}")
        found, pages = offers(
            spaces[part], held[part], self.habits[part], part=part, site=tuple(site), page=page
        )
        changes = [one.change for one in found]
        images = self.model.decode(edits.alternatives(self.space, code, changes=changes))
        box = self.display.box(changes[0].place[:-1], spaces[part].grid(self.model.sites))
        if isinstance(spaces[part], AtomValues):
            off = [one._replace(value=0.0) for one in changes]
            without = self.model.decode(edits.alternatives(self.space, code, changes=off))
            tiles = self.display.differences(images - without, box)
        else:
            tiles = self.display.tiles(images, box)
        choices = [
            {"place": one.change.place, "value": one.change.value, "now": one.now, "picture": tile}
            for one, tile in zip(found, tiles, strict=True)
        ]
        return {"choices": choices, "pages": pages, "page": page}

    def draw(self, *, seed: int, temperature: float = 1.0) -> Code:
        """A code from the prior.

        Raises:
            ValueError: if the prior has to be fitted first, or has no temperature.
        """
        generator = torch.Generator().manual_seed(seed)
        if temperature == 1:
            return self.model.prior.sample(1, generator)
        if self._cools is None:
            name = type(self.model.prior).__name__
            raise ValueError(f"draws from {name} have no temperature; use 1")
        return self._cools(generator, temperature)

    def completed(self, code: Code, *, seed: int, missing: Sequence[Sequence[int]] = ()) -> Code:
        """The code with the sites in `missing` drawn anew by the prior.

        Raises:
            TypeError: if the prior cannot do so.
        """
        keep = torch.ones_like(tensors(code)[0], dtype=torch.bool)
        for site in missing:
            if len(site) != len(self.model.sites) or any(
                not 0 <= one < size for one, size in zip(site, self.model.sites, strict=True)
            ):
                raise ValueError(f"expected a site on {self.model.sites}, got {tuple(site)}")
            keep[(0, *site)] = False
        generator = torch.Generator().manual_seed(seed)
        return complete(self.model, code, keep=keep, generator=generator)

    @cached_property
    def _cools(self) -> Callable[[torch.Generator, float], Code] | None:
        """Draws at a temperature: the prior's own way, or along its walk over symbols."""
        prior = self.model.prior
        if "temperature" in inspect.signature(prior.sample).parameters:
            return lambda generator, t: prior.sample(1, generator, temperature=t)  # type: ignore
        try:
            prior.conditionals(0)
        except (ValueError, TypeError):
            return None
        return lambda generator, t: follow(prior.conditionals(1), sampler(generator, t))


def _reason(attempt: Callable[[], object]) -> str:
    """Why something cannot be done; "" if it can."""
    try:
        attempt()
    except (ValueError, TypeError) as error:
        return str(error) or type(error).__name__
    return ""
