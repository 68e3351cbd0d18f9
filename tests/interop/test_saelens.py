"""Files of other libraries; `benchmarks/saelens.py` compares with the real one."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import narrows as nw
from narrows.cli.main import main
from narrows.interop import read_dictionary_learning, read_saelens, write_saelens

# Written by sae-lens 6.54.0 (python -m benchmarks.saelens --fixture), with its codes.
THEIRS = json.loads((Path(__file__).parent / "saelens.json").read_text())


def _files(folder, kind, **changes):
    given = THEIRS[kind]
    folder.mkdir(exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps({**given["cfg.json"], **changes}))
    (folder / "sae_weights.safetensors").write_bytes(base64.b64decode(given["weights"]))
    return folder


@pytest.mark.parametrize("architecture", THEIRS)
def test_a_file_of_saelens_gives_its_codes_and_reconstructions(architecture, tmp_path):
    model = read_saelens(_files(tmp_path, architecture))
    given = {name: torch.tensor(THEIRS[architecture][name]) for name in ("x", "codes", "rebuilt")}
    latent, output = model(given["x"])
    assert torch.allclose(output, given["rebuilt"], rtol=1e-5, atol=1e-5)
    codes = latent.code.coefficients(5)
    assert torch.equal(codes != 0, given["codes"] != 0)
    assert 0 < (codes != 0).sum() < 20
    weights = base64.b64decode(THEIRS[architecture]["weights"])
    norms = torch.ones(5)
    if architecture != "topk":  # whose outputs are in units of the norms
        from safetensors.torch import load

        norms = load(weights)["W_dec"].norm(dim=1)
    assert torch.allclose(codes, given["codes"] * norms, rtol=1e-5, atol=1e-5)


def _plain(kind):
    return kind(3, refit=False, nonnegative=True)


CODERS = {
    "topk": lambda: nw.AuxK(nw.Untied(_plain(nw.TopK))),
    "tied topk": lambda: _plain(nw.TopK),
    "batchtopk": lambda: nw.Matryoshka(nw.Untied(_plain(nw.BatchTopK)), prefixes=(4, 9)),
    "relu": lambda: nw.ReLU(),
    "jumprelu": lambda: nw.JumpReLU(),
    "gated": lambda: nw.Gated(),
}


@pytest.mark.filterwarnings("ignore:.*correlated atoms double-count:UserWarning")
@pytest.mark.parametrize("name", CODERS)
def test_a_model_comes_back_with_the_same_codes_in_the_unit_of_the_data(name, tmp_path):
    torch.manual_seed(0)
    x = 30 + 5 * torch.randn(256, 8)
    bottleneck = nw.SparseDictionary(20, 8, coder=CODERS[name]())
    model = nw.Autoencoder.for_vectors(8, bottleneck, network=nw.Direct())
    nw.fit(model, nw.data.from_array(x), epochs=2, show=False)
    with torch.no_grad():
        for part in () if bottleneck.learned is None else bottleneck.learned.parameters():
            part += 0.05 * torch.randn_like(part)
    again = read_saelens(write_saelens(model, tmp_path / "one"), most=20)
    (one, output), (two, rebuilt) = model.eval()(x), again(x)
    unit = model.unit * bottleneck.scale
    codes, theirs = one.code.coefficients(20), two.code.coefficients(20)
    whole = (theirs != 0).sum(1) <= bottleneck.code_width  # others are cut short here
    assert whole.double().mean() > 0.8
    assert torch.allclose(output[whole], rebuilt[whole], atol=1e-4)
    assert torch.allclose(unit * codes[whole], theirs[whole], atol=1e-4)


def test_a_run_is_exported_by_a_command(tmp_path, capsys):
    data = tmp_path / "x.npy"
    np.save(data, np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32))
    words = ["--data", f"array:{data}", "--model.bottleneck.dim", "6", "--epochs", "1"]
    words += ["--model.bottleneck.size", "12", "--out", str(tmp_path / "run")]
    assert main(["train", "sae-relu", *words, "--model.bottleneck.target_l0", "2"]) == 0
    assert main(["export", str(tmp_path / "run"), "--format", "saelens"]) == 0
    assert "saelens" in capsys.readouterr().out
    assert read_saelens(tmp_path / "run" / "saelens").shape == (6,)


def test_a_model_that_was_read_can_be_trained_on(tmp_path):
    model = read_saelens(_files(tmp_path, "jumprelu"))
    before = model.bottleneck.atoms.detach().clone()
    data = nw.data.from_array(torch.randn(64, 3) + 4)
    nw.fit(model, data, epochs=1, optimization=nw.Optimization(1e-5), show=False)
    assert torch.allclose(model.bottleneck.atoms, before, atol=1e-3)
    with pytest.raises(AssertionError):
        assert torch.equal(model.bottleneck.atoms, before)


def test_what_other_libraries_have_no_word_for_is_refused(tmp_path):
    direct = {"network": nw.Direct()}
    omp = nw.Autoencoder.for_vectors(8, nw.SparseDictionary(20, 8, coder=nw.OMP(2)), **direct)
    with pytest.raises(TypeError, match="one product"):
        write_saelens(omp, tmp_path)
    with pytest.raises(TypeError, match="network=Direct"):
        write_saelens(
            nw.Autoencoder.for_vectors(8, nw.SparseDictionary(20, 8, coder=nw.ReLU())), tmp_path
        )
    with pytest.raises(ValueError, match="layer_norm"):
        read_saelens(_files(tmp_path / "a", "standard", normalize_activations="layer_norm"))
    with pytest.raises(ValueError, match="'temporal' is not read"):
        read_saelens(_files(tmp_path / "b", "standard", architecture="temporal"))
    with pytest.raises(ValueError, match="no b_gate"):
        read_saelens(_files(tmp_path / "c", "standard", architecture="gated"))
    with pytest.raises(ValueError, match="norms of its atoms"):
        read_saelens(_files(tmp_path / "d", "topk", rescale_acts_by_decoder_norm=False))
    broken = _files(tmp_path / "e", "standard")
    (broken / "sae_weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged"):
        read_saelens(broken)


# dictionary_learning: state dicts with its names, coded by its formulas as written out here.

K, D = 7, 4


def _linear_layers(*more):
    layers = {"encoder.weight": torch.randn(K, D), "decoder.weight": torch.randn(D, K)}
    return layers | {name: torch.randn(size) for name, size in more}


def _matrices(*more):
    matrices = {"W_enc": torch.randn(D, K), "W_dec": torch.randn(K, D)}
    return matrices | {name: torch.randn(size) for name, size in more}


def _auto_encoder(w, x):
    f = ((x - w["bias"]) @ w["encoder.weight"].T + w["encoder.bias"]).relu()
    return f, f @ w["decoder.weight"].T + w["bias"]


def _auto_encoder_new(w, x):
    f = (x @ w["encoder.weight"].T + w["encoder.bias"]).relu()
    return f, f @ w["decoder.weight"].T + w["decoder.bias"]


def _top_k(w, x):
    f = ((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"]).relu()
    best = f.topk(2)
    f = torch.zeros_like(f).scatter(1, best.indices, best.values)
    return f, f @ w["decoder.weight"].T + w["b_dec"]


def _matryoshka(w, x):
    f = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).relu()
    f = f * (f > w["threshold"])
    return f, f @ w["W_dec"] + w["b_dec"]


def _jump(w, x):
    c = x @ w["W_enc"] + w["b_enc"]
    f = (c * (c > w["threshold"])).relu()
    return f, f @ w["W_dec"] + w["b_dec"]


def _gated(w, x):
    c = (x - w["decoder_bias"]) @ w["encoder.weight"].T
    f = (c + w["gate_bias"] > 0) * (w["r_mag"].exp() * c + w["mag_bias"]).relu()
    return f, f @ w["decoder.weight"].T + w["decoder_bias"]


CLASSES = {
    "AutoEncoder": (_auto_encoder, lambda: _linear_layers(("encoder.bias", K), ("bias", D))),
    "AutoEncoderNew": (
        _auto_encoder_new,
        lambda: _linear_layers(("encoder.bias", K), ("decoder.bias", D)),
    ),
    "AutoEncoderTopK": (_top_k, lambda: _linear_layers(("encoder.bias", K), ("b_dec", D))),
    "MatryoshkaBatchTopKSAE": (_matryoshka, lambda: _matrices(("b_enc", K), ("b_dec", D))),
    "JumpReluAutoEncoder": (
        _jump,
        lambda: _matrices(("b_enc", K), ("b_dec", D), ("threshold", K)),
    ),
    "GatedAutoEncoder": (
        _gated,
        lambda: _linear_layers(
            ("decoder_bias", D), ("gate_bias", K), ("r_mag", K), ("mag_bias", K)
        ),
    ),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_file_of_dictionary_learning_gives_its_codes_and_reconstructions(kind, tmp_path):
    torch.manual_seed(2)
    formula, make = CLASSES[kind]
    weights, x = make(), torch.randn(64, D)
    if kind == "AutoEncoderTopK":
        weights["decoder.weight"] /= weights["decoder.weight"].norm(dim=0)
        weights |= {"k": torch.tensor(2, dtype=torch.int), "threshold": torch.tensor(-1.0)}
    if kind == "MatryoshkaBatchTopKSAE":
        weights |= {"threshold": torch.tensor(0.4), "group_sizes": torch.tensor([3, 4])}
    torch.save(weights, tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": kind, "k": 2}}))
    latent, output = read_dictionary_learning(tmp_path, most=K)(x)
    codes, rebuilt = formula(weights, x)
    decoder = weights["W_dec"].T if "W_dec" in weights else weights["decoder.weight"]
    ours = latent.code.coefficients(K)
    assert torch.allclose(ours, codes * decoder.norm(dim=0), atol=1e-4)
    assert torch.allclose(output, rebuilt, atol=1e-4)
    assert (ours != 0).any()


def test_a_pickle_is_not_read(tmp_path):
    torch.save({"bias": Path("x")}, tmp_path / "ae.pt")
    config = {"trainer": {"dict_class": "AutoEncoder"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="more than tensors"):
        read_dictionary_learning(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": "Crosscoder"}}))
    with pytest.raises(ValueError, match="'Crosscoder' is not read"):
        read_dictionary_learning(tmp_path)
