"""The laws of code, each a function from a file to its faults.

`test_tidy.py` applies them and proves that each of them can fail. Numbers stand at the top.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator

from tests.style.source import Fault, Function, Source

FUNCTION_LINES = 50
FILE_LINES = 500
CLASS_METHODS = 20
PARAMETERS = 6
NESTING = 3

# Where a law gives way, and why.
LATE_IMPORTS = (
    "flow/app.py",
    "flow/adapters.py",  # the composition root: imports what the URLs choose
    "flow/cli/",  # `flow --help` need not import the engine
    "flow/planner/graph.py",  # networkx takes long to import, and most commands sort nothing
    "flow/codec/yaml.py",  # PyYAML takes long to import, and only reports are YAML
)
ADAPTER_NAMES = ("flow/adapters.py",)  # the only one that knows adapters, by string
TASK_MAKERS = (
    "flow/runtime/tasks.py",  # owns every task of the runtime
    "brokers/rabbitmq/tasks.py",  # owns those of a connection, below the runtime
    "flow/testing/simulation/loop.py",  # an event loop makes tasks
    "flow/testing/simulation/tasks.py",  # owns those of simulated servers and adapters
)
SLEEPERS = (
    "tests/flow/testing/",  # proves virtual time
    "tests/simulation/",  # runs in virtual time
    "tests/system/",  # waits for real processes
    "tests/servers/",  # waits for real servers
)

Law = Callable[[Source], Iterator[Fault]]


def function_length(source: Source) -> Iterator[Fault]:
    """A function has at most 50 lines, its docstring not counted."""
    for function in source.functions:
        lines = _lines(function)
        if lines > FUNCTION_LINES:
            wrong = f"{function.name} has {lines} lines: split it, {FUNCTION_LINES} are allowed"
            yield source.fault(function, wrong)


def file_length(source: Source) -> Iterator[Fault]:
    """A file has at most 500 lines."""
    lines = len(source.text.splitlines())
    if lines > FILE_LINES:
        wrong = f"the file has {lines} lines: split it, {FILE_LINES} are allowed"
        yield Fault(source.path, lines, wrong)


def class_size(source: Source) -> Iterator[Fault]:
    """A class has at most 20 methods."""
    for node in source.nodes:
        if not isinstance(node, ast.ClassDef):
            continue
        methods = {item.name for item in node.body if isinstance(item, Function)}
        if len(methods) > CLASS_METHODS:
            wrong = f"{node.name} has {len(methods)} methods: {CLASS_METHODS} are allowed"
            yield source.fault(node, wrong)


def parameters(source: Source) -> Iterator[Fault]:
    """A function has at most 6 parameters, `self` and `cls` not counted."""
    for function in source.functions:
        spec = function.args
        names = [each.arg for each in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
        names += [each.arg for each in (spec.vararg, spec.kwarg) if each]
        if names and names[0] in {"self", "cls"}:
            del names[0]
        if len(names) > PARAMETERS:
            wrong = (
                f"{function.name} takes {len(names)} parameters: group them in a frozen value, "
                f"{PARAMETERS} are allowed"
            )
            yield source.fault(function, wrong)


def nesting(source: Source) -> Iterator[Fault]:
    """Blocks are nested at most 3 deep in a function."""
    for function in source.functions:
        for node in _too_deep(function.body, 0):
            wrong = f"{function.name} nests deeper than {NESTING}: return early, or name the inside"
            yield source.fault(node, wrong)


def unfinished(source: Source) -> Iterator[Fault]:
    """No comment or docstring says that work is left to do."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        if found := re.search(r"\b(TODO|FIXME|XXX)\b", line):
            wrong = f"{found[0]}: do it now, or write it into the issue tracker"
            yield Fault(source.path, number, wrong)


def swallowed(source: Source) -> Iterator[Fault]:
    """No bare `except`, and no `except Exception` that does nothing."""
    for node in source.nodes:
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            yield source.fault(node, "a bare except: name the exceptions")
        elif _name(node.type) in {"Exception", "BaseException"} and all(map(_is_idle, node.body)):
            wrong = f"except {_name(node.type)} does nothing: name what may be ignored, or log it"
            yield source.fault(node, wrong)


def late_imports(source: Source) -> Iterator[Fault]:
    """Imports stand at the top of the file."""
    if source.under(*LATE_IMPORTS):
        return
    for function in source.functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                wrong = f"import inside {function.name}: move it to the top of the file"
                yield source.fault(node, wrong)


def adapter_names(source: Source) -> Iterator[Fault]:
    """Inside flow only the composition root names an adapter, even as a string."""
    if not source.under("flow/") or source.under(*ADAPTER_NAMES):
        return
    for node, text in _strings(source):
        if re.match(r"(brokers|store)\.[a-z]", text):
            yield source.fault(node, f'"{text}" names an adapter: only flow/adapters.py may')


def python_sql(source: Source) -> Iterator[Fault]:
    """Statements of a store live in .sql files, one each."""
    if not source.under("store/"):
        return
    for node, text in _strings(source):
        if _SQL.search(text):
            start = " ".join(text.split())[:30]
            yield source.fault(node, f'SQL in Python, "{start}": move it to a .sql file')


def stray_tasks(source: Source) -> Iterator[Fault]:
    """Tasks are made by a task group, which owns them."""
    if source.under(*TASK_MAKERS):
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and _is_stray(_name(node.func)):
            wrong = f"{_name(node.func)} makes a task without an owner: use a task group"
            yield source.fault(node, wrong)


def tests_speak(source: Source) -> Iterator[Fault]:
    """Every test says in one sentence what it proves."""
    for test in _tests(source):
        text = ast.get_docstring(test) or ""
        if not re.fullmatch(r"[^\n]+[.!?]", text) or re.search(r"[a-z)][.!?] [A-Z]", text):
            yield source.fault(test, f"{test.name} needs a docstring: one sentence, on one line")


def tests_prove(source: Source) -> Iterator[Fault]:
    """Every test asserts something, or expects an error."""
    for test in _tests(source):
        if not any(map(_is_proof, ast.walk(test))):
            wrong = (
                f"{test.name} asserts nothing: add an assert, pytest.raises, or an expect_… call"
            )
            yield source.fault(test, wrong)


def real_sleep(source: Source) -> Iterator[Fault]:
    """No test waits for time to pass: it waits for an event, or in virtual time."""
    if not source.under("tests/") or source.under(*SLEEPERS):
        return
    for node in source.nodes:
        if not isinstance(node, ast.Call) or _name(node.func) not in _SLEEPS:
            continue
        if [ast.unparse(argument) for argument in node.args] != ["0"]:
            wrong = f"{_name(node.func)} really sleeps: wait for an event, or use virtual time"
            yield source.fault(node, wrong)


CODE_LAWS: tuple[Law, ...] = (
    function_length,
    file_length,
    class_size,
    parameters,
    nesting,
    swallowed,
    late_imports,
    stray_tasks,
)
SOURCE_LAWS: tuple[Law, ...] = (*CODE_LAWS, unfinished, adapter_names, python_sql)
TEST_LAWS: tuple[Law, ...] = (*CODE_LAWS, tests_speak, tests_prove, real_sleep)

_BLOCKS = (
    *(ast.If, ast.For, ast.AsyncFor, ast.While),
    *(ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match),
)
_SLEEPS = {"asyncio.sleep", "anyio.sleep", "time.sleep", "sleep"}
_SQL = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|WITH|BEGIN|COMMIT|ROLLBACK|PRAGMA"
    r"|SAVEPOINT|RELEASE|VACUUM|ATTACH|TRUNCATE|LISTEN|NOTIFY|UNLISTEN|SET [A-Za-z])\b"
    r"|(?i:\b(select\s.+\sfrom|insert\s+into|delete\s+from|update\s+\w+\s+set)\s)"
    r"|(?i:\b(create|alter|drop)\s+(table|index|view|schema|unique|type|sequence)\s)",
    re.DOTALL,
)


def _lines(function: Function) -> int:
    docstring = function.body[0] if ast.get_docstring(function) else None
    said = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - said


def _too_deep(body: Iterable[ast.AST], depth: int) -> Iterator[ast.AST]:
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            continue  # it is counted by itself
        inside = depth + isinstance(node, _BLOCKS)
        if inside > NESTING:
            yield node
        elif isinstance(node, ast.If):
            yield from _too_deep(node.body, inside)
            # An elif is an If in the `else` of another, no deeper for the eye.
            chained = len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If)
            yield from _too_deep(node.orelse, depth if chained else inside)
        else:
            yield from _too_deep(_statements(node), inside)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    inner = ast.stmt | ast.ExceptHandler | ast.match_case
    return (child for child in ast.iter_child_nodes(node) if isinstance(child, inner))


def _name(node: ast.AST) -> str:
    return ast.unparse(node)


def _is_idle(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass | ast.Continue)


def _is_stray(name: str) -> bool:
    owner, _, function = name.rpartition(".")
    if function == "ensure_future":
        return True
    is_loop = owner in {"", "asyncio"} or owner.endswith(("loop", "loop()"))
    return function == "create_task" and is_loop


def _strings(source: Source) -> Iterator[tuple[ast.AST, str]]:
    """Yield all strings that are not docstrings; in an f-string, each value reads as `x`."""
    skipped = {id(node.value) for node in source.nodes if isinstance(node, ast.Expr)}
    for node in source.nodes:
        if isinstance(node, ast.JoinedStr):
            skipped.update(map(id, node.values))
            yield node, "".join(_text(part) or "x" for part in node.values)
        elif (text := _text(node)) and id(node) not in skipped:
            yield node, text


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _tests(source: Source) -> Iterator[Function]:
    if source.under("tests/") and source.path.rpartition("/")[2].startswith("test_"):
        for function in source.functions:
            if function.name.startswith("test_"):
                yield function


def _is_proof(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = _name(node.func).rpartition(".")[2].lstrip("_")
    return name in {"raises", "fail", "warns"} or name.startswith(
        ("assert", "expect", "check", "exercise", "prove", "verify")
    )
