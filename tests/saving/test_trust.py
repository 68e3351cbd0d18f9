"""A folder from elsewhere runs nobody's code: through every file, every door, at any depth."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import narrows as nw
from narrows.cli.main import main
from narrows.saving.trust import refuse_strangers, trust_options, trusting

SOURCE = Path(nw.__file__).parents[1]
"""Other processes run the code that is tested, not what else is installed."""
EVIL = 'from pathlib import Path\nPath(__file__).with_name("EXECUTED").write_text("")\n'
MINE = "from narrows.bottlenecks import Identity\nclass Mine(Identity):\n    pass\n"


@pytest.fixture(autouse=True)
def _forget():
    """No module of a test is known to the next one; torn down after `monkeypatch`."""
    yield
    for name in ("users_part", "shown_part"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run, and a prior of its codes."""
    folder = tmp_path_factory.mktemp("trust") / "run"
    data = nw.data.load("digits", train_examples=60, test_examples=20)
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(
        data.shape, nw.VectorQuantizer(8, 2), network=nw.networks.Mlp([8])
    )
    nw.fit(model, data, epochs=1, out=folder, show=False)
    assert main(["prior", str(folder), "--kind", "histogram", "--data", "digits"]) == 0
    return folder


@pytest.fixture
def run(whole, tmp_path, monkeypatch):
    """A copy of it that is the current folder, with `evil.py` in it, which shows that it ran."""
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "evil.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return tmp_path / "run"


def poison(path: Path, *place: str, value: object) -> None:
    """Writes a value into a JSON or YAML file, at a place in its tree."""
    json_file = path.suffix == ".json"
    content = json.loads(path.read_text()) if json_file else yaml.safe_load(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    content.pop("checksum", None)  # an enemy could compute it
    path.write_text(json.dumps(content) if json_file else yaml.safe_dump(content))


def process(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Runs the console script in a folder."""
    code = "import sys; from narrows.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )


PLACES = [
    ("bottleneck", "class_path"),
    ("network", "class_path"),
    ("bottleneck", "init_args", "learning", "class_path"),
    ("prior", "class_path"),
]


def test_commands_that_are_shown_say_which_module_they_need(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    Path("shown_part.py").write_text(MINE)
    recipe = {
        "model": {
            "network": {"class_path": "narrows.networks.Mlp", "init_args": {"hidden": [8]}},
            "bottleneck": {"class_path": "shown_part.Mine", "init_args": {"dim": 2}},
        },
        "fit": {"epochs": 1, "batch_size": 256},
        "data_options": {"train_examples": 60, "test_examples": 20},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["train", "mine.yaml", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "narrows evaluate run --trust shown_part --measures" in out
    assert "narrows sample run --trust shown_part" in out
    assert "narrows train run/config.yaml --trust shown_part" in Path("run/report.html").read_text()
    del sys.modules["shown_part"]
    assert main(["evaluate", "run"]) == 1
    assert "--trust shown_part" in capsys.readouterr().err
    shown = next(line for line in out.splitlines() if "narrows evaluate" in line).split()
    assert main(shown[1:-1]) == 0
    capsys.readouterr()
    assert main(["prior", "run", "--kind", "quantized", "--trust", "shown_part"]) == 0
    assert "narrows sample run --prior quantized --trust shown_part" in capsys.readouterr().out
    monkeypatch.setenv("NARROWS_TRUST", "shown_part")
    assert trust_options(Path("run")) == ""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "path", ["evil.Thing", "os.system", "builtins.exec", "evil", "subprocess.Popen"]
)
def test_no_part_of_a_model_imports_what_it_names(run, place, path, monkeypatch):
    monkeypatch.syspath_prepend(run)
    poison(run / "model.json", *place, value=path)
    for load in (nw.Autoencoder.load, nw.Run.load, nw.Autoencoder.from_pretrained):
        with pytest.raises(ValueError, match=r"model\.json is made of .*trust=") as refused:
            load(run)
        assert path in str(refused.value)
    assert not (run / "EXECUTED").exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("model", "bottleneck"), "evil.Thing"),
        (("model", "bottleneck", "class_path"), "evil.Thing"),
        (("model", "bottleneck", "init_args", "learning"), '{"class_path": "evil.Thing"}'),
        (("model", "bottleneck", "init_args", "learning"), '"{class_path: evil.Thing}"'),
        (("model", "bottleneck", "init_args", "learning"), " evil.Thing"),
        (("fit", "callbacks"), "[evil.Thing]"),
        (("fit", "callbacks"), ["{class_path: evil.Thing, init_args: {}}"]),
        (
            ("fit", "engine"),
            {"class_path": "narrows.training.Engine", "dict_kwargs": {"a": "os.system"}},
        ),
        (("model.network.class_path",), "evil.Thing"),
        (("config",), "inner.yaml"),
        (("trust",), ["evil"]),
    ],
)
def test_no_configuration_of_a_run_imports_what_it_names(run, place, value, capsys):
    (run / "inner.yaml").write_text("model: {bottleneck: {class_path: evil.Thing}}")
    poison(run / "config.yaml", *place, value=value)
    (run / "metrics.json").unlink()  # stopped, so that it may be resumed
    commands = (
        ["train", ".", "--out", "new"],
        ["train", "./config.yaml", "--out", "new"],
        ["train", "--resume", "."],
        ["compare", ".", "--seeds", "1"],
    )
    for command in commands:
        assert main(command) != 0
        assert "config.yaml" in capsys.readouterr().err
    assert not (run / "EXECUTED").exists()


def test_every_command_that_reads_a_folder_refuses_it(run, capsys):
    poison(run / "model.json", "bottleneck", "class_path", value="evil.Thing")
    prior = run / "priors" / "histogram" / "model.json"
    poison(prior, "prior", "class_path", value="evil.Thing")
    words = [
        ["evaluate", "."],
        ["prior", ".", "--kind", "histogram"],
        ["sample", "."],
        ["sample", ".", "--prior", "histogram"],
        *([name, "."] for name in ("interpolate", "traverse", "mask", "denoise", "export")),
        ["compress", ".", "x.png", "--out", "new"],
        ["decompress", ".", "x.nrw", "--out", "new"],
    ]
    (run / "x.png").write_bytes(b"")
    (run / "x.nrw").write_bytes(b"")
    for command in words:
        assert main(command) == 1, command
        assert "--trust evil" in capsys.readouterr().err, command
    assert not (run / "EXECUTED").exists()


def test_the_current_folder_is_on_the_path_only_if_the_user_names_a_module_in_it(run):
    """Libraries try imports of their own, such as opt_einsum's: no file here may answer them."""
    poison(run / "model.json", "bottleneck", "class_path", value="evil.Thing")
    for name in ("opt_einsum", "evil"):
        (run / f"{name}.py").write_text(EVIL)
    done = process(run, "evaluate", ".")
    assert done.returncode == 1
    assert "--trust evil" in done.stderr
    assert not (run / "EXECUTED").exists()
    process(run, "evaluate", ".", "--trust", "evil")
    assert (run / "EXECUTED").exists(), "who trusts it gets it"


def test_what_the_user_trusts_is_built(tmp_path, monkeypatch):
    (tmp_path / "users_part.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    code = "import narrows as nw, users_part as u\nnw.Autoencoder((4,), u.Mine(2)).save('model')"
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True,
        env={**os.environ, "PYTHONPATH": f"{SOURCE}:{tmp_path}"},
    )  # fmt: skip
    folder = tmp_path / "model"
    with pytest.raises(ValueError, match=r"made of users_part.Mine.*--trust users_part"):
        nw.Autoencoder.load(folder)
    assert "users_part" not in sys.modules
    for other in ("users", "users_part_of_another"):  # no prefix of letters
        with pytest.raises(ValueError, match="users_part"):
            nw.Autoencoder.load(folder, trust=[other])
    with trusting(["users_part"]):
        assert type(nw.Autoencoder.load(folder).bottleneck).__name__ == "Mine"
    monkeypatch.delitem(sys.modules, "users_part")
    monkeypatch.setenv("NARROWS_TRUST", "others, users_part")
    assert type(nw.Autoencoder.load(folder).bottleneck).__name__ == "Mine"
    monkeypatch.delitem(sys.modules, "users_part")
    monkeypatch.delenv("NARROWS_TRUST")
    assert type(nw.Autoencoder.load(folder, trust="users_part").bottleneck).__name__ == "Mine"
    nw.Autoencoder.load(folder)  # the program has it imported by now


@pytest.mark.parametrize("name", ["narrows.__main__.main", "narrows.saving.writing.os.system"])
def test_the_name_of_the_package_is_no_way_in(name):
    with pytest.raises(ValueError, match="not a part of narrows"):
        refuse_strangers({"class_path": name}, Path("model.json"))


def test_a_tree_of_aliases_is_walked_once():
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    refuse_strangers(yaml.safe_load("\n".join(lines)), Path("config.yaml"))
