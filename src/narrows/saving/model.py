"""A model as a folder: the parts that made it in `model.json`, its state in `model.safetensors`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from narrows.recorded import FORMAT, build, spec
from narrows.saving.arguments import Part
from narrows.saving.trust import read_model
from narrows.saving.weights import CHECKSUM, fill, limited, read_weights, write_weights
from narrows.saving.writing import sole_writer, write_json

MODEL, WEIGHTS = FILES = ("model.json", "model.safetensors")
"""Names of the files in a model's folder."""


class Saved(nn.Module, Part):
    """A module that is saved as the description of its parts, and their weights."""

    def parts(self) -> Mapping[str, object]:
        """Plain values and `Recorded` parts by name, from which `made_of` makes the module."""
        raise NotImplementedError

    @classmethod
    def made_of(cls, parts: Mapping[str, Any]) -> Self:
        """A new module of these parts."""
        raise NotImplementedError

    def save(self, folder: str | Path) -> Path:
        """Writes `model.json` (the parts) and `model.safetensors` (their state) to a folder.

        Raises:
            FolderInUseError: if another process writes into the folder.
        """
        folder = Path(folder)
        content = {name: spec(part) for name, part in self.parts().items()}
        content["format"] = FORMAT
        with sole_writer(folder):
            content[CHECKSUM] = write_weights(
                folder / WEIGHTS, self.state_dict(), content.get("shape")
            )
            write_json(folder / MODEL, content)
        return folder

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str | torch.device = "cpu",
        *,
        trust: str | Sequence[str] = (),
    ) -> Self:
        """Reads what `save` wrote.

        Args:
            folder: that `save` or a run wrote.
            device: where the model is put.
            trust: modules of your own whose parts the folder may name; see `narrows.saving.trust`.

        Raises:
            FileNotFoundError: if the folder holds no saved model.
            ValueError: if a file is damaged, another version of narrows wrote it in a form that
                this one cannot read, or it names code that is not trusted.
        """
        folder = Path(folder)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"expected a folder written by {cls.__name__}.save or a run, but {folder} has no "
                f"{' and no '.join(missing)}"
            )
        content = read_model(folder / MODEL, trust)
        state = read_weights(folder / WEIGHTS, content.get(CHECKSUM), content.get("shape"))
        with limited(state, folder / MODEL):
            model = cls.made_of({name: build(part) for name, part in content.items()})
        fill(model, state, path=folder / WEIGHTS)
        return model.to(device).eval()
