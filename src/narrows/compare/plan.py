"""What is compared: recipes, seeds, sweeps, steps, priors."""

import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from narrows.codes import CodeSpace
from narrows.compare.asked import RATE, Asked, wider
from narrows.compare.run import Job
from narrows.recorded import build, spec
from narrows.saving.trust import dotted_names
from narrows.saving.writing import read_yaml
from narrows.training import fit
from narrows.training.priors import PriorRecipe

Sweep = Mapping[str, Sequence[str]]
"""Argument -> values; `RECIPE:ARGUMENT` sweeps it for that recipe only."""
FILES = 500
"""Test images that are written to a real file under each prior."""


@dataclass(frozen=True)
class AfterTraining:
    """How finished runs are measured again, at other rates and under other priors.

    Attributes:
        steps: factors of the step to which plain and sparse codes are rounded.
        priors: under which runs are coded, where they suit their codes.
        files: test images written to a real file under each prior.
        language: the language model that activations came from, for the loss recovered.
    """

    steps: Sequence[float] = (1.0,)
    priors: Sequence[PriorRecipe] = ()
    files: int = FILES
    language: str = ""


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        recipes: files by label.
        data: as `narrows.data.load` takes it.
        seeds: one run of everything for each.
        settings: arguments that all runs share, such as `fit.epochs`.
        sweep: arguments that are varied; `rate` are bits per dimension that are trained for.
        options: of the data set.
        after: how finished runs are measured again.
    """

    recipes: Mapping[str, Path]
    data: str
    seeds: Sequence[int]
    settings: Mapping[str, str] = field(default_factory=dict)
    sweep: Sweep = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    after: AfterTraining = field(default_factory=AfterTraining)

    def jobs(self) -> list[Job]:
        """Every recipe at every point of its sweep with every seed.

        Where one rate is asked for, the first seed is also trained for a larger one: from there
        comes the slope along which runs are brought to the rate.
        """
        options = {f"data-options.{name}": str(value) for name, value in self.options.items()}
        settings = {**self.settings, **options}
        found = []
        for label, path in self.recipes.items():
            text = path.read_text()
            for point in self.points(label):
                for seed in self.seeds:
                    kind = Asked if RATE in point else Job
                    job = kind(label, str(path), text, self.data, seed, settings, point)
                    found.append(job)
                    if len(self.at) == 1 and seed == self.seeds[0]:
                        found.append(wider(job))
        return found

    @property
    def at(self) -> list[float]:
        """The rates that are asked for, rising, in bits per dimension."""
        return sorted(float(rate) for rate in self.sweep.get(RATE, ()))

    @property
    def class_paths(self) -> list[str]:
        """What recipes, settings, sweeps and priors name: the user trusts it."""
        kinds = [f"{one.prior.__module__}.{one.prior.__qualname__}" for one in self.after.priors]
        values = [value for values in self.sweep.values() for value in values]
        texts = [path.read_text(errors="replace") for path in self.recipes.values()]
        return kinds + dotted_names("\n".join([*texts, *self.settings.values(), *values]))

    def points(self, label: str) -> list[dict[str, str]]:
        """The grid of a recipe's own and of shared sweeps; one empty point without any."""
        axes: dict[str, Sequence[str]] = {}
        for name, values in self.sweep.items():
            owner, colon, argument = name.rpartition(":")
            if not colon or owner == label:
                axes[argument] = values
        return [
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        ]

    def differences(self) -> list[str]:
        """Where recipes differ in what should be the same: networks and budgets."""
        found = []
        read = {label: recipe for label, path in self.recipes.items() if (recipe := _read(path))}
        for part, pick in (
            ("networks", lambda r: _settled(r.get("model", {}).get("network"))),
            ("likelihoods", lambda r: _settled(r.get("model", {}).get("likelihood"))),
            ("budgets", _budget),
        ):
            kinds: dict[str, list[str]] = {}
            for label, recipe in read.items():
                kinds.setdefault(yaml.safe_dump(pick(recipe)), []).append(label)
            if len(kinds) > 1:
                groups = " | ".join(", ".join(labels) for labels in kinds.values())
                found.append(
                    f"the {part} of these recipes differ ({groups}): differences between their "
                    "figures are not due to the latent alone"
                )
        return found


def _read(path: Path) -> dict[str, Any]:
    """A recipe whose parts can be built; empty where its run says what is wrong with it."""
    try:
        recipe = read_yaml(path, "")
        for part in ("network", "likelihood"):
            _settled(recipe["model"].get(part))
        _budget(recipe)
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    return recipe


def _budget(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe spends, defaults filled in; schedules of its own belong to a latent."""
    given = recipe.get("fit", {})
    known = inspect.signature(fit).parameters
    names = ("epochs", "batch_size", "optimization", "engine")
    return {name: _settled(given.get(name, known[name].default)) for name in names}


def _settled(value: Any) -> Any:
    """Plain data with defaults filled in and numbers as numbers, so that equals look equal."""
    if isinstance(value, Mapping):
        value = {key: _settled(part) for key, part in value.items()}
        return spec(build(value)) if "class_path" in value else value
    if isinstance(value, str):  # YAML 1.1 reads 2e-3 as a word
        try:
            return float(value)
        except ValueError:
            return value
    return [_settled(part) for part in value] if isinstance(value, list) else value


def point_name(label: str, point: Mapping[str, str]) -> str:
    """The label, and what the sweep set."""
    said = ", ".join(f"{name.rpartition('.')[2]}={value}" for name, value in point.items())
    return f"{label} ({said})" if said else label


def code_spaces(files: Mapping[str, Path]) -> dict[str, CodeSpace]:
    """The kind of codes that each recipe's latent makes, by label.

    Recipes that cannot be built are left out: their runs say why.
    """
    found = {}
    for label, path in files.items():
        try:
            bottleneck = build(read_yaml(path, "")["model"]["bottleneck"])
            found[label] = bottleneck.codes
        except (ValueError, TypeError, KeyError):
            continue
    return found
