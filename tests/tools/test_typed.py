"""The check of types fails below its target, only when asked to, and lists what lacks a type."""

from tools import typed


def test_it_fails_only_below_the_target_and_when_asked_to(monkeypatch, capsys):
    monkeypatch.setattr(typed, "completeness", lambda: (0.949, ["narrows.X: no type"] * 40))
    monkeypatch.setattr("sys.argv", ["typed.py"])
    assert typed.main() == 0
    monkeypatch.setattr("sys.argv", ["typed.py", "--check"])
    assert typed.main() == 1
    assert "narrows.X: no type" in capsys.readouterr().out
    monkeypatch.setattr(typed, "completeness", lambda: (0.95, []))
    assert typed.main() == 0
