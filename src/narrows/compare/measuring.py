"""Finished runs measured further, several at a time; what was measured is kept beside them."""

import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch

from narrows import __version__
from narrows import data as sources
from narrows.compare import gallery, priors
from narrows.compare.judge import Judge
from narrows.compare.priors import Request
from narrows.compare.sweeps import measured_at_steps, with_step
from narrows.compare.tasks import threads_each
from narrows.data.dataset import Dataset
from narrows.report.images import tile, to_png
from narrows.training.run import Run, write_bytes, write_json

EXAMPLES, EPOCHS = 1000, 12
"""Of each split that are used, and of the classifier's training."""
COLUMNS = 8
"""Samples in a row."""


class Bench:
    """Measures runs of one data set: in this process, or in several.

    Args:
        data: as `narrows.data.load` takes it.
        options: of the data set.
        workers: processes; each loads the data and trains the judge's classifier once.
    """

    def __init__(self, data: str, options: Mapping[str, Any], workers: int = 1) -> None:
        self._start = (data, dict(options))
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def steps(
        self, folders: Sequence[Path], factors: Sequence[float]
    ) -> list[dict[float, dict[str, float]]]:
        """Test figures of every run at other steps of its code, by factor."""
        wanted = [factor for factor in factors if factor != 1]
        tasks = [(folder, f"steps-{_digest(wanted)}.json", wanted) for folder in folders]
        found = self._all(_measure_steps, tasks if wanted else [], "rates")
        return [{float(f): v for f, v in one.items()} for one in found] or [{} for _ in folders]

    def judge(self, chosen: Sequence[tuple[Path, float]]) -> list[dict[str, float]]:
        """The judge's measures of every run, at a factor of its step."""
        tasks = [(folder, f"measures-x{factor:g}.json", factor) for folder, factor in chosen]
        return self._all(_judge, tasks, "measures")

    def code(self, chosen: Sequence[tuple[Path, Request]]) -> list[dict[str, float] | str]:
        """Figures of every run under a prior; what was said where it failed."""
        tasks = [(folder, f"{request.stem}.json", request) for folder, request in chosen]
        return self._all(_code, tasks, "priors")

    def _all(
        self, measure: Callable[..., Any], tasks: Sequence[tuple[Path, str, Any]], what: str
    ) -> list[Any]:
        """What is kept of every task, measured if missing; else what its measuring said."""
        from rich.console import Console
        from rich.progress import track

        missing = [task for task in tasks if _kept(task[0] / task[1]) is None]
        console = Console(stderr=True)
        said = track(
            self._run(measure, missing), what, len(missing) or 1, console=console,
            disable=not (missing and console.is_terminal),
        )  # fmt: skip
        errors = {task[0] / task[1]: error for task, error in zip(missing, said, strict=True)}
        paths = [folder / name for folder, name, _ in tasks]
        return [errors.get(path) or _kept(path) for path in paths]

    def _run(self, measure: Callable[..., Any], tasks: Sequence[tuple[Path, str, Any]]) -> Any:
        workers = min(self._workers, len(tasks))
        if workers < 2 and self._pool is None:
            _begin(*self._start)
            return map(measure, *zip(*tasks, strict=True)) if tasks else iter(())
        if self._pool is None:
            threads = threads_each(workers)
            context = multiprocessing.get_context("spawn")  # torch does not survive a fork
            self._pool = ProcessPoolExecutor(
                workers, context, initializer=_begin, initargs=(*self._start, threads)
            )
        return self._pool.map(measure, *zip(*tasks, strict=True))


_data: Dataset | None = None
_asked: tuple[str, dict[str, Any]] | None = None
_judging: Judge | None = None


def _begin(data: str, options: dict[str, Any], threads: int | None = None) -> None:
    """Loads the data of this process, once."""
    global _data, _asked, _judging
    if threads is not None:
        torch.set_num_threads(threads)
        _leave_with_starter()
    if _asked != (data, options):
        _asked = (data, options)
        _data = sources.load(data, **options)
        _judging = Judge(_data, examples=EXAMPLES, epochs=EPOCHS)


def _leave_with_starter() -> None:
    """A worker whose starter was killed would wait for its next task for ever."""
    starter = multiprocessing.parent_process()
    assert starter is not None

    def wait() -> None:
        starter.join()
        os._exit(1)  # what is kept is written whole or not at all

    threading.Thread(target=wait, daemon=True).start()


def _measure_steps(folder: Path, name: str, factors: Sequence[float]) -> None:
    assert _data is not None
    found = measured_at_steps(Run.load(folder).model, _data, factors)
    _keep(folder / name, {str(factor): figures for factor, figures in found.items()})


def _judge(folder: Path, name: str, factor: float) -> None:
    assert _data is not None
    assert _judging is not None
    model = Run.load(folder).model
    with_step(model, factor, _data.train)
    _keep(folder / name, _judging.judge(model))


def _code(folder: Path, name: str, request: Request) -> str | None:
    """Measures a run under a prior; returns what went wrong, which is not kept."""
    assert _data is not None
    try:
        model = Run.load(folder).model
        figures, prior = priors.measure(model, _data, request)
        if gallery.shows_images(_data) and request.factor == 1:
            picture = tile(priors.samples(model, prior, gallery.SAMPLES).numpy(), COLUMNS)
            write_bytes((folder / name).with_suffix(".png"), to_png(picture))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    _keep(folder / name, figures)
    return None


def _keep(path: Path, figures: Mapping[str, Any]) -> None:
    write_json(path, {"version": __version__, "judge": [EXAMPLES, EPOCHS], "figures": figures})


def _kept(path: Path) -> dict[str, Any] | None:
    """What an earlier call of this version measured in the same way."""
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    same = content.get("version") == __version__ and content.get("judge") == [EXAMPLES, EPOCHS]
    return content["figures"] if same else None


def _digest(factors: Sequence[float]) -> str:
    return "-".join(f"{factor:g}" for factor in factors)
