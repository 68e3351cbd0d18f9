"""The training runs of a comparison, as tasks."""

import contextlib
import io
import json
import re
import runpy
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from narrows.autoencoder import Autoencoder
from narrows.saving.trust import read_configuration
from narrows.tasks import Outcome, Result, Task
from narrows.training.checkpoint import load_checkpoint

RUN = "run"
"""Name of the run's folder in that of its job."""


@dataclass(frozen=True)
class Job(Task):
    """One training run of a comparison.

    Attributes:
        label: of the curve or table row that it belongs to.
        recipe: name or file, as `narrows train` takes it.
        recipe_text: the recipe's content, so that editing it makes another job.
        data: as `narrows.data.load` takes it.
        seed: of weights, batch order and draws.
        settings: further arguments by name, `fit.epochs` and the like.
        point: what a sweep varied, by argument; empty without a sweep.
    """

    label: str
    recipe: str
    recipe_text: str
    data: str
    seed: int
    settings: Mapping[str, str] = field(default_factory=dict)
    point: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Recipe and seed."""
        return f"{self.label.replace('/', '-')}-seed{self.seed}"

    @property
    def configuration(self) -> Mapping[str, object]:
        """Everything but the name of the recipe's file."""
        kept = {name: value for name, value in asdict(self).items() if name != "recipe"}
        return {**kept, "settings": dict(self.settings), "point": dict(self.point)}

    @property
    def imports(self) -> tuple[str, ...]:
        """The command, the data set, and every class that recipe and settings name."""
        text = "\n".join([self.recipe_text, *self.settings.values(), *self.point.values()])
        classes = sorted({*re.findall(r"\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", text)})
        source = self.data.partition(":")[0]
        return ("narrows.cli.train", f"narrows.data.loaders.{source}", *classes)

    @property
    def files(self) -> list[str]:
        """What pages and measures read of the run."""
        names = ("config.yaml", "metrics.json", "metrics.jsonl", "model.json", "model.safetensors")
        return [f"{RUN}/{name}" for name in names]

    def test_figures(self, result: Mapping[str, float]) -> dict[str, float]:
        """The figures by which runs are compared, out of those of the result."""
        return dict(result)

    @property
    def recipe_name(self) -> str:
        """The recipe as it is typed: the name of one that comes with narrows, or its file."""
        path = Path(self.recipe)
        return path.stem if path.parent.name == "recipes" else self.recipe

    @property
    def words(self) -> Mapping[str, str]:
        """Options of the command: the settings, what the sweep varied, the seed."""
        return {**self.settings, **self.point, "fit.seed": str(self.seed)}

    def arguments(self, out: Path) -> list[str]:
        """The command that trains it into a folder, without `narrows`."""
        options = [word for name, value in self.words.items() for word in (f"--{name}", value)]
        if _resumable(out):
            return ["train", "--resume", str(out)]
        return ["train", self.recipe, "--data", self.data, "--out", str(out), *options]

    def run(self, folder: Path) -> Result:
        """Trains, or goes on with a run that was stopped.

        Returns:
            The figures on the test split, and `parameters`: how many numbers were learned.
        """
        out = folder / RUN
        command = self.arguments(out)
        if out.exists() and not _resumable(out):
            shutil.rmtree(out)  # in the folder named by the job's own hash: nobody else's
        _narrows(command)
        test = json.loads((out / "metrics.json").read_text())["test"]
        return {**test, "parameters": sum(p.numel() for p in Autoencoder.load(out).parameters())}


def figures(outcome: Outcome[Job]) -> dict[str, float]:
    """Test figures of a finished job, with what it cost."""
    return {**outcome.task.test_figures(outcome.figures), **asdict(outcome.cost)}


def _narrows(arguments: list[str]) -> None:
    """Runs `narrows ARGUMENTS` in this process, as if typed.

    Raises:
        RuntimeError: with what the command said last, if it fails.
    """
    said = io.StringIO()
    sys.argv = ["narrows", *arguments]
    with contextlib.redirect_stderr(said):
        try:
            runpy.run_module("narrows", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if end.code:
                text = said.getvalue().strip() or f"exit code {end.code}"
                begins = text.rfind("narrows: ")  # a reason may have several lines
                last = text.splitlines()[-1] if begins < 0 else text[begins:]
                raise RuntimeError(last) from None


def _resumable(out: Path) -> bool:
    """Whether there is a whole checkpoint to go on from.

    What stopped before the first one starts anew, and so does what stopped after the last: it
    has its figures already, but nobody knows what it cost.
    """
    if (out / "metrics.json").exists():
        return False
    try:
        read_configuration(out / "config.yaml")
        load_checkpoint(out / "checkpoints")
    except (ValueError, OSError):
        return False
    return True
