"""A shop: four services and the workflow that turns an order into a parcel.

Each service could run in a process of its own; here they share one. Run `demo.py` beside this
file, or `flow dev examples/orders/shop.py:app` and then `flow start order --input …`.
"""

import asyncio
from dataclasses import dataclass

from flow import Flow, RetryPolicy, Step, StepContext


@dataclass
class Order:
    """What somebody wants to buy."""

    customer: str
    items: dict[str, int]
    total: float


@dataclass
class Hold:
    """Goods that are put aside."""

    id: str
    items: int


@dataclass
class Risk:
    """What we think of the customer: 0 is fine."""

    score: float


@dataclass
class Receipt:
    """Money that has arrived."""

    id: str
    amount: float


@dataclass
class Parcel:
    """What leaves the house."""

    tracking: str
    receipt: str


app = Flow("orders")
inventory = app.service("inventory")
fraud = app.service("fraud")
payments = app.service("payments")
shipping = app.service("shipping")


@inventory.step
async def reserve(order: Order) -> Hold:
    """Put the goods aside."""
    await asyncio.sleep(0.4)
    return Hold(id=f"hold-{order.customer}", items=sum(order.items.values()))


@fraud.step
def assess(order: Order) -> Risk:
    """Look the customer up. A plain function runs in a thread."""
    return Risk(score=0.1 if order.total < 1000 else 0.7)


@payments.step(
    requires=[reserve, assess],
    retry=RetryPolicy(max_attempts=5, initial=0.3, factor=2.0, jitter=0.2),
)
async def charge(order: Order, assess: Risk, context: StepContext) -> Receipt:
    """Take the money. The bank is away for the first two attempts."""
    await asyncio.sleep(0.2)
    if context.attempt <= 2:
        raise ConnectionError("the bank does not answer")
    return Receipt(id=f"receipt-{order.customer}-{assess.score}", amount=order.total)


@shipping.step(requires=[reserve, charge])
async def ship(reserve: Hold, charge: Receipt) -> Parcel:
    """Send the goods."""
    await asyncio.sleep(0.3)
    return Parcel(tracking=f"parcel-{reserve.id}", receipt=charge.id)


announce = Step.publish("orders.paid", requires=[charge], input={"receipt": charge.output.id})

order = app.workflow("order", reserve, assess, charge, ship, announce, output=ship)
