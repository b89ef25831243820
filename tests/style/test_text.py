"""Every text file: no traces of the machine it was written on, no stray blanks, no dead links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.style.source import ROOT, Fault, expect_none, project_files, report

# Spelled in parts, for this file is searched as well.
FOREIGN = re.compile(r"(?<![\w.])" + "/" + r"work(?![\w-])|(?<!\w)\." + r"library\b")
LINK = re.compile(
    r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*<?([^\s>]+)"
)
CODE = re.compile(r"`[^`]*`")


@cache
def text_of(path: str) -> str:
    """Return the text of a file: empty if it is no text."""
    raw = (ROOT / path).read_bytes()
    try:
        return "" if b"\0" in raw else raw.decode()
    except UnicodeDecodeError:
        return ""


def foreign_paths(path: str, text: str) -> Iterator[Fault]:
    """Yield the lines that name a folder of the machine this was written on."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := FOREIGN.search(line):
            yield Fault(
                path, number, f"names {found[0]}, which no other machine has: say it in general"
            )


def trailing_blanks(path: str, text: str) -> Iterator[Fault]:
    """Yield the lines that end in blanks, and a file whose last line does not end."""
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if line != line.rstrip():
            yield Fault(path, number, "blanks at the end of the line: remove them")
    if lines[-1]:
        yield Fault(path, len(lines), "the last line must end with a newline")


def dead_links(path: str, text: str, root: Path) -> Iterator[Fault]:
    """Yield the links of a Markdown file that lead to no file of the project."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if fenced:
            continue
        for found in LINK.finditer(CODE.sub("", line)):
            target = (found[1] or found[2]).partition("#")[0]
            if (
                target
                and not re.match(r"[a-z][a-z0-9+.-]*:", target)
                and not _exists(path, target, root)
            ):
                yield Fault(path, number, f"the link to {target} leads nowhere: links are relative")


def _exists(path: str, target: str, root: Path) -> bool:
    return not target.startswith("/") and (root / path).parent.joinpath(target).exists()


@pytest.mark.parametrize("path", project_files())
def test_text_is_clean(path: str) -> None:
    """A file names no foreign folder and ends no line in blanks."""
    text = text_of(path)
    expect_none([*foreign_paths(path, text), *trailing_blanks(path, text)])


@pytest.mark.parametrize("path", [path for path in project_files() if path.endswith(".md")])
def test_links_resolve(path: str) -> None:
    """Every link to a file leads to one."""
    expect_none(dead_links(path, text_of(path), ROOT))


@pytest.mark.parametrize("wrong", ["see /{}/main", "cd /{}", "from .{}/env"])
def test_a_foreign_path_is_found(wrong: str) -> None:
    """A path of the machine this was written on is reported."""
    line = wrong.format("library" if "." in wrong else "work")
    assert report(foreign_paths("a.md", f"fine\n{line}\n")).startswith("a.md:2: names ")


@pytest.mark.parametrize("right", ["/worker", "docs/workflows.md", "team/work", "a /work-around"])
def test_words_are_not_paths(right: str) -> None:
    """Words that only begin like such a path are left alone."""
    assert report(foreign_paths("a.md", right)) == ""


def test_trailing_blanks_are_found() -> None:
    """Blanks at the end of a line, and a last line that does not end, are reported."""
    faults = [fault.line for fault in trailing_blanks("a.md", "one \ntwo\nthree")]
    assert faults == [1, 3]
    assert report(trailing_blanks("a.md", "one\n\ntwo\n")) == ""


def test_dead_links_are_found(tmp_path: Path) -> None:
    """A link to a missing file is reported; links to pages, headings and code are not."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "there.md").touch()
    text = """\
[ok](there.md#part), [ok](../docs/there.md), [ok](https://example.org), [ok](#part)
`[code](nowhere.md)`
```
[code](nowhere.md)
```
[bad](gone.md "A title") and ![bad](gone.png)
[bad]: gone.txt
[bad](/docs/there.md)
"""
    faults = [fault.line for fault in dead_links("docs/a.md", text, tmp_path)]
    assert faults == [6, 6, 7, 8]
