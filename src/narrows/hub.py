"""Models as folders that can be shared: safetensors, JSON and a card; the hub if one is wanted.

Nothing in such a folder is executed. Its parts are classes that `narrows.recorded` builds from
their names; `narrows.saving.trust` says which names a folder may hold.
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from narrows.saving.model import FILES, MODEL, Saved
from narrows.saving.writing import write_text

CARD = "README.md"


class Measured(Protocol):
    """What a card tells of a run: `narrows.Run` is one."""

    @property
    def data(self) -> str: ...  # noqa: D102
    @property
    def test(self) -> dict[str, float]: ...  # noqa: D102
    @property
    def history(self) -> list[dict[str, float]]: ...  # noqa: D102


class Shared(Saved):
    """A saved model with `save_pretrained`, `from_pretrained` and `push_to_hub`."""

    def save_pretrained(self, folder: str | Path, run: Measured | None = None) -> Path:
        """Writes `model.json`, `model.safetensors` and a model card to a folder.

        Args:
            folder: made if it is not there.
            run: what the card's table of measures is taken from; without one it has none.

        Returns:
            The folder.

        Raises:
            FileExistsError: if the folder has a README.md that narrows did not write.

        Example:
            >>> import tempfile, narrows as nw
            >>> model = nw.Autoencoder.for_vectors(4, nw.bottlenecks.Identity(2))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     again = nw.Autoencoder.from_pretrained(model.save_pretrained(folder))
            >>> again.shape
            (4,)
        """
        path = Path(folder) / CARD
        if path.exists() and "library_name: narrows" not in path.read_text():
            raise FileExistsError(f"{path} exists and was not written by narrows; move it")
        saved = self.save(folder)
        parts = json.loads((saved / MODEL).read_text())
        write_text(path, card(parts, saved.name, run=run))
        return saved

    @classmethod
    def from_pretrained(
        cls, name: str | Path, revision: str | None = None, *, trust: str | Sequence[str] = ()
    ) -> Self:
        """Reads a model from a folder, or from the Hugging Face hub.

        Args:
            name: a folder that `save_pretrained` or a run wrote, or a repository's name.
            revision: branch, tag or commit of the repository.
            trust: modules of your own whose parts the model may name.

        Returns:
            The model in eval.

        Raises:
            FileNotFoundError: if the folder has no model.
            ModuleNotFoundError: if the hub is needed and its library is not installed.
            ValueError: if the model names code that is not trusted; see `narrows.saving.trust`.
        """
        folder = Path(name)
        if not folder.is_dir():
            folder = _download(str(name), revision)
        return cls.load(folder, trust=trust)

    def push_to_hub(
        self,
        name: str,
        run: Measured | None = None,
        *,
        private: bool = True,
        message: str = "Upload a narrows model",
    ) -> str:
        """Uploads what `save_pretrained` writes to a repository of the Hugging Face hub.

        Args:
            name: `user/repository`; made if it is not there.
            run: what the card's table of measures is taken from.
            private: whether a new repository is.
            message: of the commit.

        Returns:
            The address of the commit, as the hub gives it.

        Raises:
            ModuleNotFoundError: if huggingface_hub is not installed.
        """
        api = _library().HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            saved = self.save_pretrained(Path(folder) / name.rpartition("/")[2], run)
            return str(api.upload_folder(repo_id=name, folder_path=saved, commit_message=message))


def card(
    parts: Mapping[str, Any],
    name: str,
    *,
    run: Measured | None = None,
    use: str = "",
    notes: Sequence[str] = (),
) -> str:
    """The model card: what the model is, how to use it, what was measured, and notes.

    Args:
        parts: what its model.json holds.
        name: of the model.
        run: what the table of measures is taken from; without one there is none.
        use: the expression that loads the model; by default its name is one of the hub's.
        notes: paragraphs at the end.
    """
    bottleneck = _call(parts["bottleneck"])
    shape = tuple(parts["shape"])
    lines = [
        "---",
        "library_name: narrows",
        "tags: [autoencoder, representation-learning]",
        "---",
        "",
        f"# {name}",
        "",
        f"An autoencoder of narrows for examples of shape {shape}, with the latent",
        f"`{bottleneck}`.",
        "",
        "```python",
        "import narrows as nw",
        "",
        "model = " + (use or f'nw.Autoencoder.from_pretrained("{name}")'),
        f"code = model.encode(x)  # x: [batch, {', '.join(map(str, shape))}] in [0, 1]",
        "restored = model.decode(code)",
        "```",
        "",
        "| part | made by |",
        "|---|---|",
        *(f"| {part} | `{_call(parts[part])}` |" for part in _PARTS),
        f"| beta | {parts['beta']:g} |",
    ]
    lines += _table(run) if run is not None else []
    return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"


_PARTS = ("network", "bottleneck", "likelihood", "prior")

_UNITS = {
    "mse": "mean squared error per value, values in [0, 1]",
    "mse_mean": "the same, decoding the posterior's mean",
    "nmse": "mse over the variance of all training values",
    "psnr": "dB, peak 1",
    "snr": "dB, variance of the training values over mse",
    "nll": "nats per example, -log p(x given the code)",
    "loss": "nats per example",
    "bits_per_example": "bits per example, rate of the code",
    "bits_per_dimension": "bits per value of the example",
}


def _table(run: Measured) -> list[str]:
    return [
        "",
        f"Measured on the test split of `{run.data}` after {len(run.history)} epochs of training:",
        "",
        "| measure | value | unit |",
        "|---|---|---|",
        *(f"| {k} | {_number(v)} | {_UNITS.get(k, '')} |" for k, v in run.test.items()),
    ]


def _number(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else str(value)


def _call(part: Any) -> str:
    """A description as the call that makes it, without its modules."""
    if isinstance(part, Mapping) and "class_path" in part:
        arguments = (part.get("init_args") or {}).items()
        inside = ", ".join(f"{key}={_call(value)}" for key, value in arguments)
        return f"{part['class_path'].rpartition('.')[2]}({inside})"
    if isinstance(part, list):
        return f"[{', '.join(map(_call, part))}]"
    return repr(part)


def _download(name: str, revision: str | None) -> Path:
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise FileNotFoundError(f"there is no folder {name!r}")
    hub = _library()
    folder = hub.snapshot_download(name, revision=revision, allow_patterns=[*FILES, CARD])
    return Path(folder)


def _library() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the Hugging Face hub needs its library: pip install 'narrows[huggingface]'"
        ) from None
    return huggingface_hub
