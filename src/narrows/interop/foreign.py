"""Folders of sparse autoencoders that other libraries wrote, recognised by their files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from narrows.autoencoder import Autoencoder
from narrows.interop.dictionary_learning import read_dictionary_learning
from narrows.interop.saelens import CONFIG, WEIGHTS, read_saelens

_FORMATS: Mapping[str, tuple[tuple[str, str], Callable[..., Autoencoder]]] = {
    "SAELens": ((CONFIG, WEIGHTS), read_saelens),
    "dictionary_learning": (("config.json", "ae.pt"), read_dictionary_learning),
}


def read_foreign(folder: str | Path, *, most: int | None = None) -> tuple[Autoencoder, str]:
    """Reads a sparse autoencoder of another library.

    Args:
        folder: with `cfg.json` and `sae_weights.safetensors` (SAELens), or `config.json` and
            `ae.pt` (dictionary_learning).
        most: active atoms of one signal that are kept, where k does not say it; None for the width
            of the signals.

    Returns:
        The model in eval, and whose files they were.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no such files, with what it holds, or what `read_saelens` and
            `read_dictionary_learning` refuse.
    """
    place = Path(folder)
    if not place.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}")
    for library, (files, read) in _FORMATS.items():
        if all((place / name).is_file() for name in files):
            return read(place, most=most), library
    found = sorted(path.name for path in place.iterdir())
    if "model.json" in found:
        raise ValueError(f"{folder} is a model of narrows already: every command takes it as it is")
    wanted = " or ".join(f"{' and '.join(files)} ({of})" for of, (files, _) in _FORMATS.items())
    listed = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
    raise ValueError(f"expected {wanted} in {folder}, found {listed or 'nothing'}")
