"""Exported programs compute what the model computes, or are refused with the reason."""

import subprocess
import sys

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import BatchTopK, Lasso, SparseDictionary, VectorQuantizer
from narrows.cli.main import main
from narrows.export import ExportError, export_onnx, export_torch
from narrows.networks import Conv
from narrows.training import latents
from tests import families

# Least squares over as many atoms as dimensions would turn rounding into other codes.
FAMILIES = families.FAMILIES | {
    "sparse batch top-k": lambda: SparseDictionary(16, 8, coder=BatchTopK(1))
}
NETWORK = Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=1)
# One of each kind of code: rounded numbers, drawn numbers, indices, several tensors.
SOME = ["plain", "normal", "vq ema", "sparse top-k"]


@pytest.fixture(scope="module")
def digits():
    return nw.data.load("digits")


def model_of(bottleneck, data):
    """A model whose codes mean something: codebook on the data, prior fitted."""
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(data.shape, bottleneck, network=NETWORK).train()
    for _ in range(3):
        bottleneck.update([model.latent(data.train.batch(torch.arange(60)))])
    model.eval()
    model.prior.fit(latents(model, data.train.head(100)))
    return model


def check(data, folder, name, export):
    model, x = model_of(FAMILIES[name](), data), data.test.batch(torch.arange(16))
    if name.startswith("sparse lasso"):
        with pytest.raises(ExportError, match=r"with Lasso cannot leave narrows.*converged"):
            export(model, folder, examples=x, part="encoder")
    else:
        assert export(model, folder, examples=x, part="encoder").differing <= 1e-3
    assert export(model, folder, examples=x, part="decoder").largest < 1e-5


@pytest.mark.parametrize("name", SOME)
def test_torch_programs_compute_what_the_model_does(digits, tmp_path, name):
    check(digits, tmp_path, name, export_torch)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in SOME])
def test_every_familys_torch_programs_do(digits, tmp_path, name):
    check(digits, tmp_path, name, export_torch)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_familys_onnx_files_do(digits, tmp_path, name):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    check(digits, tmp_path, name, export_onnx)


def test_a_program_runs_where_narrows_is_not(digits, tmp_path):
    """Another process, without narrows, codes a batch of another size and decodes it."""
    model, x = model_of(VectorQuantizer(8, 4), digits), digits.test.batch(torch.arange(7))
    for part in ("encoder", "decoder"):
        export_torch(model, tmp_path, examples=x[:3], part=part)
    torch.save({"x": x, "restored": model.reconstruct(x)}, tmp_path / "seen.pt")
    script = """
import sys
sys.modules["narrows"] = None
import torch
seen = torch.load(sys.argv[1] + "/seen.pt", weights_only=True)
load = lambda part: torch.export.load(f"{sys.argv[1]}/{part}.pt2").module()
restored = load("decoder")(*load("encoder")(seen["x"]))[0]
assert (restored - seen["restored"]).abs().max() < 1e-5
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True, text=True, timeout=600, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_program_that_computes_something_else_is_found_out_and_removed(
    digits, tmp_path, monkeypatch
):
    model = model_of(VectorQuantizer(8, 4), digits)
    x = digits.test.batch(torch.arange(4))
    answers = nw.Autoencoder.decode
    monkeypatch.setattr(nw.Autoencoder, "decode", lambda self, code: answers(self, code) + 0.001)
    with pytest.raises(ExportError, match=r"does not compute what the model does.*not written"):
        export_torch(model, tmp_path, examples=x, part="decoder")
    assert not list(tmp_path.iterdir())


def test_meaningless_requests_are_refused(digits, tmp_path, monkeypatch):
    model = model_of(SparseDictionary(8, 4, coder=Lasso(0.2)), digits)
    x = digits.test.batch(torch.arange(4))
    with pytest.raises(ExportError, match="two or more examples"):
        export_torch(model, tmp_path, examples=x[:1])
    with pytest.raises(ExportError, match="encoder or decoder"):
        export_torch(model, tmp_path, examples=x, part="prior")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"narrows\[export\]"):
        export_onnx(model, tmp_path, examples=x)


def test_the_command_writes_compares_and_prints(digits, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(digits.shape, VectorQuantizer(8, 4), network=NETWORK)
    run = nw.fit(model, digits, epochs=1, out=tmp_path / "run", show=False)
    assert main(["export", str(run.folder), "--format", "onnx"]) == 0
    said = capsys.readouterr().out
    assert said.count("largest difference from the model is") == 2
    names = {path.name for path in (run.folder / "export").iterdir()}
    assert names == {"encoder.onnx", "decoder.onnx"}
    import onnxruntime

    x = digits.test.batch(torch.arange(5))
    code, images = (
        onnxruntime.InferenceSession(str(run.folder / "export" / f"{part}.onnx"))
        for part in ("encoder", "decoder")
    )
    (indices,) = code.run(["code"], {"images": x.numpy()})
    (restored,) = images.run(["images"], {"code": indices})
    assert (torch.from_numpy(restored) - run.model.reconstruct(x)).abs().max() < 1e-5
    assert main(["export", str(run.folder), "--format", "hub"]) == 0
    assert "nmse" in (run.folder / "hub" / "README.md").read_text()


def test_a_full_disk_ends_no_process(tmp_path):
    """A limit on the size of files is met as a full disk is; torch's own writer would abort."""
    program = f"""
import resource, signal, torch
import narrows as nw
from narrows.export import export_torch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
model = nw.Autoencoder((1, 8, 8), nw.bottlenecks.Identity(2))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    export_torch(model, {str(tmp_path)!r}, examples=torch.rand(2, 1, 8, 8))
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "File too large: " in done.stdout
    assert "encoder.pt2" in done.stdout
    assert not list(tmp_path.iterdir())
