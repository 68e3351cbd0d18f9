"""Sequences and sound through the commands: train, evaluate, compress, decompress, report."""

import json
import wave

import numpy as np
import pytest

from narrows.cli.main import main

SMALL = ["--fit.epochs", "1", "--fit.batch_size", "16", "--fit.show", "false"]
CONV = ["--model.network.hidden", "8", "--model.network.residual_hidden", "4"]


def tones(n: int, channels: int, length: int) -> np.ndarray:
    """Tones about 20 with a standard deviation of 70, `[n, channels, length]`."""
    generator = np.random.default_rng(0)
    pitch = generator.uniform(0.1, 0.6, (n, channels, 1))
    return (20 + 100 * np.sin(pitch * np.arange(length))).astype(np.float32)


@pytest.mark.parametrize("layout", ["nct", "ntd", "own"])
def test_an_array_in_its_own_units_goes_through_every_command(layout, tmp_path, capsys):
    values = {
        "nct": tones(60, 2, 64),
        "ntd": tones(60, 3, 24).transpose(0, 2, 1),
        "own": tones(60, 8, 8)[:, None],
    }[layout]
    np.save(tmp_path / "x.npy", values)
    words = ["--data", f"array:{tmp_path / 'x.npy'}", "--data-options", f"{{layout: {layout}}}"]
    network = CONV if layout != "ntd" else []  # which the transformer then replaces
    network = [] if layout == "ntd" else network
    run = str(tmp_path / "run")
    assert main(["train", "vq", *words, *network, *SMALL, "--out", run]) == 0
    said = capsys.readouterr().out
    assert "SNR, dB" in said
    assert ("log-spectral distance" in said) == (layout == "nct")
    assert main(["evaluate", run]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    np.save(tmp_path / "some.npy", values[:5])
    assert main(["compress", run, str(tmp_path / "some.npy")]) == 0
    out = tmp_path / "back"
    assert main(["decompress", run, str(tmp_path / "some.nrwz"), "--out", str(out)]) == 0
    back = np.load(out / "some.npy")
    assert (back.shape, back.dtype) == (values[:5].shape, np.float32)
    assert np.abs(back.mean() - values.mean()) < 60  # in the unit of the data
    page = (tmp_path / "run" / "report.html").read_text()
    assert ("Spectrogram:" in page) == (layout == "nct")
    assert "<audio" not in page


def test_a_folder_of_sound_is_trained_on_and_heard_on_the_page(tmp_path, capsys):
    pytest.importorskip("soundfile")
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number, values in enumerate(tones(8, 1, 1000)):
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((200 * values).astype("<i2").tobytes())
    words = ["--data", f"audio:{folder}", "--data-options", "{samples: 256}"]
    small = ["--model.network.hidden", "8", "--model.bottleneck.stages", "2"]
    small += ["--model.bottleneck.stage.size", "8", "--model.bottleneck.stage.learning.warmup", "0"]
    run = tmp_path / "run"
    assert main(["train", "speech-rvq", *words, *small, *SMALL, "--out", str(run)]) == 0
    assert "log-spectral distance" in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert page.count("<audio") == 6
    assert "bits per second" in page


def test_arrays_that_do_not_fit_are_named(tmp_path, capsys):
    np.save(tmp_path / "x.npy", tones(40, 1, 32))
    words = ["--data", f"array:{tmp_path / 'x.npy'}", "--data-options", "{layout: nct}"]
    run = str(tmp_path / "run")
    assert main(["train", "vq", *words, *CONV, *SMALL, "--out", run]) == 0
    np.save(tmp_path / "other.npy", tones(4, 1, 33))
    (tmp_path / "broken.npy").write_bytes(b"no array")
    files = [str(tmp_path / name) for name in ("other.npy", "broken.npy")]
    assert main(["compress", run, *files]) == 1
    said = capsys.readouterr().err
    assert "expected [n, 1, 32], got [4, 1, 33]" in said
    assert "2 of 2 files could not be done" in said
