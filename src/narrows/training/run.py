"""A finished run and the folder it lives in."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from narrows.autoencoder import Autoencoder
from narrows.data.dataset import Dataset
from narrows.saving.trust import trust_options
from narrows.saving.writing import (
    LOCK,
    PARTIAL,
    check_keys,
    file_checksum,
    read_json,
    read_rows,
    write_json,
    write_text,
)
from narrows.training.evaluation import evaluate, latents, quality_advice


@dataclass(frozen=True, eq=False)
class Run:
    """What `fit` returns.

    Attributes:
        model: the trained model, in eval, its prior fitted to training codes.
        validation: measures on the validation split after training.
        test: measures on the test split.
        history: one row per epoch: losses in nats per example, rates in bits, examples/s.
        data: name of the data set, as `narrows.data.load` takes it.
        folder: where everything was written, or None.
        advice: sentences on what looks wrong and what to try.
    """

    model: Autoencoder
    validation: dict[str, float]
    test: dict[str, float]
    history: list[dict[str, float]]
    data: str
    folder: Path | None = None
    advice: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, folder: str | Path, *, trust: str | Sequence[str] = ()) -> "Run":
        """Reads a finished run's folder.

        Args:
            folder: that `fit` wrote.
            trust: modules of your own whose parts the run may name; see `narrows.saving.trust`.

        Raises:
            FileNotFoundError: if the folder holds no finished run.
            ValueError: if a file is damaged, or names code that is not trusted.
        """
        folder = Path(folder)
        figures = read_figures(folder)
        return cls(
            model=Autoencoder.load(folder, trust=trust),
            validation=figures["validation"],
            test=figures["test"],
            history=_history(folder / _HISTORY, figures.get("history")),
            data=figures["data"],
            folder=folder,
            advice=figures["advice"],
        )

    def write(self, folder: Path, data: Dataset | None) -> None:
        """Writes the model and `metrics.json`, which comes last: with it a run is finished.

        Args:
            folder: where `metrics.jsonl` is already, if there is a history.
            data: that the figures were measured on; None where there are none.
        """
        self.model.save(folder)
        figures: dict[str, object] = {
            "data": self.data, "units": UNITS, "validation": self.validation, "test": self.test,
            "advice": self.advice, "history": file_checksum(folder / _HISTORY),
        }  # fmt: skip
        if data is not None:
            parts = {"train": data.train, "validation": data.validation, "test": data.test}
            examples = {part: len(split) for part, split in parts.items()}
            figures |= {"data_name": data.name, "examples": examples}
        write_json(folder / "metrics.json", figures)


def read_figures(folder: Path) -> dict[str, Any]:
    """What `metrics.json` of a finished run holds.

    Raises:
        FileNotFoundError: if the folder holds no finished run.
        ValueError: if the file is damaged.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the folder of a finished run, but '{folder}' has no metrics.json; "
            "give the folder that `narrows train --out` wrote"
        )
    figures = read_json(path, _REMEDY)
    check_keys(figures, path, _REMEDY, needed=_FIGURES, optional=_MORE)
    return figures


UNITS: Mapping[str, str] = {
    "mse": "squared error per value, in the unit of the data: [0, 1] for images",
    "nmse": "mse over the variance of the training values",
    "psnr": "dB, peak 1",
    "snr": "dB, variance of the training values over mse",
    "nll": "nats per example",
    "loss": "nats per example",
    "bits_per_example": "bits",
    "bits_per_dimension": "bits per value of the example",
}
_HISTORY = "metrics.jsonl"
_FIGURES = ("data", "validation", "test", "advice")
_MORE = ("data_name", "examples", "units", "history")
_REMEDY = "take the run's folder from a whole copy, or train anew"


def _history(path: Path, checksum: str | None) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`, which are those that were written; early runs have no sum."""
    rows = read_rows(path, _REMEDY)
    if checksum not in (None, file_checksum(path)):
        raise ValueError(
            f"{path} is damaged or was edited (its checksum is not that in metrics.json): {_REMEDY}"
        )
    return rows


def claim_folder(out: str | Path) -> Path:
    """Makes the folder of a new run.

    Raises:
        FileExistsError: if it holds something already, but what a run leaves that was killed
            before it had begun.
    """
    folder = Path(out)
    if folder.exists() and (
        not folder.is_dir()
        or any(path.name != LOCK and PARTIAL not in path.name for path in folder.iterdir())
    ):
        stopped = (folder / "config.yaml").is_file() and not (folder / "metrics.json").is_file()
        hint = (
            f"go on with narrows train --resume {folder}{trust_options(folder)}, or "
            if stopped
            else ""
        )
        raise FileExistsError(
            f"{folder} exists already; runs never overwrite: {hint}choose another --out or remove "
            "it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def adopt(model: Autoencoder, *, out: str | Path, data: Dataset | None = None) -> Run:
    """Makes a run's folder of a model that was trained elsewhere, so that every command takes it.

    Args:
        model: such as `narrows.interop.read_saelens` gives.
        out: folder, new or empty.
        data: whose training examples the prior is fitted to, and whose others the figures are of;
            None leaves the prior as it is, and no figures.

    Raises:
        FileExistsError: if `out` holds something already.
        ValueError: if the data are not of the model's shape.
    """
    wanted = model.shape, model.network.inputs
    if data is not None and (data.shape, data.inputs) != wanted:
        raise ValueError(
            f"the model is for examples of shape {model.shape} with {model.network.inputs} inputs "
            f"of pairs, {data.name} has {data.shape} with {data.inputs}; name the activations that "
            "it was made for"
        )
    folder, figures = claim_folder(out), [dict[str, float](), dict[str, float]()]
    if data is not None:
        if not model.prior.frozen:
            model.prior.fit(latents(model, data.train))
        figures = [
            evaluate(model, part, variance=data.variance) for part in (data.validation, data.test)
        ]
    advice = [*quality_advice(figures[1]), *model.bottleneck.advice(figures[1])] if data else []
    name = "" if data is None else data.origin.source or data.name
    run = Run(model.eval(), *figures, history=[], data=name, folder=folder, advice=advice)
    write_text(folder / _HISTORY, "")
    run.write(folder, data)
    return run


def fresh(stem: str) -> Path:
    """STEM if nothing is there, else the first free of STEM-2, STEM-3, ..."""
    path, number = Path(stem), 1
    while path.exists():
        number += 1
        path = Path(f"{stem}-{number}")
    return path


def environment() -> dict[str, Any]:
    """Versions and hardware, for whoever wants to repeat a figure."""
    from narrows import __version__

    packages = ("torch", "numpy", "scipy", "scikit-learn", "lightning-fabric")
    versions = {"narrows": __version__}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "versions": versions,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
