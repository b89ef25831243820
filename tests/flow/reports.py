"""Made-up reports, and one that was thought out, for tests."""

from typing import Any, Final

from hypothesis import strategies as st

from flow.codec.moments import decode_moment
from flow.failure import Failure
from flow.report import ACTIONS, Action, Report, StepReport
from flow.status import Status
from flow.workflow import ON_ERROR, ON_UNDO_ERROR
from tests.flow.codec.strategies import FAILURES, NAMES, TEXTS, VALUES

BEGIN_MS: Final = decode_moment("2026-06-17T10:30:00.123Z", "the beginning")
MOMENTS: Final = st.none() | st.integers(-62_135_596_800_000, 253_402_300_799_999)
ATTACHED: Final[st.SearchStrategy[Any]] = st.binary(max_size=8) | VALUES.filter(
    lambda value: not isinstance(value, dict) or value.keys() != {"$bytes"}
)


def _entries(reports: st.SearchStrategy[Any]) -> st.SearchStrategy[StepReport]:
    return st.builds(
        StepReport,
        step=NAMES,
        action=st.sampled_from(ACTIONS),
        status=st.sampled_from(Status),
        started_ms=MOMENTS,
        ended_ms=MOMENTS,
        attempts=st.integers(0, 9),
        failure=st.none() | FAILURES,
        reason=TEXTS,
        metadata=st.dictionaries(TEXTS, ATTACHED, max_size=2),
        report=reports,
    )


def _reports(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Report]:
    return st.builds(
        Report,
        workflow=NAMES,
        execution=NAMES,
        status=st.sampled_from(Status),
        started_ms=MOMENTS,
        ended_ms=MOMENTS,
        on_error=st.sampled_from(ON_ERROR),
        on_undo_error=st.sampled_from(ON_UNDO_ERROR),
        failure=st.none() | FAILURES,
        incident=TEXTS,
        steps=st.lists(_entries(inner), max_size=2).map(tuple),
    )


REPORTS: Final = _reports(st.none() | _reports(st.none()))


def entry(
    step: str, action: Action, status: Status, times: tuple[int, int], **more: Any
) -> StepReport:
    """Return an entry, its times counted from the beginning of the report."""
    begin, end = times
    made: dict[str, Any] = {
        "attempts": 1,
        "started_ms": BEGIN_MS + begin,
        "ended_ms": BEGIN_MS + end,
        **more,
    }
    return StepReport(step=step, action=action, status=status, **made)


def trip() -> Report:
    """Return the report of a trip: the car could not be booked, and the hotel not be cancelled."""
    declined = Failure("shop.errors.Declined", "no car left\nin Lisbon", step="pay")
    car = Report(
        workflow="car",
        execution="trip-7",
        status=Status.COMPENSATED,
        started_ms=BEGIN_MS + 1_333,
        ended_ms=BEGIN_MS + 4_000,
        on_error="compensate",
        failure=declined,
        steps=(
            entry("reserve", "run", Status.SUCCESS, (1_333, 1_433)),
            entry("pay", "run", Status.FAILURE, (1_433, 3_800), attempts=3, failure=declined),
            entry("reserve", "undo", Status.SUCCESS, (3_800, 4_000)),
        ),
    )
    away = Failure("builtins.ConnectionError", "the hotel's system is away, again and again")
    kept = {"ticket": b"%PDF", "price": 2**53 + 1, "seat": None}
    return Report(
        workflow="trip",
        execution="trip-7",
        status=Status.FAILURE,
        started_ms=BEGIN_MS,
        ended_ms=BEGIN_MS + 75_000,
        on_error="compensate",
        failure=Failure("shop.errors.Declined", "no car left\nin Lisbon", step="car"),
        incident="1 undo has failed: hotel",
        steps=(
            entry("flight", "run", Status.SUCCESS, (0, 333), metadata=kept),
            entry("hotel", "run", Status.SUCCESS, (333, 1_333)),
            entry("car", "run", Status.COMPENSATED, (1_333, 4_000), report=car),
            entry("hotel", "undo", Status.FAILURE, (4_000, 74_000), attempts=5, failure=away),
            StepReport(
                step="flight", action="undo", status=Status.SKIPPED, reason="nothing to undo"
            ),
        ),
    )
