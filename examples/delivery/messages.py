"""Messages: a microservice with the last step, and one that only listens to a topic."""

from dataclasses import dataclass

from flow import Flow, StepContext

app = Flow("delivery")
messages = app.service("messages")


@dataclass
class Order:
    """What this service reads of an order."""

    customer: str


@dataclass
class Trip:
    """What this service reads of a trip."""

    to: str


@messages.step(requires=["deliver"])
async def tell(order: Order, deliver: Trip) -> str:
    """Tell the customer."""
    return f"{order.customer}, your meal is on its way to {deliver.to}"


@messages.subscribe("deliveries.*")
async def count(order: Order, context: StepContext) -> None:
    """Hear of every delivery, whoever published it; the trace is the client's."""
    print("delivered to", order.customer, context.headers.get("traceparent", ""), flush=True)
