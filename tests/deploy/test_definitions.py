"""The users of deploy/rabbitmq/definitions.json may do what their role needs, and nothing else.

A real RabbitMQ has imported them; whoever asks it here is a plain AMQP client.
"""

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, FieldValue
from aio_pika.exceptions import ProbableAuthenticationError
from aiormq.exceptions import ChannelAccessRefused
from yarl import URL

from deploy import credentials
from flow.ports import Binding, Exchange, Queue, Topology
from flow.runtime.addresses import Addresses
from tests.deploy.users import install, remove
from tests.servers.fixtures import run
from tests.servers.rabbitmq import RabbitServer

ANSWER_S = 20.0
TEMPLATE = Path(credentials.__file__).parent / "rabbitmq" / "definitions.json"
NAMES = Addresses("deli.very")
PARTITIONS = 3
WORKER = NAMES.worker("w1", ("kitchen.cook", "messages.tell"))


@dataclass
class Deployment:
    """A RabbitMQ that has imported the definitions, and the passwords.

    Args:
        host: Its host and port.
        passwords: The folder of the passwords.
    """

    host: str
    passwords: Path

    @asynccontextmanager
    async def channel(self, user: str) -> AsyncGenerator[AbstractChannel, None]:
        """Give a channel of a connection of a user."""
        url = (self.passwords.parent / f"{user}_broker_url").read_text().strip()
        assert URL(url).authority.endswith(self.host)
        connection = await aio_pika.connect(url, timeout=ANSWER_S)
        async with connection:
            yield await connection.channel()


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """Declare a topology, one after the other."""
    for exchange in topology.exchanges:
        await declare_exchange(channel, exchange)
    for queue in topology.queues:
        await declare_queue(channel, queue)
    for binding in topology.bindings:
        await bind(channel, binding)


async def declare_exchange(channel: AbstractChannel, exchange: Exchange) -> None:
    """Declare an exchange."""
    kind = aio_pika.ExchangeType(exchange.kind)
    await channel.declare_exchange(exchange.name, kind, durable=True, timeout=ANSWER_S)


async def declare_queue(channel: AbstractChannel, queue: Queue) -> None:
    """Declare a queue as the adapter does."""
    arguments: dict[str, FieldValue] = {}
    if not queue.exclusive:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 100_000}
    if queue.dead_letter:
        arguments["x-dead-letter-exchange"] = queue.dead_letter
    await channel.declare_queue(
        queue.name,
        durable=not queue.exclusive,
        exclusive=queue.exclusive,
        arguments=arguments,
        timeout=ANSWER_S,
    )


async def bind(channel: AbstractChannel, binding: Binding) -> None:
    """Bind a queue."""
    queue = await channel.get_queue(binding.queue, ensure=False)
    await queue.bind(binding.exchange, binding.routing_key, timeout=ANSWER_S)


async def publish(channel: AbstractChannel, exchange: str, key: str) -> None:
    """Publish a message and wait for the confirm, whether or not it reaches a queue."""
    target = await channel.get_exchange(exchange, ensure=False)
    await target.publish(aio_pika.Message(b"{}"), key, mandatory=False, timeout=ANSWER_S)


async def consume(channel: AbstractChannel, name: str) -> None:
    """Begin to consume a queue."""
    queue = await channel.get_queue(name, ensure=False)
    await queue.consume(give_back, timeout=ANSWER_S)


async def give_back(message: AbstractIncomingMessage) -> None:
    """Put a message back to where it came from."""
    await message.nack()


@pytest.fixture(scope="module")
def deployment(
    rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Deployment, None, None]:
    """Give a RabbitMQ that knows the users; its topology was declared by an orchestrator."""
    folder = tmp_path_factory.mktemp("secrets")
    deployed = Deployment(f"127.0.0.1:{rabbitmq.port}", folder / "passwords")

    async def prepare() -> None:
        await install(rabbitmq, folder, namespace=NAMES.namespace)
        async with deployed.channel("orchestrator") as channel:
            await declare(channel, NAMES.exchanges())
            await declare(channel, NAMES.orchestrator(PARTITIONS))
        async with deployed.channel("worker") as channel:
            await declare(channel, WORKER)

    run(prepare)
    yield deployed
    run(lambda: remove(rabbitmq))


async def test_an_orchestrator_may_do_its_work(deployment: Deployment) -> None:
    """It may declare everything that is shared, read what is for it, and publish everywhere."""
    async with deployment.channel("orchestrator") as channel:
        await declare(channel, NAMES.exchanges())
        await declare(channel, NAMES.orchestrator(PARTITIONS))
        await declare_exchange(channel, Exchange(NAMES.incarnation("f00"), "fanout"))
        member = Queue(NAMES.member_queue("0a1b"), exclusive=True)
        await declare_queue(channel, member)
        await bind(channel, Binding(member.name, NAMES.members))
        await declare(channel, NAMES.client("o1"))
        own = (member, *NAMES.client("o1").queues)
        for queue in (*NAMES.orchestrator(PARTITIONS).queues, *own):
            await consume(channel, queue.name)
        for exchange in NAMES.exchanges().exchanges:
            await publish(channel, exchange.name, "0")
        await publish(channel, "", NAMES.reply_queue("c1"))
        assert not channel.is_closed


async def test_a_worker_may_do_its_work(deployment: Deployment) -> None:
    """It may declare and read its queues, answer, and announce its steps."""
    async with deployment.channel("worker") as channel:
        await declare(channel, WORKER)
        await declare(channel, NAMES.client("w1"))
        subscriber = NAMES.subscriber("messages.count", ("deliveries.*",))
        await declare(channel, subscriber)
        for queue in (*WORKER.queues, *NAMES.client("w1").queues, *subscriber.queues):
            await consume(channel, queue.name)
        await publish(channel, NAMES.mailbox, "0")
        await publish(channel, NAMES.announce, "")
        await publish(channel, NAMES.reply, "c1")
        assert not channel.is_closed


async def test_a_client_may_do_its_work(deployment: Deployment) -> None:
    """It may ask for anything, call a service, and read its answers."""
    async with deployment.channel("client") as channel:
        await declare(channel, NAMES.client("c1"))
        await consume(channel, NAMES.reply_queue("c1"))
        await publish(channel, NAMES.start, "0")
        await publish(channel, NAMES.mailbox, "0")
        await publish(channel, NAMES.control, "")
        await publish(channel, NAMES.steps, "kitchen.cook")
        assert not channel.is_closed


async def test_a_trigger_may_do_its_work(deployment: Deployment) -> None:
    """A plain client may start workflows, control executions, and read its answers."""
    async with deployment.channel("trigger") as channel:
        await declare_queue(channel, Queue(NAMES.reply_queue("t1"), exclusive=True))
        await consume(channel, NAMES.reply_queue("t1"))
        await publish(channel, NAMES.trigger, "supper")
        await publish(channel, NAMES.control, "")
        assert not channel.is_closed


@pytest.mark.parametrize(
    ("user", "exchange"),
    [
        *(("worker", name) for name in ("control", "start", "steps", "trigger", "cancel")),
        *(("worker", name) for name in ("topics", "events", "members", "incarnation.f00")),
        *(("client", name) for name in ("announce", "members", "cancel", "topics", "dead")),
        *(("trigger", name) for name in ("mailbox", "start", "steps", "announce", "members")),
        *((user, "") for user in ("worker", "client", "trigger")),
    ],
)
async def test_nobody_may_publish_elsewhere(
    deployment: Deployment, user: str, exchange: str
) -> None:
    """A user may not publish to an exchange that its role does not need, nor to any queue."""
    name = f"{NAMES.namespace}.{exchange}" if exchange else ""
    async with deployment.channel(user) as channel:
        with pytest.raises(ChannelAccessRefused):
            await publish(channel, name, NAMES.mailbox_queue(0))


@pytest.mark.parametrize(
    ("user", "queue"),
    [
        *(("worker", name) for name in ("mailbox.0", "start.0", "control", "trigger", "dead")),
        *(("client", name) for name in ("mailbox.0", "start.0", "control", "steps.kitchen")),
        *(("trigger", name) for name in ("mailbox.0", "trigger", "steps.kitchen", "dead")),
        ("orchestrator", "steps.kitchen"),
    ],
)
async def test_nobody_may_read_the_mail_of_others(
    deployment: Deployment, user: str, queue: str
) -> None:
    """A user may not consume a queue that is not for its role, nor tap an exchange."""
    async with deployment.channel(user) as channel:
        with pytest.raises(ChannelAccessRefused):
            await consume(channel, f"{NAMES.namespace}.{queue}")


@pytest.mark.parametrize("user", ["client", "trigger"])
@pytest.mark.parametrize("exchange", ["mailbox", "start", "steps", "topics", "control"])
async def test_a_client_may_not_tap(deployment: Deployment, user: str, exchange: str) -> None:
    """A client may not bind its own queue to an exchange that carries what others say."""
    own = Queue(NAMES.reply_queue("spy"), exclusive=True)
    async with deployment.channel(user) as channel:
        await declare_queue(channel, own)
        with pytest.raises(ChannelAccessRefused):
            await bind(channel, Binding(own.name, f"{NAMES.namespace}.{exchange}", "0"))


@pytest.mark.parametrize("user", ["worker", "client", "trigger"])
async def test_only_orchestrators_may_destroy(deployment: Deployment, user: str) -> None:
    """Nobody else may declare, and so delete, what is shared."""
    async with deployment.channel(user) as channel:
        with pytest.raises(ChannelAccessRefused):
            await channel.queue_delete(NAMES.mailbox_queue(0), timeout=ANSWER_S)
    async with deployment.channel(user) as channel:
        with pytest.raises(ChannelAccessRefused):
            await channel.exchange_delete(NAMES.mailbox, timeout=ANSWER_S)


@pytest.mark.parametrize("user", ["orchestrator", "worker", "client", "trigger"])
async def test_nobody_reaches_another_namespace(deployment: Deployment, user: str) -> None:
    """Names that only look alike belong to somebody else: a dot in a namespace is no wildcard."""
    async with deployment.channel(user) as channel:
        with pytest.raises(ChannelAccessRefused):
            await declare_queue(channel, Queue("deliXvery.reply.c1", exclusive=True))


async def test_without_a_password_nobody_gets_in(
    deployment: Deployment, rabbitmq: RabbitServer
) -> None:
    """The definitions that are committed let nobody in: they hold no password."""
    users = json.loads(TEMPLATE.read_text())["users"]
    assert {user["password_hash"] for user in users} == {""}
    bare = rabbitmq.folder / "bare.json"
    bare.write_bytes(TEMPLATE.read_bytes().replace(b'"worker"', b'"nobody"'))
    bare.chmod(0o444)
    await rabbitmq.ctl("import_definitions", str(bare))
    for password in ("", "worker", "nobody", "guest"):
        with pytest.raises(ProbableAuthenticationError):
            await aio_pika.connect(f"amqp://nobody:{password}@{deployment.host}/flow", timeout=5)


async def test_a_wiped_broker_knows_the_users_again(
    own_rabbitmq: RabbitServer, tmp_path: Path
) -> None:
    """With deploy/rabbitmq/rabbitmq.conf, the definitions are loaded at every start."""
    host = f"127.0.0.1:{own_rabbitmq.port}"
    credentials.main(["--folder", str(tmp_path / "secrets"), "--broker", host])
    made = own_rabbitmq.folder / "definitions.json"
    made.write_bytes((tmp_path / "secrets" / "definitions.json").read_bytes())
    made.chmod(0o444)
    settings = TEMPLATE.with_name("rabbitmq.conf").read_text()
    assert "/run/secrets/definitions.json" in settings
    await own_rabbitmq.stop()
    own_rabbitmq.wipe()
    (own_rabbitmq.folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = {host}\n" + settings.replace("/run/secrets/definitions.json", str(made))
    )
    await own_rabbitmq.start()
    async with Deployment(host, tmp_path / "secrets" / "passwords").channel("worker") as channel:
        await declare_queue(channel, Queue("delivery.reply.w1", exclusive=True))
