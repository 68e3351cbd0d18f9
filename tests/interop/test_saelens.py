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


TRANSCODERS = {
    "relu": lambda: nw.ReLU(),
    "jumprelu": lambda: nw.JumpReLU(),
    "batchtopk": lambda: nw.AuxK(nw.Untied(_plain(nw.BatchTopK))),
}


@pytest.mark.parametrize("name", TRANSCODERS)
def test_a_transcoder_comes_back_and_is_theirs_by_their_formula(name, tmp_path):
    from safetensors.torch import load_file

    torch.manual_seed(0)
    x, y = 30 + 5 * torch.randn(256, 8), torch.randn(256, 6) - 4
    bottleneck = nw.Transcoder(20, 8, outputs=6, coder=TRANSCODERS[name]())
    model = nw.Autoencoder.for_vectors(14, bottleneck, network=nw.Pairs(8))
    nw.fit(model, nw.data.pairs(x, y), epochs=2, show=False)
    folder = write_saelens(model, tmp_path / "one")
    config = json.loads((folder / "cfg.json").read_text())
    assert (config["d_in"], config["d_out"], config["apply_b_dec_to_input"]) == (8, 6, False)
    w = load_file(folder / "sae_weights.safetensors")
    c = x @ w["W_enc"] + w["b_enc"]
    threshold = w.get("threshold", torch.zeros(20))
    codes = c.relu() * (c > threshold)
    whole = (codes != 0).sum(1) <= bottleneck.code_width  # others are cut short here
    whole &= ((c - threshold).abs() > 1e-5).all(1)  # rounding decides
    assert whole.double().mean() > 0.5
    pairs = torch.cat([x, y], 1)
    _, output = model.eval()(pairs)
    assert torch.allclose(output[whole], (codes @ w["W_dec"] + w["b_dec"])[whole], atol=1e-3)
    again = read_saelens(folder, most=20)
    assert torch.allclose(again(pairs)[1][whole], output[whole], atol=1e-3)
    assert again.network.inputs == 8


def test_a_transcoder_that_they_do_not_have_is_refused(tmp_path):
    bottleneck = nw.Transcoder(20, 8, outputs=6, coder=nw.Untied(_plain(nw.TopK)))
    model = nw.Autoencoder.for_vectors(14, bottleneck, network=nw.Pairs(8))
    with pytest.raises(TypeError, match="no transcoder with a 'topk' code"):
        write_saelens(model, tmp_path)


def _broken(folder, **changes):
    """A folder of SAELens whose weights are changed, or gone where a change is None."""
    from safetensors.torch import load, save_file

    kind = changes.pop("kind", "standard")
    weights = load(base64.b64decode(THEIRS[kind]["weights"])) | changes
    kept = {name: value.contiguous() for name, value in weights.items() if value is not None}
    save_file(kept, _files(folder, kind) / "sae_weights.safetensors")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"b_enc": torch.zeros(1)}, r"its bias .* got \[3, 5\], \[1\]"),
        ({"b_enc": torch.full((5,), torch.nan)}, "NaN or infinite"),
        ({"W_dec": torch.zeros(5, 3)}, "atoms other than 0"),
        ({"W_dec": torch.randn(5, 4)}, r"a decoder \[K, d\] .* \[5, 4\], \[3\]"),
        ({"kind": "jumprelu", "threshold": None}, "no threshold"),
        ({"kind": "jumprelu", "threshold": torch.zeros(4)}, r"of 5 atoms, got \[4\]"),
        ({"kind": "gated", "r_mag": None}, "no r_mag"),
    ],
)
def test_weights_that_make_no_autoencoder_are_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_saelens(_broken(tmp_path, **changes))


def test_a_folder_is_imported_as_a_run_that_commands_take(tmp_path, capsys):
    theirs, run = _files(tmp_path / "theirs", "jumprelu"), tmp_path / "run"
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    data = f"array:{tmp_path / 'x.npy'}"
    assert main(["import", str(theirs), "--out", str(run), "--data", data]) == 0
    printed = capsys.readouterr().out
    assert "SAELens: " in printed
    assert "nmse" in printed
    # What is saved gives their reconstructions, and so does what other commands make of it.
    loaded, given = nw.Run.load(run), THEIRS["jumprelu"]
    rebuilt = loaded.model(torch.tensor(given["x"]))[1]
    assert torch.allclose(rebuilt, torch.tensor(given["rebuilt"]), atol=1e-5)
    assert main(["evaluate", str(run)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["nmse"] == pytest.approx(loaded.test["nmse"])
    assert figures["bits_per_example"] > 0  # the prior was fitted
    for words in (["features", str(run), "--most", "2"], ["report", str(run)]):
        assert main(words) == 0
    assert main(["export", str(run), "--format", "saelens"]) == 0
    again = read_saelens(run / "saelens")(torch.tensor(given["x"]))[1]
    assert torch.allclose(again, rebuilt, atol=1e-5)
    assert main(["import", str(theirs), "--out", str(run)]) == 1  # nothing is overwritten
    assert "exists already" in capsys.readouterr().err


def test_an_import_without_data_says_what_later_commands_need(tmp_path, capsys):
    theirs, run = _files(tmp_path / "theirs", "topk"), tmp_path / "run"
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200, 3)))
    assert main(["import", str(theirs), "--out", str(run)]) == 0
    assert "--data activations:DIR" in capsys.readouterr().out
    assert main(["evaluate", str(run)]) == 1
    assert "imported without data" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--data", f"array:{tmp_path / 'x.npy'}"]) == 0


def test_what_is_no_folder_of_theirs_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("")
    assert main(["import", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "sae_weights.safetensors (SAELens) or config.json and ae.pt" in said
    assert "found notes.txt" in said
    assert main(["import", str(tmp_path / "none")]) == 1
    assert "no folder" in capsys.readouterr().err
    (tmp_path / "model.json").write_text("{}")
    assert main(["import", str(tmp_path)]) == 1
    assert "of narrows already" in capsys.readouterr().err
    theirs = _files(tmp_path / "theirs", "standard")
    np.save(tmp_path / "x.npy", np.ones((20, 9)).cumsum(0))
    words = ["--data", f"array:{tmp_path / 'x.npy'}", "--out", str(tmp_path / "other")]
    assert main(["import", str(theirs), *words]) == 1
    assert "examples of shape (3,)" in capsys.readouterr().err


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
    torch.save([torch.ones(3)], tmp_path / "ae.pt")
    with pytest.raises(ValueError, match="no weights by name"):
        read_dictionary_learning(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": "Crosscoder"}}))
    with pytest.raises(ValueError, match="'Crosscoder' is not read"):
        read_dictionary_learning(tmp_path)
