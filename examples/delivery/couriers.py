"""Couriers: a microservice whose step needs what two other services have done."""

from dataclasses import dataclass

from flow import Flow

app = Flow("delivery")
couriers = app.service("couriers")


@dataclass
class Order:
    """What a courier reads of an order."""

    address: str


@dataclass
class Meal:
    """What a courier reads of a meal."""

    id: str


@dataclass
class Receipt:
    """What a courier reads of a receipt."""

    id: str


@dataclass
class Trip:
    """A courier on the way."""

    to: str
    meal: str


@couriers.step(requires=["cook", "charge"])
async def deliver(order: Order, cook: Meal, charge: Receipt) -> Trip:
    """Bring the meal, which is ready and paid for."""
    assert charge.id
    return Trip(to=order.address, meal=cook.id)
