"""The report shows every rule, every kind of fault, and whoever breaks a rule."""

from __future__ import annotations

from tests.system.chaos import programs
from tests.system.chaos.checker import RULES, Finding, check
from tests.system.chaos.evidence import Evidence, Fault, Start
from tests.system.chaos.history import Wrong
from tests.system.chaos.report import MOST, offenders, table

SHAPES = programs.shape_of(programs.orchestrating())


def test_the_table_has_a_row_for_everything() -> None:
    """Each rule has a row with its count, and so has each kind of fault."""
    evidence = Evidence(
        shapes=SHAPES,
        starts=[Start("fan-1", "fan", asked_ms=1_000, accepted_ms=3_500)],
        faults=[Fault("wipe broker", "broker", 1, 2), Fault("wipe broker", "broker", 3, 4)],
    )
    rows = dict[str, str]()
    text = table(evidence, check(evidence), 7)
    for line in text.splitlines():
        name, _, value = line.strip().rpartition("  ")
        rows[name.strip()] = value.strip()
    assert {rule: rows[rule] for rule in RULES if rule != "accepted starts lost"} == dict.fromkeys(
        RULES[1:], "0"
    )
    assert rows["accepted starts lost"] == "1"
    assert rows["wipe broker"] == "2"
    assert rows["seconds until accepted, p50 / p99"] == "2.5 / 2.5"
    assert text.endswith("SOMETHING IS WRONG")


def test_a_clean_run_is_called_clean() -> None:
    """Where nothing is wrong, the last line says so, and nobody is named."""
    evidence = Evidence(shapes=SHAPES)
    finding = check(evidence)
    assert table(evidence, finding, 7).endswith("nothing is wrong")
    assert offenders(finding) == ""


def test_offenders_are_named() -> None:
    """Each offender has a line, and of too many the rest is counted."""
    finding = Finding()
    finding.add(Wrong("unfinished", f"fan-{number}") for number in range(MOST + 5))
    finding.add([Wrong("effects lost", "fan-1 steps/join")])
    lines = offenders(finding).splitlines()
    assert lines[0] == "unfinished: fan-0"
    assert lines[MOST] == "unfinished: and 5 more"
    assert lines[-1] == "effects lost: fan-1 steps/join"
