"""Which flow a command is about."""

import os
from pathlib import Path

import pytest

from flow.cli.options import Place, Where
from flow.cli.target import find, location_of, placed, program_of
from flow.errors import ConfigurationError, InvalidName


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


@pytest.mark.parametrize("name", ["post office", "föö", "a.b"])
def test_a_name_has_to_be_one(shop: Path, name: str) -> None:
    """What no flow can be called is refused before anything is asked with it."""
    with pytest.raises(InvalidName, match="no dot"):
        find(Where(name=name, broker="amqp://mq"))


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


def test_a_broker_needs_only_a_name(shop: Path) -> None:
    """With a broker's URL and a name no program is loaded, and no store is asked for."""
    (shop / "flow.toml").write_text('app = "broken.py:app"')
    target = find(Where(name="shop", broker="amqp://mq"))
    assert (target.name, target.app, target.settings.store) == ("shop", None, None)
    assert target.flow().settings.store is None


def test_flow_toml_stands_in_for_options(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What flow.toml says counts where neither an option nor the environment says anything."""
    (shop / "flow.toml").write_text('name = "shop"\nbroker = "amqp://file"\n')
    assert str(find(None).settings.broker) == "amqp://file"
    monkeypatch.setenv("FLOW_BROKER", "amqp://env")
    assert str(find(None).settings.broker) == "amqp://env"
    assert str(find(Where(broker="amqp://option")).settings.broker) == "amqp://option"


def test_the_environment_names_the_flow(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLOW_NAME is the name where no option says another, and loads no program."""
    monkeypatch.setenv("FLOW_NAME", "shop")
    monkeypatch.setenv("FLOW_BROKER", "amqp://mq")
    assert find(None).name == "shop"
    assert find(Where(name="orders")).name == "orders"


def test_flow_toml_wins_over_the_program(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Option, environment, flow.toml, program: the first of these that names a URL counts."""
    (shop / "far.py").write_text("from flow import Flow\napp = Flow('shop', broker='amqp://own')\n")
    location = location_of("far.py:app")
    assert str(placed(location, None).settings.broker) == "amqp://own"
    (shop / "flow.toml").write_text('broker = "amqp://file"\n')
    assert str(placed(location, None).settings.broker) == "amqp://file"
    monkeypatch.setenv("FLOW_BROKER", "amqp://env")
    assert str(placed(location, None).settings.broker) == "amqp://env"
    assert str(placed(location, Place(broker="amqp://opt")).settings.broker) == "amqp://opt"


def test_a_program_of_flow_toml_is_found_from_below(shop: Path) -> None:
    """In a folder below, the program and its default store are those of the project's folder."""
    (shop / "flow.toml").write_text('app = "shop.py:app"')
    (shop / "deep").mkdir()
    os.chdir(shop / "deep")
    for _ in range(2):
        target = find(None)
        assert target.app is not None
        assert target.file is not None
        assert Path(target.file.path) == shop / ".flow" / "shop.db"
    assert location_of("").file == shop / "shop.py"


def test_a_broker_of_its_own_drops_the_default_store(shop: Path) -> None:
    """A program that is moved to a broker does not bring along the file that nobody chose."""
    location = location_of("shop.py:app")
    assert placed(location, Place(broker="amqp://mq")).settings.store is None
    kept = placed(location, Place(broker="amqp://mq", store="postgresql://db/shop")).settings
    assert str(kept.store) == "postgresql://db/shop"


def test_a_name_that_is_not_the_programs(shop: Path) -> None:
    """A flow.toml whose name is not that of the program is refused, and says so."""
    (shop / "flow.toml").write_text('name = "orders"\napp = "shop.py:app"')
    with pytest.raises(ConfigurationError, match=r"flow.toml: name: the program says .*'shop'"):
        find(None)


def test_no_program_is_named(shop: Path) -> None:
    """A command that runs a program says what to type when none is named."""
    with pytest.raises(ConfigurationError, match="no program is named: name it: FILE:APP"):
        location_of("")


def test_a_store_without_a_broker_cannot_be_reached(shop: Path) -> None:
    """A server's store behind a broker inside one process is refused with what to do."""
    with pytest.raises(ConfigurationError, match="name a broker with --broker"):
        find(Where(name="shop", store="postgresql://db/shop"))
