"""Every benchmark starts."""

import importlib
import sys

import pytest

from evidence import FOLDER

NAMES = sorted(path.stem for path in (FOLDER.parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_what_it_does(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"benchmarks.{name}").main()
    assert end.value.code == 0
    assert "--ledger" in capsys.readouterr().out
