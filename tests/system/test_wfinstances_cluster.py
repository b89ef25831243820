"""Real scientific workflows over RabbitMQ and PostgreSQL, with workers in three processes."""

import pytest

from flow import Flow
from flow.status import Status
from store.postgres import PostgresStore
from tests.system import effects, journal, wfinstances
from tests.system.processes import Crew
from tests.system.test_wfinstances import check_order, check_results

pytestmark = [
    pytest.mark.system,
    pytest.mark.long,
    pytest.mark.skipif(bool(wfinstances.missing_folder()), reason=wfinstances.missing_folder()),
]


@pytest.mark.timeout(300)
async def test_each_task_runs_once_in_one_of_three_workers(
    crew: Crew, broker_url: str, database_url: str
) -> None:
    """Every real graph runs to SUCCESS, each task once, and all three workers take part."""
    crew.broker, crew.store = broker_url, database_url
    children = [crew.start("cluster", "orchestrator")]
    children += [crew.start("cluster", "worker") for _ in range(3)]
    for child in children:
        await child.says("ready")
    begins: list[int] = []
    names = wfinstances.names()
    async with Flow("science", broker=crew.broker).play() as app:
        for name in names:
            begins.append(effects.count(crew.effects))
            workflow = await app.workflows.load(wfinstances.legal_name(name))
            execution = await workflow.execute(id=f"run-{name}")
            await execution.result()
            assert set((await execution.steps()).values()) == {Status.SUCCESS}
    for child in children:
        await child.terminate()
    everything = effects.load(crew.effects)
    assert len({effect["pid"] for effect in everything}) == 3
    executions = [f"run-{name}" for name in names]
    found = await journal.read_store(PostgresStore(crew.store), "science", executions)
    for name, begin, end in zip(names, begins, [*begins[1:], len(everything)], strict=True):
        graph, done = wfinstances.load(name), everything[begin:end]
        assert sorted(effect["task"] for effect in done) == sorted(graph.parents)
        check_order(graph, done)
        check_results(graph, found[f"run-{name}"], done)
