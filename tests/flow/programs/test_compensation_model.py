"""Whatever happens to a saga, it takes back what it did: in order, once, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flow.kernel.decide import Accepted, Dropped, Verdict
from flow.kernel.events import (
    AbortRequested,
    AnswerRequested,
    Attempt,
    Event,
    ExecutionStarted,
    PermitRequested,
    ResolveRequested,
    ResumeRequested,
    StepCancelled,
    StepFailed,
    StepHeard,
    StepSilent,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    SuspendRequested,
    TimerFired,
    UndoRequested,
)
from flow.programs import compensation, sending
from flow.status import Status
from tests.flow.programs.driver import FAILURE, REFUSED, Run
from tests.flow.programs.sagas import Witness, random_saga

OPTIONS = settings(
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
KINDS = (
    *("succeed", "succeed", "succeed", "succeed", "fail", "fail", "final", "refuse"),
    *("skip", "pass", "start", "cancelled", "let go", "ask1", "ask2", "silent", "heard"),
)
ANSWERS = st.tuples(st.integers(0, 1_000), st.sampled_from(KINDS))
WINDOW = 4
RESUMABLE = ("SUSPENDING", "SUSPENDED", "FAILURE", "COMPENSATING")


def answer_of(kind: str, attempt: Attempt) -> Event:
    """Return an answer to an attempt."""
    answers: dict[str, Event] = {
        "succeed": StepSucceeded(attempt, b'{"x":1}'),
        "fail": StepFailed(attempt, FAILURE),
        "final": StepFailed(attempt, FAILURE, retryable=False),
        "refuse": StepFailed(attempt, REFUSED, retryable=False),
        "skip": StepSkipped(attempt, "nothing to do"),
        "pass": StepSkipped(attempt, "not today", began=False),
        "start": StepStarted(attempt),
        "cancelled": StepCancelled(attempt, began=True),
        "let go": StepCancelled(attempt, began=False),
        "ask1": PermitRequested(attempt, "ask1", "w1"),
        "ask2": PermitRequested(attempt, "ask2", "w2"),
        "silent": StepSilent(attempt),
        "heard": StepHeard(attempt),
    }
    return answers[kind]


@contextmanager
def small_window() -> Generator[None]:
    """Make the window so small that it matters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "DISPATCH_WINDOW", WINDOW)
        patch.setattr(compensation, "DISPATCH_WINDOW", WINDOW)
        yield


class Saga(RuleBasedStateMachine):
    """An execution with undos, a twin that is reloaded before every event, and a witness."""

    run: Run
    twin: Run
    witness: Witness
    sound = False
    endings: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        """Begin without an execution."""
        super().__init__()
        self.sent: list[tuple[str, Attempt]] = []
        self.obeyed: list[tuple[Event, Verdict]] = []
        self.commands = 0

    # -------------------------------------------------------------------------- events

    @initialize(
        seed=st.integers(0, 2**32),
        size=st.integers(2, 6) | st.integers(7, 25),
        supplied=st.integers(0, 2),
    )
    def start(self, seed: int, size: int, supplied: int) -> None:
        """Start a random workflow with some results that are known already."""
        plan = random_saga(seed, size)
        names = [step.definition.id for step in plan.steps][seed % 3 :: 3][:supplied]
        self.run, self.twin = Run(plan), Run(plan)
        self.witness = Witness(self.run)
        results = dict.fromkeys(names, b'{"x":7}')
        self._decide(ExecutionStarted("shop", "hash", b'{"total":5}', results=results))

    @precondition(lambda self: self.run.out)
    @rule(answers=st.lists(ANSWERS, min_size=1, max_size=8))
    def answer(self, answers: list[tuple[int, str]]) -> None:
        """Answer attempts that are out."""
        for pick, kind in answers:
            out = self.run.out
            if out:
                self._decide(answer_of(kind, self.run.attempt(out[pick % len(out)])))

    @precondition(lambda self: self.sent)
    @rule(answers=st.lists(ANSWERS, min_size=1, max_size=4))
    def answer_late(self, answers: list[tuple[int, str]]) -> None:
        """Answer any attempts that ever were, perhaps for the second time."""
        for pick, kind in answers:
            self._decide(answer_of(kind, self.sent[pick % len(self.sent)][1]))

    @precondition(lambda self: any(node.data.unsettled for node in self.run.steps()))
    @rule(answers=st.lists(ANSWERS, min_size=1, max_size=4))
    def settle(self, answers: list[tuple[int, str]]) -> None:
        """Say what became of attempts that were ended by force."""
        for pick, kind in answers:
            nodes = [node for node in self.run.steps() if node.data.unsettled]
            if nodes:
                attempt = self.run.attempt(nodes[pick % len(nodes)].path)
                self._decide(answer_of(kind, attempt))

    @rule(ms=st.sampled_from((0, 300, 1_000, 2_500, 6_000, 60_000)))
    def wait(self, ms: int) -> None:
        """Let time pass, and the timers that are due act, one after the other."""
        for each in (self.run, self.twin):
            each.now_ms += ms
        for _ in range(500):
            due = self.run.due()
            if not due:
                return
            verdict = self._decide(TimerFired(due[0].ref, due[0].task))
            assert isinstance(verdict, Accepted)
        raise AssertionError("timers come due without end")

    @precondition(lambda self: self.run.stands("RUNNING"))
    @rule(clock=st.sampled_from(("run", "stop")))
    def suspend(self, clock: Any) -> None:
        """Suspend."""
        self._command(SuspendRequested(self._name(), clock))

    @precondition(lambda self: self.run.status.value in RESUMABLE)
    @rule()
    def resume(self) -> None:
        """Resume what is suspended, or try again what has failed."""
        self._command(ResumeRequested(self._name()))

    @precondition(lambda self: not self.run.status.ended)
    @rule(chance=st.integers(0, 2), compensate=st.sampled_from((True, True, False)))
    def abort(self, chance: int, *, compensate: bool) -> None:
        """Abort, but not often."""
        if chance == 0:
            self._command(AbortRequested(self._name(), "", compensate))

    @rule(picks=st.lists(st.integers(0, 1_000), max_size=2))
    def undo(self, picks: list[int]) -> None:
        """Undo by hand, all or some."""
        names = [step.definition.id for step in self.run.plan.steps]
        chosen = tuple(names[pick % len(names)] for pick in picks)
        self._command(UndoRequested(self._name(), chosen))

    @precondition(lambda self: any(node.key == "undo" for node in self.run.steps()))
    @rule(pick=st.integers(0, 1_000))
    def resolve(self, pick: int) -> None:
        """Resolve an undo, most often one that failed."""
        undos = [node for node in self.run.steps() if node.key == "undo"]
        failed = [undo for undo in undos if undo.state is Status.FAILURE] or undos
        if failed:
            path = failed[pick % len(failed)].path.removesuffix("/undo")
            self._command(ResolveRequested(self._name(), path, "by hand"))

    @rule(pick=st.integers(1, 3))
    def ask(self, pick: int) -> None:
        """Ask for an answer that is kept."""
        self._decide(AnswerRequested(f"w{pick}", "shop.reply.1", f"c{pick}"))

    @precondition(lambda self: self.obeyed)
    @rule(pick=st.integers(0, 1_000))
    def repeat(self, pick: int) -> None:
        """Deliver a command that was obeyed once more: it is answered as it was then."""
        event, verdict = self.obeyed[pick % len(self.obeyed)]
        number = self.run.tree.number
        assert self._decide(event) == verdict
        assert self.run.tree.number == number

    # ---------------------------------------------------------------------- invariants

    @invariant()
    def who_waits_is_told(self) -> None:
        """Nobody waits for the end of what has ended."""
        if self.run.status.ended:
            waiters = [node for node in self.run.tree.walk() if node.machine.name == "waiter"]
            assert all(node.state is Status.SUCCESS for node in waiters)

    def teardown(self) -> None:
        """Answer everything: then the execution ends."""
        if not self.sound:
            return
        for _ in range(1_000):
            if self.run.status.ended:
                break
            if self.run.status in (Status.SUSPENDING, Status.SUSPENDED):
                self.resume()
            elif self.run.out:
                self._decide(answer_of("succeed", self.run.attempt(self.run.out[-1])))
            else:
                self.wait(60_000)
        assert self.run.status.ended
        self.endings[self.run.status.value] += 1

    # ------------------------------------------------------------------------- helpers

    def _name(self) -> str:
        self.commands += 1
        return f"c{self.commands}"

    def _command(self, event: Event) -> None:
        verdict = self._decide(event)
        if isinstance(verdict, Accepted):
            self.obeyed.append((event, verdict))

    def _decide(self, event: Event) -> Verdict:
        self.sound = False
        with small_window():
            verdict = self.run.decide(event)
            if self.twin.journal.records:
                self.twin.reload()
            # Errors are compared as texts: they are not equal although they say the same.
            assert str(self.twin.decide(event)) == str(verdict)
        assert self.run.last is not None
        assert self.twin.last is not None
        assert self.run.last.changes == self.twin.last.changes
        assert self.run.tree.snapshot() == self.twin.tree.snapshot()
        if isinstance(verdict, Dropped):
            assert not self.run.last.changes
        for path, task in self.run.sent():
            attempt = Attempt(self.run.tree.node(path).created, task.epoch, task.attempt)
            self.sent.append((path, attempt))
        self.witness.look(event, verdict)
        self.sound = True
        return verdict


@pytest.mark.timeout(900)
def test_sagas_take_back_what_they_did() -> None:
    """Whatever happens, in whatever order, what began is undone once, in order, and after word."""
    Saga.endings.clear()
    run_state_machine_as_test(Saga, settings=OPTIONS)
    assert set(Saga.endings) >= {"SUCCESS", "FAILURE", "COMPENSATED"}, Saga.endings
