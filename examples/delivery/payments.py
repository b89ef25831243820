"""Payments: a microservice with one step, which is tried again when the bank is away."""

from dataclasses import dataclass

from flow import Flow, RetryPolicy, StepContext

app = Flow("delivery")
payments = app.service("payments")


@dataclass
class Order:
    """What payments reads of an order."""

    customer: str
    total: float


@dataclass
class Receipt:
    """Money that has arrived."""

    id: str
    amount: float


@payments.step(retry=RetryPolicy(max_attempts=5, initial=0.1))
def charge(order: Order, context: StepContext) -> Receipt:
    """Take the money, once: the bank knows the key. A plain function runs in a thread."""
    if context.attempt == 1 and order.customer.endswith("7"):
        raise ConnectionError("the bank is away")
    return Receipt(id=context.idempotency_key, amount=order.total)
