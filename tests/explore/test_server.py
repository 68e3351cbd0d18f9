"""Real requests: what the page gets, and what is refused, each with a sentence."""

import http.client
import io
import json
import re
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

import narrows as nw
from narrows.cli.main import main
from narrows.explore.guard import LARGEST
from tests.explore.conftest import explorer_of, served


def request(address, method, verb="", body=None, headers=None):
    """Status, headers and content of one request; `verb` begins with / to replace the token."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    path = verb if verb.startswith("/") else parts.path + verb
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def ask(address, verb, body):
    raw = body if isinstance(body, bytes) else json.dumps(body)
    status, _, content = request(address, "POST", verb, raw)
    return status, json.loads(content)


def png(array, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def test_the_page_asks_nothing_of_anyone_else(address):
    status, headers, content = request(address, "GET")
    text = content.decode()
    assert status == 200
    assert not re.search(r"""(src|href|url\()\s*=?\s*["']?(https?:)?//""", text)
    policy = headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)[1]
    assert policy.startswith("default-src 'none'")
    assert text.count(f'nonce="{nonce}"') == 2
    assert headers["referrer-policy"] == "no-referrer"
    assert nonce not in request(address, "GET")[2].decode()


REFUSED = {
    "no token": ("/", {}, 403, "whole address"),
    "another token": ("/" + "a" * 22 + "/about", {}, 403, "whole address"),
    "a name that leads here": ("about", {"Host": "evil.example"}, 403, "loopback address"),
    "another port": ("about", {"Host": "127.0.0.1:1"}, 403, "loopback address"),
    "another page": ("about", {"Origin": "https://evil.example"}, 403, "own page"),
    "no page": ("about", {"Origin": "null"}, 403, "own page"),
    "too much": ("take", {"Content-Length": str(LARGEST + 1)}, 413, "at most 16 MB"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_strangers_are_refused(address, what):
    verb, headers, expected, sentence = REFUSED[what]
    status, _, content = request(address, "POST", verb, None, headers)
    assert status == expected
    assert sentence in json.loads(content)["error"]


def test_a_request_that_does_not_say_how_much_it_sends_is_cut_off(address):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    pieces = (b"x" * (1 << 20) for _ in range(18))
    try:
        connection.request("POST", parts.path + "take", pieces, encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server hung up while we were still sending
    finally:
        connection.close()


def test_an_example_comes_with_its_code_under_every_model(address, explorer):
    status, found = ask(address, "encode", {"example": "test-5"})
    assert status == 200
    x = explorer.examples.find("test-5")[None]
    for subject, shown in zip(explorer.subjects, found["models"], strict=True):
        expected = float((subject.model.reconstruct(x) - x).square().mean())
        assert shown["mse"] == pytest.approx(expected)
        assert shown["decoded"]["picture"].startswith("data:image/png;base64,")
    prices = [
        ask(address, "price", {"model": i, "code": shown["code"]})[1]
        for i, shown in enumerate(found["models"])
    ]
    assert prices[0]["file"]["code"] % 4 == 0 < prices[2]["file"]["code"]
    assert "bits-back" in prices[1]["no_file"]
    assert found["models"][1]["bits_back"] == pytest.approx(
        float(explorer.subjects[1].model.bits(x))
    )


def test_a_changed_code_is_decoded(address, explorer):
    _, found = ask(address, "encode", {"example": "test-5"})
    code = found["models"][1]["code"]
    change = {"part": 0, "place": [1, 2, 0], "value": 2.5}
    status, shown = ask(
        address, "change", {"model": 1, "code": code, "changes": [change], "example": "test-5"}
    )
    assert status == 200
    model, x = explorer.subjects[1].model, explorer.examples.find("test-5")
    expected = model.encode(x[None])
    expected[0, 1, 2, 0] = 2.5
    assert shown["mse"] == pytest.approx(float((model.decode(expected)[0] - x).square().mean()))
    torch.testing.assert_close(torch.tensor(shown["code"][0]["numbers"]), expected.flatten())


def test_paths_draws_and_completions_are_codes_of_the_model(address, explorer):
    _, end = ask(address, "between", {"model": 0, "a": "test-1", "b": "test-2", "t": 1})
    _, b = ask(address, "encode", {"example": "test-2"})
    assert end["code"] == b["models"][0]["code"]
    body = {"model": 0, "code": end["code"], "seed": 1, "missing": [[0, 0], [3, 3]]}
    _, completed = ask(address, "complete", body)
    same = np.equal(completed["code"][0]["numbers"], end["code"][0]["numbers"])
    assert same[1:15].all()
    for model in range(3):
        _, drawn = ask(address, "draw", {"model": model, "seed": 4, "temperature": 1})
        assert "mse" not in drawn
        torch.manual_seed(9)
        assert (
            ask(address, "draw", {"model": model, "seed": 4, "temperature": 1})[1]["code"]
            == drawn["code"]
        )


def test_a_picture_that_is_dropped_is_brought_to_the_shape_of_the_data(address, explorer):
    status, found = ask(address, "take", png(np.full((40, 20, 3), 255, np.uint8), "JPEG"))
    assert status == 200
    assert explorer.examples.find(found["name"]).shape == (1, 8, 8)
    assert float(explorer.examples.find(found["name"]).min()) > 0.98
    assert ask(address, "encode", {"example": found["name"]})[0] == 200


GOOD = png(np.zeros((9, 9), np.uint8))
BAD = {
    "no picture": ("take", b"hello", "cannot be used as a picture: not an image"),
    "nothing": ("take", b"", "cannot be used as a picture"),
    "half a picture": ("take", GOOD[: len(GOOD) // 2], "cannot be used as a picture"),
    "no JSON": ("encode", b"{", "Expecting property name"),
    "a list": ("encode", [], "JSON object"),
    "deep JSON": ("encode", b"[" * 100_000, "recursion"),
    "no such example": ("encode", {"example": "test-99999"}, "no example 'test-99999'"),
    "a forgotten drawing": ("encode", {"example": "own-99"}, "drop it again"),
    "no such model": ("draw", {"model": 3, "temperature": 1}, "model as a whole number in 0..2"),
    "a model by name": ("draw", {"model": "vq", "temperature": 1}, "model as a whole number"),
    "no code": ("change", {"changes": []}, "a code of 1 parts"),
    "frozen": ("draw", {"model": 0, "temperature": 0}, "temperature in"),
    "beyond the end": ("between", {"a": "test-0", "b": "test-1", "t": 2}, "t in"),
    "no such rows": ("strip", {"start": -1}, "start as a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_done_is_said_in_a_sentence(address, what):
    verb, body, sentence = BAD[what]
    status, found = ask(address, verb, body)
    assert status == 400
    assert sentence in found["error"]
    assert ask(address, "strip", {})[0] == 200  # it goes on


def test_drawings_are_forgotten_in_turn(explorer):
    names = [explorer.examples.take(GOOD) for _ in range(65)]
    explorer.examples.find(names[-1])
    with pytest.raises(LookupError, match="draw or drop it again"):
        explorer.examples.find(names[0])


def test_vectors_and_sound_have_lines_and_something_to_play(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    sound = np.sin(np.arange(20_000) / 9) * np.linspace(0, 0.9, 20_000)
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", sound * np.random.default_rng(0).random(), 8000)
    data = nw.data.load(f"audio:{tmp_path}", samples=1024)
    network = nw.Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=4)
    model = nw.Autoencoder(data.shape, nw.VectorQuantizer(8, 4), network=network)
    explorer = explorer_of(data, {"sound": model})
    shown = explorer.encode({"example": "test-0"})["models"][0]["decoded"]
    assert len(shown["lines"][0]) == 400
    assert shown["sound"].startswith("data:audio/wav")
    assert shown["spectrogram"].startswith("data:image/png")
    taken = explorer.take((tmp_path / "a.wav").read_bytes())["name"]
    assert explorer.examples.find(taken).shape == data.shape
    with pytest.raises(ValueError, match="cannot be used as sound: damaged"):
        explorer.take(b"RIFF1234WAVE")
    rows = np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)
    vectors = nw.data.from_array(rows)
    explorer = explorer_of(vectors, {"v": nw.Autoencoder.for_vectors(12, nw.Identity(3))}, tmp_path)
    (tmp_path / "features.html").write_text("features")
    assert explorer.about({})["models"][0]["features"]
    assert len(explorer.encode({"example": "test-0"})["shown"]["lines"][0]) == 12
    with pytest.raises(ValueError, match="choose a test example"):
        explorer.take(GOOD)
    pages = served(explorer)
    assert request(next(pages), "GET", "features/0")[2] == b"features"
    next(pages, None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "vq"
    data = nw.data.load("digits", train_examples=64)
    model = nw.Autoencoder.for_images(
        data.shape, nw.VectorQuantizer(8, 4), network=nw.Conv(hidden=8)
    )
    nw.fit(model, data, epochs=1, out=folder)
    return folder


def test_the_command_serves_until_it_is_interrupted(run):
    process = subprocess.Popen(
        [sys.executable, "-m", "narrows", "explore", str(run), "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", address)
        assert ask(address, "about", {})[1]["models"][0]["name"] == "vq"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert said.splitlines()[-1] == "closed"
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["digits-qv"], "did you mean 'digits-vq'"),
        (["digits-vq", "--prior", "pixelcnn"], "leave --prior out"),
        (["{run}", "{run}"], "different folders"),
        (["{run}", "--port", "99999"], "a port in 0..65535"),
        (["{run}/nothing"], "no folder of a finished run"),
        (["{run}", "--prior", "pixelcnn"], "no fitted prior"),
        (["{run}", "--data", "no such data"], "no such data"),
    ],
)
def test_what_is_asked_wrongly_is_said(run, capsys, words, sentence):
    assert main(["explore", *(word.format(run=run) for word in words)]) in (1, 2)
    assert sentence in capsys.readouterr().err


def test_without_a_name_it_opens_the_models_that_come_with_narrows(monkeypatch):
    opened = []
    monkeypatch.setattr(
        "narrows.explore.server.serve", lambda explorer, **_: opened.append(explorer)
    )
    assert main(["explore"]) == 0
    assert main(["explore", "digits-vae"]) == 0
    names = [[subject.name for subject in explorer.subjects] for explorer in opened]
    assert names == [["digits-vq", "digits-vae", "digits-sparse-topk"], ["digits-vae"]]
    for model, kind in enumerate(("indices", "values", "atoms")):
        assert opened[0].subjects[model].describe()["parts"][0]["kind"] == kind
    draws = [subject.describe()["draw"] for subject in opened[0].subjects]
    assert draws == ["", "", ""]  # no reason why not
    assert opened[0].subjects[0].describe()["complete"] == ""
