"""The laws of code, applied to every file; and for each law, a proof that it can fail."""

from __future__ import annotations

import pytest

from tests.style import laws
from tests.style.source import PACKAGES, Source, expect_none, python_files, read, report


@pytest.mark.parametrize("path", python_files(*PACKAGES))
def test_the_source_keeps_the_laws(path: str) -> None:
    """A source file keeps every law of code."""
    source = read(path)
    expect_none([fault for law in laws.SOURCE_LAWS for fault in law(source)])


@pytest.mark.parametrize("path", python_files("tests", "examples", "benchmarks"))
def test_the_tests_keep_the_laws(path: str) -> None:
    """A test, an example or a benchmark keeps every law of code, and of tests."""
    source = read(path)
    expect_none([fault for law in laws.TEST_LAWS for fault in law(source)])


def body(*lines: str) -> str:
    """Return a function of these lines."""
    return "\n    ".join(("def f(self):", *lines))


def long(count: int) -> str:
    """Return a function of *count* lines, and a docstring of two more."""
    return body('"""Do much.', '"""', *["pass"] * (count - 1))


DEEP = body("for a in b:", "    while a:", "        if a:", "            pass")
DEEPER = DEEP.replace("pass", "with a:\n                    pass")
MATCHED = DEEPER.replace("if a:", "match a:\n              case b:")
CHAIN = body("if a:", "    pass", *["elif a:", "    pass"] * 4)
METHODS = "class C:\n" + "\n".join(f"    def m{n}(self): pass" for n in range(21))

# law, where, what breaks it, what keeps it
CASES = [
    (laws.function_length, "flow/a.py", long(51), long(50)),
    (laws.file_length, "flow/a.py", "a = 1\n" * 501, "a = 1\n" * 500),
    (laws.class_size, "flow/a.py", METHODS, METHODS.rpartition("\n")[0]),
    (laws.parameters, "flow/a.py", "def f(self, a, b, c, *d, e, f, **g): pass", body("pass")),
    (
        laws.parameters,
        "flow/a.py",
        "def f(a, b, c, d, e, f, g): pass",
        "def f(a, b, c, d, e, f): 0",
    ),
    (laws.nesting, "flow/a.py", DEEPER, DEEP),
    (laws.nesting, "flow/a.py", MATCHED, CHAIN),
    (laws.unfinished, "flow/a.py", "a = 1  # TODO: more", "TODOS = 1"),
    (laws.swallowed, "flow/a.py", "try: a\nexcept: raise", "try: a\nexcept OSError: pass"),
    (laws.swallowed, "flow/a.py", "try: a\nexcept Exception: ...", "try: a\nexcept Exception: b()"),
    (laws.late_imports, "flow/a.py", body("import a"), "import a"),
    (laws.late_imports, "store/sqlite/app.py", body("from a import b"), "from a import b"),
    (laws.adapter_names, "flow/a.py", 'a = "brokers.memory.broker"', '"""See store.sqlite."""'),
    (laws.python_sql, "store/a.py", 'run("COMMIT")', 'raise E("Commit the row first")'),
    (laws.python_sql, "store/a.py", 'f"select {a} from b where c"', 'log("nothing to select")'),
    (laws.stray_tasks, "flow/a.py", "asyncio.create_task(f())", "tasks.create_task(f())"),
    (laws.stray_tasks, "flow/a.py", "asyncio.get_running_loop().create_task(f())", "f()"),
    (laws.stray_tasks, "flow/a.py", "ensure_future(f())", "future(f())"),
    (laws.tests_speak, "tests/test_a.py", "def test_a(): pass", "def helper(): pass"),
    (
        laws.tests_speak,
        "tests/test_a.py",
        "def test_a():\n    '''It is so. It is not.'''",
        "def test_a():\n    '''It is so, e.g. here.'''",
    ),
    (laws.tests_prove, "tests/test_a.py", "def test_a(): f()", "def test_a(): assert f()"),
    (laws.tests_prove, "tests/test_a.py", "def test_a(): a.checked", "def test_a(): a.check(b)"),
    (laws.real_sleep, "tests/test_a.py", "await asyncio.sleep(0.1)", "await asyncio.sleep(0)"),
]


@pytest.mark.parametrize(("law", "path", "wrong", "right"), CASES)
def test_each_law_can_fail(law: laws.Law, path: str, wrong: str, right: str) -> None:
    """A law finds what breaks it, with its line, and leaves alone what keeps it."""
    faults = list(law(Source(path, wrong)))
    assert faults
    assert all(str(fault).startswith(f"{path}:{fault.line}: ") for fault in faults)
    assert report(law(Source(path, right))) == ""


def test_no_law_is_without_a_case() -> None:
    """Every law that is applied has a case above that breaks it."""
    proved = {case[0] for case in CASES}
    assert proved == {*laws.SOURCE_LAWS, *laws.TEST_LAWS}


@pytest.mark.parametrize(
    ("law", "path", "text"),
    [
        (laws.late_imports, "flow/app.py", body("import a")),
        (laws.late_imports, "flow/cli/run.py", body("import a")),
        (laws.adapter_names, "flow/adapters.py", 'a = "store.sqlite.store"'),
        (laws.stray_tasks, "flow/runtime/tasks.py", "asyncio.create_task(f())"),
        (laws.real_sleep, "tests/system/test_a.py", "await asyncio.sleep(1)"),
        (laws.python_sql, "flow/a.py", 'a = "COMMIT"'),
    ],
)
def test_each_exception_is_known(law: laws.Law, path: str, text: str) -> None:
    """A law gives way in the few places that are named in it."""
    assert report(law(Source(path, text))) == ""
