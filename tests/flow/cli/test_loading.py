"""Loading programs."""

import sys
from pathlib import Path

import pytest

from flow.cli.failures import ProgramBroken
from flow.cli.loading import load, locate
from flow.errors import ConfigurationError


def test_a_file_is_loaded(shop: Path) -> None:
    """A file is named by its path, and its folder is where imports begin."""
    location = locate("shop.py:app")
    assert (location.module, location.root, location.source) == ("shop", shop, "shop.py")
    assert load(location).name == "shop"
    assert str(shop) in sys.path


def test_a_module_is_loaded(shop: Path) -> None:
    """A module is named by its path of imports."""
    (shop / "parts").mkdir()
    (shop / "parts" / "flows.py").write_text("from flow import Flow\napp = Flow('deep')\n")
    assert load(locate("parts.flows:app")).name == "deep"


def test_a_file_of_a_package_keeps_its_package(shop: Path) -> None:
    """A file beside an __init__.py is imported as a part of its package."""
    (shop / "pack").mkdir()
    (shop / "pack" / "__init__.py").touch()
    (shop / "pack" / "names.py").write_text("NAME = 'packed'\n")
    text = "from flow import Flow\nfrom .names import NAME\napp = Flow(NAME)\n"
    (shop / "pack" / "flows.py").write_text(text)
    location = locate("pack/flows.py:app")
    assert (location.module, location.root) == ("pack.flows", shop)
    assert load(location).name == "packed"


def test_a_file_may_be_called_like_a_known_module(shop: Path) -> None:
    """A file called json.py does not become the module json."""
    (shop / "json.py").write_text("from flow import Flow\napp = Flow('named')\n")
    before = sys.modules.get("json")
    assert load(locate("json.py:app")).name == "named"
    assert sys.modules.get("json") is before


@pytest.mark.parametrize("text", ["", ":app", "shop.py:", "shop.py:a b", "a b:app", "folder/:app"])
def test_what_names_no_program_is_refused(shop: Path, text: str) -> None:
    """What is not FILE:NAME or module:name is refused with an example, or as a folder."""
    (shop / "folder").mkdir()
    with pytest.raises(ConfigurationError, match=r"shop\.py:app|it is a folder"):
        locate(text)


def test_a_module_that_the_program_lacks_is_its_fault(shop: Path) -> None:
    """A missing import inside a program is told with the place of that import."""
    (shop / "bad.py").write_text("import shop\nimport nowhere_at_all\n")
    with pytest.raises(ProgramBroken, match=r"bad\.py:2: ModuleNotFoundError"):
        load(locate("bad.py:app"))


def test_a_program_without_a_flow(shop: Path) -> None:
    """A module without any Flow says so."""
    (shop / "none.py").write_text("app = 1\n")
    with pytest.raises(ConfigurationError, match="of type int, not a Flow; it has no Flow at all"):
        load(locate("none.py:app"))
