"""Workers for stubs: each stubbed endpoint without code of the flow gets a worker of its own."""

from dataclasses import dataclass

from flow.ports import Broker
from flow.runtime.addresses import Addresses
from flow.runtime.publisher import Publisher
from flow.runtime.service import Endpoint, WorkerPorts
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.worker import Worker
from flow.testing.clock import OWNER, Owner

__all__ = ["StubWorkers"]


@dataclass(frozen=True, slots=True)
class _StubAddresses(Addresses):
    """Addresses under which a stub has a queue of its own, whoever else serves its service."""

    endpoint: str

    def service_queue(self, service: str) -> str:
        return f"{self.steps}.{self.endpoint}"


class StubWorkers:
    """Serves stubbed endpoints, from the moment that they are stubbed.

    Args:
        namespace: The name of the flow.
        ports: What workers need of the machine.
        owner: Whom the timers of the workers belong to.
    """

    def __init__(self, namespace: str, ports: WorkerPorts, owner: Owner) -> None:
        """Begin without a worker."""
        self._namespace = namespace
        self._ports = ports
        self._owner = owner
        self._tasks = TaskGroup()
        self._opening: list[Worker] = []

    async def start(self) -> None:
        """Make room for workers."""
        self._tasks = TaskGroup()
        await self._tasks.__aenter__()

    def serve(self, endpoint: Endpoint, broker: Broker, publisher: Publisher) -> None:
        """Serve an endpoint; it is there once `ready` returns.

        Args:
            endpoint: What is served.
            broker: The connection.
            publisher: Publishes the replies.
        """
        worker = Worker(
            broker,
            publisher,
            _StubAddresses(self._namespace, endpoint.name),
            {endpoint.name: endpoint},
            self._ports,
        )
        token = OWNER.set(self._owner)
        try:
            self._tasks.start(worker.run(), f"stub of {endpoint.name}")
        finally:
            OWNER.reset(token)
        self._opening.append(worker)

    async def ready(self) -> None:
        """Wait until everything that is to be served can be reached."""
        while self._opening:
            worker = self._opening[0]
            await worker.wait_open()
            if worker in self._opening:
                self._opening.remove(worker)

    def cancel(self) -> None:
        """Stop in the middle of everything."""
        self._opening.clear()
        self._tasks.cancel()

    async def stop(self) -> None:
        """Wait until all workers have ended."""
        await self._tasks.__aexit__(None, None, None)
