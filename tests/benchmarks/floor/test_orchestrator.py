"""The floor's orchestrator: what follows from the start of an execution, and from each step."""

import pytest

from benchmarks.floor.orchestrator import Batch, Live, Shape


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("three", [["step_0"], ["step_1"], ["step_2"]]),
        ("fan", [[f"leg_{number}" for number in range(10)], ["join"]]),
    ],
)
def test_the_steps_of_a_shape(kind: str, expected: list[list[str]]) -> None:
    """Every step is requested once, after what it waits for, and written down along with that."""
    shape, live = Shape(kind), Live(0.0)
    rounds: list[list[str]] = []
    batch = Batch()
    shape.begin(batch, "e")
    has_ended = False
    while batch.requests:
        steps = [name.partition("/")[2] for name, _ in batch.requests]
        assert [change[:2] for change in batch.changes["e"]] == [[s, "RUNNING"] for s in steps]
        rounds.append(steps)
        batch = Batch()
        for _ in steps:
            assert not has_ended
            live.done += 1
            has_ended = shape.go_on(batch, "e", live, 1)
    assert rounds == expected
    assert has_ended
