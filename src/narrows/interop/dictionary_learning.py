"""Files of dictionary_learning (S. Marks and others)."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks.sparse.form import Activation
from narrows.interop.exchange import PlainAutoencoder, folded, form_of, named
from narrows.saving.writing import read_json


def read_dictionary_learning(folder: str | Path, *, most: int | None = None) -> Autoencoder:
    """Reads a sparse autoencoder that dictionary_learning (S. Marks and others) wrote.

    Args:
        folder: with `ae.pt`, of which tensors alone are read, and `config.json`.
        most: as in `read_saelens`.

    Returns:
        As `read_saelens` does. Batch top-k codes by their threshold, as in use.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if the dictionary's class is none that narrows has, or `ae.pt` holds more than
            tensors.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json", "expected the folder of a dictionary").get("trainer")
    kind = config.get("dict_class") if isinstance(config, Mapping) else None
    if kind not in _CLASSES:
        raise ValueError(
            f"{folder / 'config.json'}: dict_class {kind!r} is not read; narrows has "
            f"{', '.join(_CLASSES)}"
        )
    weights = _read(folder / "ae.pt")
    k = int(weights["k"]) if "k" in weights else None
    form = form_of(_CLASSES[kind], weights, folder, k=k)
    decoder, centre = (named(weights, name, folder) for name in ("W_dec", "b_dec"))
    if kind in ("AutoEncoderNew", "JumpReluAutoEncoder"):
        form = folded(form, centre)
    return PlainAutoencoder(form, decoder, centre).model(most=most)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors by one set of names and in one layout, whichever class wrote them."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is damaged or holds more than tensors: it is not read") from error
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise ValueError(f"{path} holds no weights by name: it is not read")
    weights: dict[str, Tensor] = {
        _NAMES.get(str(name), str(name)): value.float() for name, value in found.items()
    }
    for name in ("W_enc", "W_dec"):  # linear layers hold them the other way
        if name not in found and name in weights:
            weights[name] = weights[name].T
    return weights


_CLASSES: dict[str, Activation] = {
    "AutoEncoder": "standard", "AutoEncoderNew": "standard", "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu", "MatryoshkaBatchTopKSAE": "jumprelu",
    "JumpReluAutoEncoder": "jumprelu", "GatedAutoEncoder": "gated",
}  # fmt: skip
_NAMES = {
    "encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec",
    "decoder.bias": "b_dec", "bias": "b_dec", "decoder_bias": "b_dec", "gate_bias": "b_gate",
    "mag_bias": "b_mag",
}  # fmt: skip
