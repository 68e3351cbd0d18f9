import pytest

from narrows.data import load, sources
from narrows.data.loading import data_root


def test_every_source_describes_itself():
    found = sources()
    assert "digits" in found
    for name, module in found.items():
        assert module.ABOUT, name
        assert callable(module.load), name


def test_an_unknown_name_is_answered_with_the_list_and_a_guess():
    with pytest.raises(ValueError, match=r"'digit'; did you mean 'digits'\? known are .*digits"):
        load("digit")
    with pytest.raises(ValueError, match="there is no data set 'qqqq'; known are"):
        load("qqqq")


def test_infrastructure_is_not_a_data_set():
    with pytest.raises(ValueError, match="there is no data set 'base'"):
        load("base")


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="'digits' has no option 'sed'"):
        load("digits", sed=3)


def test_an_argument_where_there_is_none_is_refused():
    with pytest.raises(ValueError, match="takes nothing after a colon"):
        load("digits:8x8")


def test_a_data_root_that_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"data root names .*absent"):
        data_root(tmp_path / "absent")
    monkeypatch.setenv("NARROWS_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"NARROWS_DATA names .*gone"):
        data_root()
    monkeypatch.setenv("NARROWS_DATA", str(tmp_path))
    assert data_root() == tmp_path
