"""Files of other libraries of sparse autoencoders, SAELens and dictionary_learning."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.interop.exchange import Linear, PlainAutoencoder, plain
from narrows.saving.weights import write_tensors
from narrows.saving.writing import read_json, whole, write_text

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
_FORMAT = "6.54.0"  # of SAELens, whose files these are


def write_saelens(
    model: Autoencoder, folder: str | Path, *, metadata: Mapping[str, str | int] | None = None
) -> Path:
    """Writes a sparse autoencoder as `sae_lens.SAE.load_from_disk` reads it.

    Codes by `BatchTopK` become "jumprelu" with one threshold, as SAELens' own do; a bottleneck's
    centre becomes the decoder's bias, and values are in the unit of the data. SAELens keeps all
    atoms above their thresholds, narrows those that its coder's width admits.

    Args:
        model: of vectors, `SparseDictionary` with `TopK` or `BatchTopK` (refit=False,
            nonnegative=True; with or without `Untied`), `ReLU`, `JumpReLU` or `Gated`, and
            network `Direct`.
        folder: made if it is not there.
        metadata: what SAELens keeps beside, such as `model_name` and `hook_name`.

    Returns:
        The folder.

    Raises:
        TypeError: if the model is of another kind.
        ValueError: if its values are rounded for a rate.

    Example:
        >>> import tempfile, narrows as nw
        >>> bottleneck = nw.SparseDictionary(16, 4, coder=nw.ReLU())
        >>> model = nw.Autoencoder.for_vectors(4, bottleneck, network=nw.Direct())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = read_saelens(write_saelens(model, folder))
        >>> again.bottleneck.coder
        ReLU()
    """
    found = plain(model)
    encoder, bias, decoder, centre = found.linear
    weights = {"W_enc": encoder.T, "W_dec": decoder, "b_dec": centre}
    weights["b_enc" if found.gates is None else "b_gate"] = bias
    if found.threshold is not None:
        weights["threshold"] = found.threshold
    if found.gates is not None:
        weights |= dict(zip(("r_mag", "b_mag"), found.gates, strict=True))
    kept = {name: tensor.detach().float().cpu() for name, tensor in weights.items()}
    config: dict[str, object] = {
        "architecture": found.architecture,
        "d_in": len(centre),
        "d_sae": len(bias),
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": _FORMAT, **(metadata or {})},
    }
    if found.k is not None:
        config |= {"k": found.k, "rescale_acts_by_decoder_norm": False}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / WEIGHTS) as path:
        write_tensors(path, {name: tensor.clone().contiguous() for name, tensor in kept.items()})
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    return folder


def read_saelens(folder: str | Path, *, most: int | None = None) -> Autoencoder:
    """Reads a sparse autoencoder that SAELens wrote.

    Args:
        folder: with `cfg.json` and `sae_weights.safetensors`.
        most: active atoms of one signal that are kept, where k does not say it; None for `d_in`.

    Returns:
        The model in eval, with the same codes, up to the norms of atoms, and reconstructions. It
        can be trained further.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if the architecture, or a normalisation of the input, is none that narrows has.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG, "expected the folder of a SAELens model")
    try:
        weights = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is damaged: {error}; copy it again") from error
    architecture = _known(config, folder)
    parts = Linear(
        _named(weights, "W_enc", folder).T,
        _named(weights, "b_gate" if architecture == "gated" else "b_enc", folder),
        _named(weights, "W_dec", folder),
        _named(weights, "b_dec", folder),
    )
    if config.get("rescale_acts_by_decoder_norm"):  # outputs count times the norms of atoms
        norms = parts.decoder.norm(dim=1)
        parts = parts._replace(
            encoder=parts.encoder * norms[:, None],
            bias=parts.bias * norms,
            decoder=parts.decoder / norms[:, None],
        )
    threshold = weights.get("threshold", weights.get("topk_threshold"))
    gates = _gates(weights)
    on_input = bool(config.get("apply_b_dec_to_input", True))
    return _plain(_SAELENS[architecture], parts, config.get("k"), threshold, gates, on_input).model(
        most=most
    )


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
    if kind not in _DICTIONARY_LEARNING:
        raise ValueError(
            f"{folder / 'config.json'}: dict_class {kind!r} is not read; narrows has "
            f"{', '.join(_DICTIONARY_LEARNING)}"
        )
    try:
        weights = torch.load(folder / "ae.pt", map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{folder / 'ae.pt'} is damaged or holds more than tensors: it is not read"
        ) from error
    plain_names: dict[str, Tensor] = {
        str(_PLAIN_NAMES.get(name, name)): value.float() for name, value in weights.items()
    }
    for name in ("W_enc", "W_dec"):  # linear layers hold them the other way
        if name not in weights and name in plain_names:
            plain_names[name] = plain_names[name].T
    bias = "b_gate" if kind == "GatedAutoEncoder" else "b_enc"
    encoder, *rest = (_named(plain_names, n, folder) for n in ("W_enc", bias, "W_dec", "b_dec"))
    k = int(plain_names.get("k", torch.ones(()))) if kind == "AutoEncoderTopK" else None
    gates = _gates(plain_names)
    on_input = kind not in ("AutoEncoderNew", "JumpReluAutoEncoder")
    threshold = plain_names.get("threshold")
    parts = Linear(encoder.T, *rest)
    return _plain(_DICTIONARY_LEARNING[kind], parts, k, threshold, gates, on_input).model(most=most)


_Architecture = Literal["standard", "topk", "jumprelu", "gated"]

_SAELENS: dict[str, _Architecture] = {
    "standard": "standard", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated",
    "batchtopk": "jumprelu", "matryoshka_batchtopk": "jumprelu",
}  # fmt: skip
_DICTIONARY_LEARNING: dict[str, _Architecture] = {
    "AutoEncoder": "standard", "AutoEncoderNew": "standard", "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu", "MatryoshkaBatchTopKSAE": "jumprelu",
    "JumpReluAutoEncoder": "jumprelu", "GatedAutoEncoder": "gated",
}  # fmt: skip
_PLAIN_NAMES = {
    "encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec",
    "decoder.bias": "b_dec", "bias": "b_dec", "decoder_bias": "b_dec", "gate_bias": "b_gate",
    "mag_bias": "b_mag",
}  # fmt: skip


def _plain(
    architecture: _Architecture,
    linear: Linear,
    k: int | None,
    threshold: Tensor | None,
    gates: tuple[Tensor, Tensor] | None,
    on_input: bool,
) -> PlainAutoencoder:
    """Of such parts; the decoder's bias is subtracted from the input, or was not."""
    if not on_input:
        moved = linear.encoder @ linear.centre
        linear = linear._replace(bias=linear.bias + moved)
        if gates is not None:
            gates = gates[0], gates[1] + gates[0].exp() * moved
    if threshold is not None:
        threshold = threshold.expand(len(linear.bias))
    return PlainAutoencoder(architecture, linear, k, threshold, gates)


def _known(config: Mapping[str, object], folder: Path) -> str:
    """The architecture of a SAELens model; refuses what narrows does not have."""
    architecture = config.get("architecture", "standard")
    if architecture not in _SAELENS:
        raise ValueError(
            f"{folder / CONFIG}: architecture {architecture!r} is not read; narrows has "
            f"{', '.join(_SAELENS)}"
        )
    for key in ("normalize_activations", "reshape_activations"):
        if config.get(key, "none") not in ("none", None):
            raise ValueError(
                f"{folder / CONFIG}: {key}={config[key]!r} is not read; fold it into the weights "
                "with SAELens first"
            )
    return str(architecture)


def _gates(weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    return (weights["r_mag"], weights["b_mag"]) if {"r_mag", "b_mag"} <= weights.keys() else None


def _named(weights: Mapping[str, Tensor], name: str, folder: Path) -> Tensor:
    if name not in weights:
        raise ValueError(f"{folder}: the weights have no {name}, only {', '.join(sorted(weights))}")
    return weights[name]
