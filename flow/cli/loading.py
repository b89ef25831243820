"""Loading a user's program: FILE:APP or module.path:app becomes a Flow, or one clear line."""

import importlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from flow.app import Flow
from flow.cli.failures import ProgramBroken, one_line
from flow.errors import ConfigurationError, FlowError, listed, nearest

__all__ = ["Location", "load", "locate"]

_OURS: Final = ("flow", "brokers", "store")
_EXAMPLE: Final = "write FILE:NAME, such as shop.py:app, or module.path:name"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a program's flow is.

    Args:
        text: What was written: `FILE:APP`.
        module: The module's name.
        attribute: The name of the flow in it.
        file: The file, if it was named by its file.
        root: The folder that imports begin at.
    """

    text: str
    module: str
    attribute: str
    file: Path | None
    root: Path

    @property
    def source(self) -> str:
        """What was written before the colon."""
        return self.text.rpartition(":")[0]


def locate(text: str, folder: Path | None = None) -> Location:
    """Return where a program's flow is; nothing is imported yet.

    Args:
        text: `FILE:APP` or `module.path:app`.
        folder: Where files and modules are looked for, by default the present folder.

    Raises:
        ConfigurationError: It is written wrongly, or there is no such file.
    """
    source, _, attribute = text.rpartition(":")
    if not source or not attribute.isidentifier():
        raise ConfigurationError(f"the program {text!r}", _EXAMPLE)
    if source.endswith(".py") or "/" in source:
        return _located_file(text, source, attribute, folder or Path.cwd())
    if not all(part.isidentifier() for part in source.split(".")):
        raise ConfigurationError(f"the program {text!r}", _EXAMPLE)
    return Location(text, source, attribute, None, folder or Path.cwd())


def load(location: Location) -> Flow:
    """Import a program, and return its flow.

    Args:
        location: Where it is.

    Raises:
        ConfigurationError: There is no such module or flow.
        ProgramBroken: It cannot be imported.
    """
    if str(location.root) not in sys.path:
        sys.path.insert(0, str(location.root))
    try:
        module = _imported(location)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{location.module}.".startswith(f"{error.name}."):
            raise _broken(location, error) from error
        reason = f"there is no module {error.name!r} below {location.root}"
        raise ConfigurationError(f"the program {location.text!r}", reason) from error
    except (Exception, SystemExit) as error:
        raise _broken(location, error) from error
    return _flow_of(location, module)


def _located_file(text: str, source: str, attribute: str, folder: Path) -> Location:
    file = (folder / source).resolve()
    if not file.is_file():
        hint = "it is a folder" if file.is_dir() else "there is no such file"
        raise ConfigurationError(f"the program {text!r}", f"{hint}: {source}")
    parts, root = [file.stem], file.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if parts[0] in _OURS:
        reason = f"a file cannot be called {file.name}: that name belongs to flowmq; rename it"
        raise ConfigurationError(f"the program {text!r}", reason)
    return Location(text, ".".join(parts), attribute, file, root)


def _imported(location: Location) -> ModuleType:
    file, name = location.file, location.module
    if file is None or "." in name:
        return importlib.import_module(name)
    if name in sys.modules or name in sys.stdlib_module_names:
        # A file called json.py is a fine program, but it is not the module json.
        name = f"program_{name}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _flow_of(location: Location, module: ModuleType) -> Flow:
    found = getattr(module, location.attribute, None)
    if isinstance(found, Flow):
        return found
    flows = [name for name, value in vars(module).items() if isinstance(value, Flow)]
    have = f"; it has {listed(flows)}" if flows else "; it has no Flow at all"
    if hasattr(module, location.attribute):
        kind = type(found).__name__
        reason = f"{location.attribute} is of type {kind}, not a Flow{have}"
    else:
        hint = "" if len(flows) == 1 else nearest(location.attribute, flows)
        reason = f"{location.source} has no {location.attribute!r}{have}{hint}"
    raise ConfigurationError(f"the program {location.text!r}", reason)


def _broken(location: Location, error: BaseException) -> ProgramBroken:
    if isinstance(error, SyntaxError) and error.filename:
        where = _place(error.filename, error.lineno or 1)
        problem = f"{type(error).__name__}: {error.msg}"
    elif isinstance(error, SystemExit):
        where = _innermost(location, error)
        problem = 'it exits when it is imported; put that under if __name__ == "__main__":'
    else:
        where = _innermost(location, error)
        # Our own errors speak for themselves.
        kind = "" if isinstance(error, FlowError) else f"{type(error).__name__}: "
        problem = f"{kind}{error}" if str(error) else type(error).__name__
    return ProgramBroken(location.text, where, one_line(problem))


def _innermost(location: Location, error: BaseException) -> str:
    """Return the last place of a traceback that is in the user's own files."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(location.root)
        and "site-packages" not in Path(frame.filename).parts
    ]
    return _place(own[-1].filename, own[-1].lineno or 1) if own else ""


def _place(filename: str, line: int) -> str:
    path = Path(filename)
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}:{line}"
