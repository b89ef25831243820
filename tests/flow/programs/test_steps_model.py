"""The steps program does what a naive model does, whatever happens and wherever it is reloaded."""

from __future__ import annotations

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

from flow.codec import loads
from flow.kernel.commands import RunStep, SendAnswer
from flow.kernel.decide import Accepted, Dropped, Verdict
from flow.kernel.events import (
    AnswerRequested,
    Attempt,
    Event,
    ExecutionStarted,
    PermitRequested,
    ResumeRequested,
    StepFailed,
    StepHeard,
    StepSilent,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    SuspendRequested,
    TimerFired,
)
from flow.kernel.steps import STEP
from flow.plan import Plan
from flow.programs import places, sending
from flow.status import Status
from tests.flow.programs import model_permits
from tests.flow.programs.driver import FAILURE, Run
from tests.flow.programs.model import Model
from tests.flow.programs.shapes import LARGEST, random_plan

WINDOW = 4
# How many examples there are is left to the profile of hypothesis that a run chooses.
OPTIONS = settings(
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NEWS = ("ask1", *model_permits.KINDS)
ANSWERS = st.tuples(
    st.integers(0, 1_000),
    st.sampled_from(("succeed", "succeed", "succeed", "fail", "fail", "skip", "start", *NEWS)),
    st.sampled_from((b"1", b'{"x":1}', b"null")),
)
WELL = ("SUCCESS", "SKIPPED")


@contextmanager
def small_window() -> Generator[None]:
    """Make the window so small that it matters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "DISPATCH_WINDOW", WINDOW)
        yield


class Execution(RuleBasedStateMachine):
    """An execution, a twin that is reloaded before every event, and the model of both."""

    run: Run
    twin: Run
    model: Model
    sound = False
    endings: ClassVar[set[str]] = set()

    def __init__(self) -> None:
        """Begin without an execution."""
        super().__init__()
        self.sent: list[tuple[str, Attempt]] = []
        self.results: dict[int, bytes | None] = {}
        self.commands = 0
        self.waiters: set[str] = set()
        self.owed: set[str] = set()

    # -------------------------------------------------------------------------- events

    @initialize(
        seed=st.integers(0, 2**32),
        size=st.integers(2, 8) | st.integers(9, LARGEST),
        supplied=st.integers(0, 2),
    )
    def start(self, seed: int, size: int, supplied: int) -> None:
        """Start a random workflow with some results that are known already."""
        plan = random_plan(seed, size)
        names = [step.definition.id for step in plan.steps][seed % 3 :: 3][:supplied]
        results = dict.fromkeys(names, b'{"x":7}')
        self.run, self.twin, self.model = Run(plan), Run(plan), Model(plan, WINDOW, 1_000)
        self.model.start({"total": 5}, results)
        event = ExecutionStarted("shop", "hash", b'{"total":5}', results=results)
        with small_window():
            assert isinstance(self.run.decide(event), Accepted)
            self.twin.decide(event)
        self._note_sent()

    @rule(answers=st.lists(ANSWERS, min_size=1, max_size=8))
    def answer(self, answers: list[tuple[int, str, bytes]]) -> None:
        """Answer attempts that are out."""
        for pick, kind, output in answers:
            out = self.model.out()
            choices = [
                (path, attempt)
                for path, attempt in self.sent
                if path in out and out[path].attempt == attempt.number
            ]
            if choices:
                self._answer(*choices[pick % len(choices)], kind, output)

    @precondition(lambda self: self.sent)
    @rule(answer=ANSWERS)
    def answer_late(self, answer: tuple[int, str, bytes]) -> None:
        """Answer any attempt that ever was, perhaps for the second time."""
        pick, kind, output = answer
        self._answer(*self.sent[pick % len(self.sent)], kind, output)

    @rule(ms=st.sampled_from((0, 300, 1_000, 2_500, 6_000)))
    def wait(self, ms: int) -> None:
        """Let time pass, and the timers that are due act, one after the other."""
        for each in (self.run, self.twin):
            each.now_ms += ms
        self.model.now += ms
        while due := self.run.due():
            self.model.fire(due[0].ref.path)
            assert isinstance(self._decide(TimerFired(due[0].ref, due[0].task)), Accepted)

    @rule(pick=st.integers(0, 1_000))
    def fire_a_stale_timer(self, pick: int) -> None:
        """Let a timer of a step act that has moved on: nothing happens."""
        nodes = [node for node in self.run.steps() if node.state is not Status.RETRYING]
        if nodes and self.run.status is Status.RUNNING:
            node = nodes[pick % len(nodes)]
            task = RunStep(attempt=99, epoch=1)
            assert isinstance(self._decide(TimerFired(node.ref, task)), Dropped)

    @rule(clock=st.sampled_from(("run", "stop")), again=st.booleans())
    def suspend(self, clock: Any, *, again: bool) -> None:
        """Suspend, perhaps by a command that is delivered twice."""
        self.model.suspend(clock)
        self.commands += 1
        event = SuspendRequested(f"c{self.commands}", clock)
        verdict = self._decide(event)
        if again and isinstance(verdict, Accepted):
            assert self._decide(event) == verdict

    @rule()
    def resume(self) -> None:
        """Resume what is suspended, or try again what has failed."""
        had_failed, epoch = self.model.root.status == "FAILURE", self.model.epoch
        self.model.resume()
        if had_failed and self.model.epoch > epoch:
            # It goes on, and everybody is owed an answer about its next end.
            self.owed = set(self.waiters)
        self.commands += 1
        self._decide(ResumeRequested(f"c{self.commands}"))

    @rule(pick=st.integers(1, 3))
    def ask(self, pick: int) -> None:
        """Ask for an answer that is kept, perhaps not for the first time."""
        self.waiters.add(f"waiters/w{pick}")
        self.owed.add(f"waiters/w{pick}")
        self._decide(AnswerRequested(f"w{pick}", "shop.reply.1", f"c{pick}"))

    @rule(chance=st.integers(0, 5))
    def abort(self, chance: int) -> None:
        """Abort, but not often."""
        if chance == 0:
            self.model.abort()
            for each in (self.run, self.twin):
                each.abort("abort")
            self._note_sent()
            self._note_answers()

    # ---------------------------------------------------------------------- invariants

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        """Statuses, attempts and timers are those of the model."""
        self.sound = False
        run, model = self.run, self.model
        assert run.status.value == model.root.status
        found = {
            node.path: (node.state.value, node.data.attempt, node.data.spent)
            for node in run.steps()
        }
        expected = {
            path: (status, attempt, spent)
            for path, (status, attempt, spent) in model.states().items()
        }
        others = {path: (status, 0, 0) for path, status in run.states.items() if path not in found}
        assert {**found, **others} == expected
        if run.status in (Status.RUNNING, Status.SUSPENDING):
            silent = [one for one in model.members() if one.silent and one.status == "RUNNING"]
            assert run.data.incident.count("nothing is heard") == len(silent)
        timers = [(one.ref.path, one.task.deadline_ms) for one in run.timers()]
        assert sorted(timers) == sorted(model.timers())
        self.sound = True

    @invariant()
    def a_reloaded_one_is_the_same(self) -> None:
        """The twin, which was reloaded before every event, has the very same tree."""
        assert self.run.tree.snapshot() == self.twin.tree.snapshot()
        assert self.run.tree.number == self.twin.tree.number

    @invariant()
    def what_is_out_is_wanted(self) -> None:
        """A reloaded tree asks for exactly the attempts that are out."""
        tree = self.run.journal.load()
        wanted = [one for one in tree.regenerate() if isinstance(one.task, RunStep)]
        assert {one.ref.path for one in wanted} == set(self.model.out())
        assert self.run.program.attempts_out == len(wanted)

    @invariant()
    def caps_hold(self) -> None:
        """Neither the window nor the cap of a target is exceeded."""
        members = self.model.members()
        out = [node for node in self.run.steps() if node.state.value in ("RUNNING", "RETRYING")]
        assert len(out) <= WINDOW
        for flow in {member.flow for member in members}:
            busy = [
                member.definition
                for key, member in flow.members.items()
                if key.startswith("steps/") and member.status in ("RUNNING", "RETRYING")
            ]
            for step in busy:
                same = [one for one in busy if one.target == step.target]
                assert step.concurrency is None or len(same) <= step.concurrency

    @invariant()
    def results_stay(self) -> None:
        """A result that was recorded is never replaced, unless its step is tried anew."""
        for node in self.run.steps():
            if node.state is Status.SUCCESS:
                output = node.read(STEP).output
                assert self.results.setdefault(node.created, output) == output

    # ------------------------------------------------------------------------- the end

    def teardown(self) -> None:
        """Answer everything: then the execution ends."""
        if not self.sound:
            return
        for _ in range(2_000):
            if self.run.status.ended:
                break
            out = self.model.out()
            live = [one for one in self.sent if one[0] in out]
            if self.run.status in (Status.SUSPENDING, Status.SUSPENDED):
                self.resume()
            elif live:
                self._answer(*live[-1], "succeed", b'{"x":1}')
            else:
                self.wait(60_000)
            self.it_is_as_the_model_says()
            self.a_reloaded_one_is_the_same()
        assert self.run.status.ended
        self.endings.add(self.run.status.value)
        if self.run.status is Status.SUCCESS:
            root = self.model.root
            assert loads(self.run.result()) == root.value(root.plan.output)

    # ------------------------------------------------------------------------- helpers

    def _answer(self, path: str, attempt: Attempt, kind: str, output: bytes) -> None:
        value = loads(output) if kind == "succeed" else None
        counts = self.model.answer(path, attempt.epoch, attempt.number, kind, value)
        events: dict[str, Event] = {
            "succeed": StepSucceeded(attempt, output),
            "fail": StepFailed(attempt, FAILURE),
            "skip": StepSkipped(attempt, "nothing to do"),
            "start": StepStarted(attempt),
            "silent": StepSilent(attempt),
            "heard": StepHeard(attempt),
            "ask1": PermitRequested(attempt, "ask1", "w1"),
            "ask2": PermitRequested(attempt, "ask2", "w2"),
        }
        verdict = self._decide(events[kind])
        assert isinstance(verdict, Accepted if counts else Dropped)

    def _decide(self, event: Event) -> Verdict:
        self.sound = False
        with small_window():
            verdict = self.run.decide(event)
            before = self.run.last
            # Errors are compared as texts: they are not equal although they say the same.
            assert str(self.twin.reload().decide(event)) == str(verdict)
        assert before is not None
        assert self.twin.last is not None
        assert before.changes == self.twin.last.changes
        if isinstance(verdict, Dropped):
            assert not before.changes
        self._note_sent()
        self._note_answers()
        return verdict

    def _note_answers(self) -> None:
        """Check that exactly those are answered who are owed an answer, as soon as it is known."""
        assert self.run.last is not None
        outputs = self.run.last.changes.outputs
        answered = {one.ref.path for one in outputs if isinstance(one.task, SendAnswer)}
        assert answered == (self.owed if self.run.status.ended else set())
        self.owed -= answered

    def _note_sent(self) -> None:
        sent = self.run.sent()
        expected, self.model.sent = self.model.sent, []
        assert [(path, task.epoch, task.attempt) for path, task in sent] == expected
        if sent:
            assert self.run.status is Status.RUNNING
        for path, task in sent:
            expect_allowed(self.run, path)
            node = self.run.tree.node(path)
            self.sent.append((path, Attempt(node.created, task.epoch, task.attempt)))


def expect_allowed(run: Run, path: str) -> None:
    """Check that a step may be sent, by the definition alone."""
    node = run.tree.node(path)
    step = places.planned(run.plan, node)
    policy = step.definition.retry
    assert node.read(STEP).spent < (1 if policy is None else policy.max_attempts)
    plan = places.plan_of(run.plan, node)
    for number in step.requires:
        assert is_satisfied(run, plan, path, number)


def is_satisfied(run: Run, plan: Plan, path: str, number: int) -> bool:
    """Return whether a step that another one requires is done with, by the definition alone."""
    required = plan.steps[number]
    prefix = path.rpartition("/")[0]
    states = run.states

    def state(step: int | None) -> str:
        key = "" if step is None else plan.steps[step].definition.id
        return states.get(f"{prefix}/{key}", "")

    if number in plan.outside or state(number) in WELL or state(required.fallback) in WELL:
        return True
    return required.definition.optional and state(number) == "FAILURE"


@pytest.mark.timeout(900)
def test_it_behaves_like_the_model() -> None:
    """Whatever happens, in whatever order, the program and a reloaded one do as the model says."""
    run_state_machine_as_test(Execution, settings=OPTIONS)
    assert {"SUCCESS", "FAILURE"} <= Execution.endings
