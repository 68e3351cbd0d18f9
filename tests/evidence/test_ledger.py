"""The ledger: lines are added, checked and never changed."""

import json
import lzma
import math
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from evidence import FOLDER, Run, append, close, kinds, latest, now, read

ROOT = FOLDER.parent
KINDS = kinds()


def a_run(seed: int = 0, **figures: float) -> Run:
    hardware = {"processor": "a", "cores": 2}
    return Run({"seed": seed}, figures or {"nmse": 0.1}, 1.0, "abc1234", {"torch": "2"}, hardware)


def test_what_is_appended_is_read(tmp_path):
    append("kind", a_run(0), tmp_path)
    append("kind", a_run(1), tmp_path)
    assert read("kind", tmp_path) == [a_run(0), a_run(1)]


def test_the_last_repeat_of_a_configuration_counts(tmp_path):
    for nmse in (0.3, 0.2):
        append("kind", a_run(0, nmse=nmse), tmp_path)
    append("kind", a_run(1), tmp_path)
    assert [run.figures["nmse"] for run in latest("kind", tmp_path, seed=0)] == [0.2]
    assert len(latest("kind", tmp_path)) == 2
    with pytest.raises(LookupError, match="has no run with"):
        latest("kind", tmp_path, seed=7)


def test_lines_of_many_writers_do_not_mix(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: append("kind", a_run(seed), tmp_path), range(200)))
    assert sorted(run.configuration["seed"] for run in read("kind", tmp_path)) == list(range(200))


def test_a_number_that_is_not_finite_is_null_and_others_keep_eight_digits(tmp_path):
    append("kind", a_run(0, nmse=math.nan, mse=1.0000098765), tmp_path)
    (line,) = (tmp_path / "kind.jsonl").read_text().splitlines()
    assert json.loads(line)["figures"] == {"nmse": None, "mse": 1.0000099}


@pytest.mark.parametrize("name", ["configuration", "figures", "commit", "versions", "hardware"])
def test_a_run_without_what_a_reader_needs_is_refused(name):
    known = {**vars(a_run()), name: {}}
    with pytest.raises(ValueError, match=f"expected a run with its {name}"):
        Run(**known)


def test_a_broken_line_is_named(tmp_path):
    append("kind", a_run(), tmp_path)
    with (tmp_path / "kind.jsonl").open("a") as file:
        file.write('{"half": \n')
    with pytest.raises(ValueError, match=r"kind\.jsonl, line 2"):
        read("kind", tmp_path)


def test_a_closed_ledger_is_read_before_what_is_appended_later(tmp_path):
    for seed in range(2):
        append("kind", a_run(2 * seed), tmp_path)
        append("kind", a_run(2 * seed + 1), tmp_path)
        assert close("kind", tmp_path).name == f"kind.0{seed + 1}.jsonl.xz"
    append("kind", a_run(4), tmp_path)
    assert [run.configuration["seed"] for run in read("kind", tmp_path)] == [0, 1, 2, 3, 4]
    assert kinds(tmp_path) == ["kind"]


def test_nothing_is_closed_twice(tmp_path):
    append("kind", a_run(), tmp_path)
    close("kind", tmp_path)
    with pytest.raises(LookupError, match="nothing to close"):
        close("kind", tmp_path)


def test_a_run_of_now_knows_its_commit_and_machine():
    run = now({"seed": 0}, {"nmse": 0.1})
    assert run.commit
    assert run.versions["torch"]
    assert run.hardware["cores"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_of_a_ledger_is_a_run(kind):
    assert read(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ledger_only_grows(kind):
    """What the last commit holds is the beginning of what there is."""
    listed = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD", "evidence/"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.split() if name.startswith(f"evidence/{kind}.jsonl")]
    volumes = [n for n in listed.stdout.split() if n.startswith(f"evidence/{kind}.") and ".xz" in n]
    if not names + volumes:
        pytest.skip("not in a commit yet, or no git checkout")
    before = b"".join(map(_shown, [*sorted(volumes), *names]))
    present = [*sorted(FOLDER.glob(f"{kind}.*.jsonl.xz")), *FOLDER.glob(f"{kind}.jsonl")]
    now = b"".join(_content(path.name, path.read_bytes()) for path in present)
    assert now.startswith(before)


def _shown(name: str) -> bytes:
    done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True)
    return _content(name, done.stdout)


def _content(name: str, content: bytes) -> bytes:
    return lzma.decompress(content) if name.endswith(".xz") else content
