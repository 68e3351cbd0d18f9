"""Recipes of priors: a class and its arguments, before the codes are known.

A recipe is a small YAML file: a first comment line that says what it is, `class_path`, and
`init_args` without what the codes settle (sites, size, dim). Those that come with narrows are in
`narrows/recipes/priors`; a file of the user's own and a class path do as well.
"""

import dataclasses
import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import torch
import yaml
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.codes import CodeSpace
from narrows.data.dataset import Dataset, Split
from narrows.priors.base import Prior
from narrows.recorded import build, class_at, spec
from narrows.training.evaluation import all_latents

EPOCHS = 20
"""Passes over the training codes where a recipe does not say how many."""


@dataclass(frozen=True)
class PriorRecipe:
    """Which prior to fit, before the model's codes are known.

    Attributes:
        name: what the command line calls it, and the folder that it is saved in.
        prior: the class.
        arguments: of its constructor, without those that the codes settle. A `step` that is not
            stated is the one of the model's own prior, where that has one.
        epochs: of training by gradient.
        conditional: condition it on the labels of the data; only for a prior with `classes`.
        about: one line.
    """

    name: str
    prior: type[Prior]
    arguments: Mapping[str, object] = field(default_factory=dict)
    epochs: int = EPOCHS
    conditional: bool = False
    about: str = ""

    def __post_init__(self) -> None:
        for name in self.arguments:
            if name not in self.takes:
                near = difflib.get_close_matches(name, self.takes, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self.takes)}"
                raise ValueError(f"{self.prior.__name__} has no argument {name!r}; {hint}")
        if not (isinstance(self.epochs, int) and self.epochs > 0):
            raise ValueError(f"{self.name}: expected at least 1 epoch, got {self.epochs!r}")
        if self.conditional and "classes" not in self.takes:
            raise ValueError(
                f"{self.name} knows no classes; a conditional prior is a pixelcnn, or one of your "
                "own whose constructor takes classes"
            )

    @property
    def settings(self) -> str:
        """Epochs and arguments in words."""
        every = {"epochs": self.epochs, **self.arguments}
        return ", ".join(f"{name} {value}" for name, value in every.items())

    @property
    def takes(self) -> list[str]:
        """Names of the constructor's arguments."""
        return [*inspect.signature(self.prior).parameters]

    @property
    def learned(self) -> bool:
        """True if the prior is trained by gradient, False if it is fitted in one pass."""
        return self.prior.learning_rate is not None

    @property
    def configuration(self) -> dict[str, object]:
        """Whatever changes the fitted prior, as plain data."""
        kind = f"{self.prior.__module__}.{self.prior.__qualname__}"
        training = {"epochs": self.epochs} if self.learned else {}
        own = {"class_path": kind, "init_args": spec(self.arguments), **training}
        return {**own, "conditional": True} if self.conditional else own

    def with_options(self, options: Mapping[str, object]) -> "PriorRecipe":
        """The recipe with those of the options that it takes: of its prior, and `epochs`."""
        own = {name: value for name, value in options.items() if name in self.takes}
        training = {name: value for name, value in options.items() if name == "epochs"}
        return dataclasses.replace(self, arguments={**self.arguments, **own}, **training)

    def refusal(self, codes: CodeSpace, sites: tuple[int, ...]) -> str | None:
        """Why the prior cannot be made for codes of this kind on these sites; None if it can."""
        try:
            self.prior.check_suits(codes, sites)
        except TypeError as error:
            return str(error)
        return None

    def make(
        self, model: Autoencoder, data: Dataset, *, seed: int = 0, factor: float = 1.0
    ) -> Prior:
        """The prior for the codes of a model, not yet fitted.

        Args:
            model: a trained model.
            data: its data set, for the number of classes and of atoms in use.
            seed: of initial weights; the caller's random numbers are left alone.
            factor: of the step that codes are rounded to.

        Raises:
            TypeError: if the prior does not suit the model's codes.
        """
        codes, own = model.bottleneck.codes, model.prior
        if refusal := self.refusal(codes, own.sites):
            raise TypeError(f"{self.name} does not suit this run: {refusal}")
        arguments = {name: build(value) for name, value in self.arguments.items()}
        if self.conditional:
            arguments["classes"] = int(labels_of(data.train).max()) + 1
        step = getattr(own, "step", None)
        if "step" in self.takes and step is not None:
            arguments.setdefault("step", step)
        if self.learned:  # a network's size follows the codes in use
            codes = codes.narrowed(latent.code for latent in all_latents(model, data.train))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            prior = self.prior.for_codes(codes, own.sites, **arguments)
            torch.manual_seed(seed)
            return prior if factor == 1 else prior.with_step(factor)


def shipped_recipes() -> dict[str, PriorRecipe]:
    """The recipes that come with narrows, by name."""
    folder = Path(str(files("narrows") / "recipes" / "priors"))
    return {path.stem: _read(path) for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> PriorRecipe:
    """The recipe of a name in `shipped_recipes`, a YAML file, or the path of a class of priors.

    Raises:
        ValueError: if there is none, with what was probably meant.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ValueError(f"there is no file {name} with a recipe of a prior")
        return _read(path)
    known = shipped_recipes()
    if name in known:
        return known[name]
    if "." in name:
        kind = _class(name)
        return PriorRecipe(kind.__name__, kind, about=(kind.__doc__ or "").partition("\n")[0])
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise ValueError(
        f"there is no kind of prior {name!r}; {hint} (or give a YAML file or a class path)"
    )


def labels_of(split: Split) -> Tensor:
    """All labels of a split.

    Raises:
        ValueError: if there are none.
    """
    labels = split.batch_labels(torch.arange(len(split)))
    if labels is None:
        raise ValueError("a class-conditional prior needs labels, and these data have none")
    return labels


def _read(path: Path) -> PriorRecipe:
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    if not isinstance(content, dict) or not {"class_path"} <= set(content) <= {*_KEYS}:
        raise ValueError(f"{path}: expected the recipe of a prior to have {' and '.join(_KEYS)}")
    about = text.partition("\n")[0].removeprefix("#").strip() if text.startswith("#") else ""
    kind, arguments = _class(content["class_path"]), content.get("init_args") or {}
    return PriorRecipe(path.stem, kind, arguments, content.get("epochs", EPOCHS), about=about)


_KEYS = ("class_path", "init_args", "epochs")


def _class(path: str) -> type[Prior]:
    kind = class_at(path)
    if not issubclass(kind, Prior):
        raise ValueError(f"expected the path of a class of priors, got {path!r}")
    return kind
