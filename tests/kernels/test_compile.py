import ctypes
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from narrows import kernels
from narrows.kernels import compile as mechanism

needs_compiler = pytest.mark.skipif(
    mechanism._compiler() is None, reason="there is no C++ compiler on this machine"
)


def _fresh(monkeypatch, folder, **environment):
    """A process that has loaded nothing yet and whose cache is `folder`."""
    mechanism._library.cache_clear()
    monkeypatch.setenv("NARROWS_CACHE", str(folder))
    monkeypatch.setenv("NARROWS_KERNELS", "on")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def _forget():
    yield
    mechanism._library.cache_clear()


def _sum(library, values):
    array = (ctypes.c_double * len(values))(*values)
    total = ctypes.c_double()
    library.probe(array, ctypes.c_long(len(values)), ctypes.c_int(2), ctypes.byref(total))
    return total.value


@needs_compiler
def test_a_kernel_compiles_on_first_use_and_computes(monkeypatch, tmp_path):
    _fresh(monkeypatch, tmp_path)
    assert _sum(kernels.load("probe"), [1.0, 2.0, 3.5]) == 6.5
    assert kernels.status("probe").startswith("compiled by")


@needs_compiler
def test_the_second_process_finds_the_compiled_kernel_in_the_cache(monkeypatch, tmp_path):
    _fresh(monkeypatch, tmp_path)
    kernels.load("probe")
    (built,) = (tmp_path / "kernels").glob("*.so")
    before = built.stat().st_mtime_ns
    monkeypatch.setattr(mechanism, "_compile", lambda *_: pytest.fail("compiled again"))
    mechanism._library.cache_clear()
    assert _sum(kernels.load("probe"), [2.0]) == 2.0
    assert built.stat().st_mtime_ns == before


@needs_compiler
def test_the_cache_is_keyed_by_source_and_cpu(monkeypatch):
    compiler = mechanism._compiler()
    key = mechanism._key(b"a", compiler)
    assert key == mechanism._key(b"a", compiler)
    assert key != mechanism._key(b"b", compiler)
    monkeypatch.setattr(mechanism, "_cpu", lambda: "another one")
    assert key != mechanism._key(b"a", compiler)


@needs_compiler
def test_a_changed_header_compiles_the_kernels_that_may_include_it_again(tmp_path):
    source, header = tmp_path / "kernel.cpp", tmp_path / "shared.h"
    header.write_text("constexpr int ANSWER = 1;\n")
    source.write_text('#include "shared.h"\nextern "C" int answer() { return ANSWER; }\n')
    compiler = mechanism._compiler()
    first = mechanism._build(source, compiler, tmp_path)
    assert mechanism._build(source, compiler, tmp_path) == first
    header.write_text("constexpr int ANSWER = 2;\n")
    second = mechanism._build(source, compiler, tmp_path)
    assert ctypes.CDLL(str(first)).answer() == 1
    assert ctypes.CDLL(str(second)).answer() == 2


@needs_compiler
def test_processes_that_compile_at_once_all_get_a_whole_library(tmp_path):
    code = (
        "import ctypes; from narrows import kernels; k = kernels.load('probe');"
        "t = ctypes.c_double(); x = (ctypes.c_double * 2)(1., 2.);"
        "k.probe(x, ctypes.c_long(2), ctypes.c_int(1), ctypes.byref(t)); print(t.value)"
    )
    source = str(Path(mechanism.__file__).parents[2])
    environment = {**os.environ, "NARROWS_CACHE": str(tmp_path), "PYTHONPATH": source}
    environment["NARROWS_KERNELS"] = "on"

    def run(_):
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(run, range(3)))
    assert [r.stdout.strip() for r in results] == ["3.0"] * 3, results[0].stderr
    assert len(list((tmp_path / "kernels").iterdir())) == 1  # and no scratch files are left


def test_kernels_can_be_switched_off(monkeypatch, tmp_path):
    _fresh(monkeypatch, tmp_path, NARROWS_KERNELS="off")
    assert kernels.load("probe") is None
    assert "off" in kernels.status("probe")


def test_without_a_compiler_there_is_no_kernel_and_no_noise(monkeypatch, tmp_path):
    _fresh(monkeypatch, tmp_path)
    monkeypatch.setattr(mechanism, "_compiler", lambda: None)
    assert kernels.load("probe") is None
    assert "no C++ compiler" in kernels.status("probe")


@needs_compiler
def test_a_compiler_that_fails_is_reported_once_and_replaced_by_torch(monkeypatch, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && exit 0\necho 'no such thing' >&2; exit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    _fresh(monkeypatch, tmp_path, CXX=str(broken))
    with pytest.warns(RuntimeWarning, match="slower torch version"):
        assert kernels.load("probe") is None
    assert kernels.load("probe") is None  # a second warning would fail the test


def test_an_unknown_kernel_and_an_unknown_setting_are_refused(monkeypatch, tmp_path):
    _fresh(monkeypatch, tmp_path)
    with pytest.raises(ValueError, match="name of a kernel"):
        kernels.load("nothing")
    monkeypatch.setenv("NARROWS_KERNELS", "maybe")
    with pytest.raises(ValueError, match="on or off"):
        kernels.load("probe")


@needs_compiler
def test_a_cache_that_cannot_be_written_is_replaced_by_a_private_folder(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    _fresh(monkeypatch, blocked)
    assert _sum(kernels.load("probe"), [4.0]) == 4.0


def _run(environment, code):
    source = str(Path(mechanism.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": source, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


PROBE = (
    "import ctypes; from narrows import kernels; k = kernels.load('probe');"
    "t = ctypes.c_double(); x = (ctypes.c_double * 2)(1., 2.);"
    "k.probe(x, ctypes.c_long(2), ctypes.c_int(1), ctypes.byref(t)); print(t.value)"
)


@needs_compiler
@pytest.mark.parametrize("keep", [0, 100, 4096])
def test_a_truncated_library_is_compiled_again(monkeypatch, tmp_path, keep):
    _fresh(monkeypatch, tmp_path)
    kernels.load("probe")
    (built,) = (tmp_path / "kernels").glob("*.so")
    whole = built.read_bytes()
    built.unlink()  # a new file: the old one is mapped by this process
    built.write_bytes(whole[:keep])
    done = _run({"NARROWS_CACHE": str(tmp_path)}, PROBE)
    assert (done.returncode, done.stdout.strip()) == (0, "3.0"), done.stderr
    (again,) = (tmp_path / "kernels").glob("*.so")
    assert again.read_bytes() == whole


@needs_compiler
def test_a_library_with_another_content_is_not_loaded(monkeypatch, tmp_path):
    _fresh(monkeypatch, tmp_path)
    kernels.load("probe")
    (built,) = (tmp_path / "kernels").glob("*.so")
    whole = bytearray(built.read_bytes())
    whole[len(whole) // 2] ^= 1
    built.unlink()
    built.write_bytes(whole)
    done = _run({"NARROWS_CACHE": str(tmp_path)}, PROBE)
    assert done.stdout.strip() == "3.0", done.stderr


@needs_compiler
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_can_write_is_not_used_and_nothing_is_left(tmp_path, mode):
    cache, scratch = tmp_path / "cache", tmp_path / "scratch"
    (cache / "kernels").mkdir(parents=True)
    scratch.mkdir()
    (cache / "kernels").chmod(mode)
    done = _run({"NARROWS_CACHE": str(cache), "TMPDIR": str(scratch)}, PROBE)
    assert done.stdout.strip() == "3.0", done.stderr
    assert not list((cache / "kernels").iterdir())
    assert not list(scratch.iterdir())


@needs_compiler
def test_without_a_home_and_without_a_name_it_works(tmp_path):
    nameless = (
        "import os, pwd\n"
        "def unknown(uid): raise KeyError('getpwuid(): uid not found')\n"
        "pwd.getpwuid = unknown\n"
    )
    done = _run({"TMPDIR": str(tmp_path)}, nameless + PROBE)
    assert (done.returncode, done.stdout.strip()) == (0, "3.0"), done.stderr
    assert not list(tmp_path.iterdir())
