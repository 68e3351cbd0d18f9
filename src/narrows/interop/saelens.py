"""Files of SAELens."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from narrows.autoencoder import Autoencoder
from narrows.bottlenecks.sparse.form import Activation
from narrows.interop.exchange import PlainAutoencoder, folded, form_of, named, plain
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
            network `Direct`; or a `Transcoder` with ReLU, JumpReLU or BatchTopK.
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
    form, architecture, offset = found.form, found.form.activation, found.centre
    if found.offset is not None:  # their transcoders take inputs as they are
        form, offset = folded(form, -found.centre), found.offset
        architecture = _transcoder_of(form.activation)
    weights = {"W_enc": form.weight.T, "W_dec": found.decoder, "b_dec": offset}
    weights["b_enc" if form.gates is None else "b_gate"] = form.bias
    if form.threshold is not None:
        weights["threshold"] = form.threshold
    if form.gates is not None:
        weights |= dict(zip(("r_mag", "b_mag"), form.gates, strict=True))
    kept = {name: tensor.detach().float().cpu() for name, tensor in weights.items()}
    config: dict[str, object] = {
        "architecture": architecture,
        "d_in": len(found.centre),
        "d_sae": len(form.bias),
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": found.offset is None,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": _FORMAT, **(metadata or {})},
    }
    if found.offset is not None:
        config["d_out"] = len(offset)
    if form.k is not None:
        config |= {"k": form.k, "rescale_acts_by_decoder_norm": False}
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
    if "topk_threshold" in weights:
        weights.setdefault("threshold", weights["topk_threshold"])
    form = form_of(_ARCHITECTURES[architecture], weights, folder, k=config.get("k"))
    decoder, centre = (named(weights, name, folder) for name in ("W_dec", "b_dec"))
    if config.get("rescale_acts_by_decoder_norm"):  # outputs count times the norms of atoms
        norms = decoder.norm(dim=1)
        form = form._replace(weight=form.weight * norms[:, None], bias=form.bias * norms)
        decoder = decoder / norms[:, None]
    if architecture in _TRANSCODERS:
        zeros = torch.zeros(form.weight.shape[1])
        return PlainAutoencoder(form, decoder, zeros, centre).model(most=most)
    if not config.get("apply_b_dec_to_input", True):
        form = folded(form, centre)
    return PlainAutoencoder(form, decoder, centre).model(most=most)


_ARCHITECTURES: dict[str, Activation] = {
    "standard": "standard", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated",
    "batchtopk": "jumprelu", "matryoshka_batchtopk": "jumprelu",
    "transcoder": "standard", "jumprelu_transcoder": "jumprelu",
}  # fmt: skip
_TRANSCODERS: Sequence[str] = ("transcoder", "jumprelu_transcoder")


def _transcoder_of(activation: Activation) -> str:
    """Their name of a transcoder.

    Raises:
        TypeError: if they have none.
    """
    for name in _TRANSCODERS:
        if _ARCHITECTURES[name] == activation:
            return name
    raise TypeError(
        f"SAELens has no transcoder with a {activation!r} code; train BatchTopK, ReLU or JumpReLU"
    )


def _known(config: Mapping[str, object], folder: Path) -> str:
    """The architecture of a SAELens model; refuses what narrows does not have."""
    architecture = config.get("architecture", "standard")
    if architecture not in _ARCHITECTURES:
        raise ValueError(
            f"{folder / CONFIG}: architecture {architecture!r} is not read; narrows has "
            f"{', '.join(_ARCHITECTURES)}"
        )
    for key in ("normalize_activations", "reshape_activations"):
        if config.get(key, "none") not in ("none", None):
            raise ValueError(
                f"{folder / CONFIG}: {key}={config[key]!r} is not read; fold it into the weights "
                "with SAELens first"
            )
    return str(architecture)
