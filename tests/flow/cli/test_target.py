"""Which flow a command is about."""

from pathlib import Path

import pytest

from flow.cli.options import Where
from flow.cli.target import find, program_of
from flow.errors import ConfigurationError


def test_the_only_file_of_the_folder_is_meant(store: Path) -> None:
    """Without options it is the one database of the folder, named like its file."""
    target = find(None)
    assert (target.name, str(target.settings.store)) == ("shop", "sqlite:///.flow/shop.db")
    assert target.is_guessed
    assert target.flow().name == "shop"


def test_a_name_chooses_among_files(store: Path) -> None:
    """Of several databases, --name chooses one."""
    (store / ".flow" / "other.db").touch()
    assert find(Where(name="shop")).name == "shop"
    with pytest.raises(ConfigurationError, match="several flows: 'other', 'shop'"):
        find(None)


def test_a_program_says_it_all(shop: Path) -> None:
    """A program has a name and settings, and options win over them."""
    target = find(Where(app="shop.py:app"))
    assert target.app is target.flow()
    assert str(target.settings.store) == "sqlite:///.flow/shop.db"
    where = Where(app="shop.py:app", store="sqlite:///a.db", broker="unix:///b.sock")
    changed = find(where).settings
    assert (str(changed.store), str(changed.broker)) == ("sqlite:///a.db", "unix:///b.sock")
    assert find(where).file is None


def test_the_environment_says_it_too(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLOW_STORE and FLOW_BROKER count where no option does."""
    monkeypatch.setenv("FLOW_STORE", "sqlite:///env.db")
    assert find(None).name == "env"
    assert find(Where(store="sqlite:///opt.db")).name == "opt"
    monkeypatch.setenv("FLOW_BROKER", "unix:///flow.sock")
    assert find(None).file is None


def test_no_program_is_none() -> None:
    """Without FILE:APP there is no program to load."""
    assert program_of(None) is None
