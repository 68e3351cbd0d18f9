"""Sparse autoencoders in files, read by SAELens and by narrows: the same codes, or not?

    PYTHONPATH=src python -m benchmarks.saelens [--fixture FILE] [--ledger]

Needs an environment with `sae-lens` 6.54 (2 GB with transformer-lens) beside narrows' own
requirements. Both ways are gone with each architecture: narrows writes and SAELens reads, SAELens
writes and narrows reads. Codes are compared in the unit of the data, and for the way back times the
norms of the atoms, which are 1 in narrows.
"""

import argparse
import base64
import importlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

import narrows as nw
from evidence.benchmarks import record
from narrows.interop import read_saelens, write_saelens

SIZE, DIM, K, ROWS = 96, 24, 5, 4096


def peer() -> ModuleType:
    """The package, which is imported where it is used: its environment is one of its own."""
    return importlib.import_module("sae_lens")


def coders() -> dict[str, nw.bottlenecks.Coder]:
    """One for each architecture, as `narrows train sae-...` has it."""
    top_k = nw.Untied(nw.TopK(K, refit=False, nonnegative=True))
    batch = nw.Untied(nw.BatchTopK(K, refit=False, nonnegative=True))
    return {
        "standard": nw.ReLU(),
        "topk": nw.AuxK(top_k),
        "batchtopk": nw.AuxK(batch),
        "matryoshka": nw.Matryoshka(batch, prefixes=(16, 48)),
        "jumprelu": nw.JumpReLU(),
        "gated": nw.Gated(),
    }


def signals(dim: int, rows: int = ROWS) -> Tensor:
    """Sparse sums of twice as many directions, off centre and in a unit of their own."""
    known = torch.nn.functional.normalize(torch.randn(2 * dim, dim), dim=1)
    return 20 * (torch.rand(rows, 2 * dim) < 0.1) * torch.rand(rows, 2 * dim) @ known + 7


@torch.no_grad()
def written_by_narrows(coder: nw.bottlenecks.Coder, folder: Path) -> dict[str, float]:
    """Largest differences after a short training, over the largest value."""
    x = signals(DIM)
    target = float(K) if coder.controllable else None
    bottleneck = nw.SparseDictionary(SIZE, DIM, coder=coder, target_l0=target)
    model = nw.Autoencoder.for_vectors(DIM, bottleneck, network=nw.Direct())
    with torch.enable_grad():
        nw.fit(model, nw.data.from_array(x), epochs=5, show=False)
    latent, output = model.eval()(x)
    theirs = peer().SAE.load_from_disk(write_saelens(model, folder))
    ours = latent.code.coefficients(SIZE) * model.unit * bottleneck.scale
    codes, rebuilt = theirs.encode(x), theirs(x)
    whole = (codes != 0).sum(1) <= bottleneck.code_width  # narrows cuts the others short
    found = differences(codes[whole], ours[whole], (rebuilt[whole], output[whole]))
    return found | {"cut_short": float(f"{1 - whole.double().mean().item():.3g}")}


@torch.no_grad()
def foreign(architecture: str, size: int, dim: int, folder: Path) -> Any:
    """A SAELens autoencoder of random weights, saved by SAELens."""
    subtract = torch.rand(()).item() < 0.5
    config = {
        "architecture": architecture, "d_in": dim, "d_sae": size, "dtype": "float32",
        "device": "cpu", "apply_b_dec_to_input": subtract, "normalize_activations": "none",
        "k": min(K, dim), "rescale_acts_by_decoder_norm": True,
    }  # fmt: skip
    kind, of = peer().saes.sae.get_sae_class(architecture)
    made = kind(of.from_dict(config))
    for name, tensor in made.named_parameters():
        tensor.copy_(torch.randn_like(tensor) * (0.3 if name.startswith("W") else 0.5))
        if name in ("b_enc", "b_gate"):
            tensor.sub_(1.5)
        if name == "threshold":
            tensor.abs_()
    made.save_model(folder)
    return made


@torch.no_grad()
def written_by_saelens(architecture: str, folder: Path) -> dict[str, float]:
    """The same for a file of theirs."""
    theirs = foreign(architecture, SIZE, DIM, folder)
    x = torch.randn(ROWS, DIM)
    model = read_saelens(folder, most=SIZE)
    latent, output = model(x)
    codes = theirs.encode(x)
    if architecture != "topk":  # whose outputs count times the norms already
        codes = codes * theirs.W_dec.norm(dim=1)
    return differences(codes, latent.code.coefficients(SIZE), (theirs(x), output))


def differences(one: Tensor, two: Tensor, rebuilt: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Over the largest value; and the share of codes with another support."""
    other = ((one != 0) != (two != 0)).any(1).double().mean().item()
    code = ((one - two).abs().max() / one.abs().max()).item()
    output = ((rebuilt[0] - rebuilt[1]).abs().max() / rebuilt[0].abs().max()).item()
    active = (two != 0).sum(1).double().mean().item()
    found = {"codes": code, "reconstructions": output, "other_support": other, "l0": active}
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def fixture() -> dict[str, Mapping[str, object]]:
    """Tiny files of SAELens with what SAELens makes of some inputs, for the tests."""
    found = {}
    for architecture in ("standard", "topk", "jumprelu", "gated"):
        with tempfile.TemporaryDirectory() as folder:
            theirs = foreign(architecture, 5, 3, Path(folder))
            x = torch.randn(4, 3).mul(100).round() / 25
            config = json.loads((Path(folder) / "cfg.json").read_text())
            weights = (Path(folder) / "sae_weights.safetensors").read_bytes()
        codes, rebuilt = theirs.encode(x).detach(), theirs(x).detach()
        found[architecture] = {
            "cfg.json": config,
            "weights": base64.b64encode(weights).decode(),
            **{n: t.tolist() for n, t in (("x", x), ("codes", codes), ("rebuilt", rebuilt))},
        }
    return found


def main() -> None:
    """Measures, prints, and appends to the ledger if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fixture", type=Path, help="write the file that the tests read")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.fixture:
        options.fixture.write_text(json.dumps(fixture()) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {
            f"{name}, written by narrows": written_by_narrows(coder, Path(folder) / name)
            for name, coder in coders().items()
        }
        for name in ("standard", "topk", "jumprelu", "gated"):
            made = written_by_saelens(name, Path(folder) / f"their {name}")
            found[f"{name}, written by SAELens"] = made
    for of, figures in found.items():
        print(of, figures)
        if options.ledger:
            record("saelens", of, figures, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
