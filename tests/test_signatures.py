"""All public signatures agree: few positional arguments, one name and one order for one thing."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import narrows as nw
from narrows.recorded import Recorded

POSITIONAL = 2

# Left: names that the field uses for what has one name here, right.
SAY_INSTEAD = {
    "n_atoms": "size", "n_codes": "size", "num_embeddings": "size", "codebook_size": "size",
    "dictionary_size": "size", "categories": "size", "n_components": "size",
    "embedding_dim": "dim", "latent_dim": "dim", "n_features": "dim",
    "width": "hidden for layers, dim for features, k for active atoms",
    "groups": "channels", "variables": "channels", "n_active": "k", "n_nonzero_coefs": "k",
    "rng": "generator", "random_state": "seed", "n_samples": "n", "num_samples": "n",
    "positions": "sites", "grid": "sites", "solver": "coder",
}  # fmt: skip

# Where a signature has both, the left one stands first, unless only it may be left out.
ORDER = [
    ("shape", "bottleneck"), ("bottleneck", "network"), ("network", "likelihood"),
    ("sites", "size"), ("sites", "dim"), ("size", "dim"), ("codes", "sites"), ("model", "data"),
    ("x", "output"), ("features", "code"), ("n", "generator"),
    ("signals", "dictionary"), ("dictionary", "k"),
]  # fmt: skip

# What a parameter of this name is, wherever it stands; it may also be None.
MEANS = {
    "beta": "float", "bottleneck": "Bottleneck", "data": "Dataset", "dim": "int",
    "generator": "Generator", "k": "int", "likelihood": "Likelihood", "model": "Autoencoder",
    "network": "Network", "seed": "int", "sites": "tuple[int, ...]",
    "size": "int",
}  # fmt: skip

# What a door also takes, and hands on as what the name means: arrays go through `from_array`, and
# a prior of several channels may have a size for each.
WIDER = {"Dataset|Tensor|Array": "Dataset", "int|Sequence[int]": "int"}

# These keep the conventions of scikit-learn.
THEIRS = {"SparseCoder", "DictionaryLearner"}


def homes() -> Iterator[object]:
    """narrows, its subpackages, and the modules that lie beside these."""
    yield nw
    for info in pkgutil.walk_packages(nw.__path__, "narrows."):
        ours = info.ispkg or info.name.count(".") == 1
        if ours and not info.name.startswith(("narrows.cli", "narrows.__main__")):
            yield importlib.import_module(info.name)


def public() -> dict[str, Any]:
    """Every class and function that is exported, by where it is defined."""
    found = {}
    for home in homes():
        for name in getattr(home, "__all__", dir(home)):
            value = getattr(home, name)
            if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return {name: found[name] for name in sorted(found) if name.startswith("narrows.")}


def signatures() -> Iterator[tuple[str, list[inspect.Parameter]]]:
    """Name and parameters (without self) of every public function, constructor and method."""
    for name, value in public().items():
        if inspect.isfunction(value):
            yield name, parameters(value)
            continue
        if value.__name__ in THEIRS or issubclass(value, (BaseException, tuple)):
            continue
        # A plain dataclass is a result that the library makes; its fields are no arguments.
        if not dataclasses.is_dataclass(value) or issubclass(value, Recorded):
            yield name, parameters(value)
        for method, function in vars(value).items():
            function = getattr(function, "__func__", function)
            if inspect.isfunction(function) and not method.startswith("_"):
                yield f"{name}.{method}", parameters(function)[1:]


def parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def faults(given: list[inspect.Parameter]) -> list[str]:
    """What does not agree in one signature, in words."""
    positional = [p.name for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    found = []
    if len(positional) > POSITIONAL:
        found.append(f"{positional[POSITIONAL:]} should be keyword-only")
    found += [f"{p.name}: say {SAY_INSTEAD[p.name]}" for p in given if p.name in SAY_INSTEAD]
    places = {p.name: place for place, p in enumerate(given)}
    optional = {p.name for p in given if p.default is not p.empty}
    for first, second in ORDER:
        exempt = first in optional and second not in optional
        if first in places and places.get(second, len(given)) < places[first] and not exempt:
            found.append(f"{first} should stand before {second}")
    for p in given:
        meant = MEANS.get(p.name)
        said = WIDER.get(annotation(p), annotation(p))
        if meant and p.annotation is not p.empty and said not in (meant, f"{meant}|None"):
            found.append(f"{p.name} should be {meant}, not {said}")
    return found


def annotation(parameter: inspect.Parameter) -> str:
    """Its annotation, without the modules; `X | None` as X|None."""
    text = inspect.formatannotation(parameter.annotation)
    return re.sub(r"\b[\w.]+\.(?=\w)", "", text).strip("'\"").replace(" | ", "|")


SIGNATURES = dict(signatures())


def test_the_library_has_signatures_to_read():
    assert len(SIGNATURES) > 300
    assert "narrows.autoencoder.Autoencoder.for_images" in SIGNATURES


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_public_signature_agrees_with_the_others(name):
    found = faults(SIGNATURES[name])
    assert not found, f"{name}: {'; '.join(found)}"


def test_the_rules_can_fail():
    def wrong(dim: int, size: float, third, *, groups, n_atoms): ...

    assert faults(parameters(wrong)) == [
        "['third'] should be keyword-only",
        "groups: say channels",
        "n_atoms: say size",
        "size should stand before dim",
        "size should be int, not float",
    ]

    def right(size: int, dim: int, *, k: "int | None" = None): ...

    assert faults(parameters(right)) == []


if __name__ == "__main__":
    for name, given in SIGNATURES.items():
        if faults(given):
            print(name, faults(given))
