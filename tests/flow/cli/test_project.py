"""The file flow.toml."""

import os
from pathlib import Path

import pytest

from flow.cli.project import find_project
from flow.errors import ConfigurationError, InvalidName

FULL = """\
name = "shop"
app = "shop.py:app"
broker = "amqp://user:secret@mq"
store = "sqlite:///.flow/shop.db"
"""


def test_without_a_file_nothing_is_said(shop: Path) -> None:
    """A folder without the file is a project that says nothing."""
    found = find_project()
    assert (found.folder, found.exists, found.name, found.broker) == (shop, False, "", None)


def test_a_file_says_it_all(shop: Path) -> None:
    """Each key is read, and URLs are taken apart without their secrets being shown."""
    (shop / "flow.toml").write_text(FULL)
    found = find_project()
    assert (found.exists, found.name, found.app) == (True, "shop", "shop.py:app")
    assert (str(found.broker), str(found.store)) == ("amqp://***@mq", "sqlite:///.flow/shop.db")


def test_a_file_above_is_meant_from_its_folder(shop: Path) -> None:
    """Below the folder of the file, the files that it names are still those of its folder."""
    (shop / "flow.toml").write_text(FULL)
    (shop / "deep" / "er").mkdir(parents=True)
    os.chdir(shop / "deep" / "er")
    found = find_project()
    assert found.folder == shop
    assert found.store is not None
    assert Path(found.store.path) == shop / ".flow" / "shop.db"


def test_a_file_of_somebody_else_is_passed_over(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file above that another user has written does not choose the program that is run."""
    (shop / "flow.toml").write_text(FULL)
    (shop / "deep").mkdir()
    os.chdir(shop / "deep")
    monkeypatch.setattr(os, "getuid", lambda: (shop / "flow.toml").stat().st_uid + 1)
    assert not find_project().exists


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("brokr = 'amqp://mq'", r"flow.toml: 'brokr' is unknown: .*did you mean 'broker'"),
        ("[env]\nA = 'b'", r"'env' is unknown: it may hold 'name', 'app', 'broker', 'store'"),
        ("store = 5", "flow.toml: store: it is a text"),
        ("name = ''", "flow.toml: name: it is a text"),
        ("name = ", "flow.toml: it is no TOML: Invalid value"),
        ("broker = 'mysql://x:secret@y'", r"flow.toml: the broker's URL mysql://\*\*\*@y"),
        ("# " + "x" * 70_000, "it has more than 65,536 bytes"),
    ],
)
def test_what_is_wrong_is_named(shop: Path, text: str, reason: str) -> None:
    """An unknown key, a wrong value and a broken file are each one clear error."""
    (shop / "flow.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        find_project()
    assert "secret" not in str(caught.value)


def test_a_name_keeps_the_rules(shop: Path) -> None:
    """A name that no flow can have is refused where it is written."""
    (shop / "flow.toml").write_text("name = 'a b'")
    with pytest.raises(InvalidName):
        find_project()


def test_a_file_that_cannot_be_read(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without the permission to read it is an error, not no file."""
    (shop / "flow.toml").write_text(FULL)

    def refuse(_: Path, encoding: str) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
        find_project()


def test_an_open_secret_is_noticed(shop: Path) -> None:
    """A password that every user of the machine can read is noticed; without one, nothing is."""
    file = shop / "flow.toml"
    file.write_text(FULL)
    file.chmod(0o644)
    assert find_project().is_open_secret
    file.chmod(0o640)
    assert not find_project().is_open_secret
    file.write_text('broker = "amqp://user@mq"')
    file.chmod(0o644)
    assert not find_project().is_open_secret
