"""Tests of `flow`, the façade: it is cheap to import, and has what it names."""

import subprocess
import sys
from pathlib import Path

import pytest

import flow
from flow.app import Flow

ROOT = Path(__file__).resolve().parents[1]


def test_the_facade_loads_nothing_by_itself() -> None:
    """`import flow` is cheap: the engine and its libraries come with what is asked for."""
    heavy = "'flow.app', 'pydantic', 'networkx', 'asyncio', 'cyclopts', 'rich', 'aio_pika'"
    program = f"import sys, flow; print([each for each in ({heavy}) if each in sys.modules])"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert ended.stdout == "[]\n"


def test_a_public_name_is_imported_once_it_is_asked_for() -> None:
    """A name of the façade is the very object of its module; another name is an error."""
    assert flow.Flow is Flow
    assert {"Flow", "Step", "workflow_input"} <= set(dir(flow))
    with pytest.raises(AttributeError, match="has no attribute 'Flaw'"):
        getattr(flow, "Flaw")  # noqa: B009 - a type checker would refuse the attribute
