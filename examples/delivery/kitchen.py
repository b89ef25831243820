"""The kitchen: a microservice with one step. It knows nothing of the other services."""

import asyncio
from dataclasses import dataclass

from flow import Flow

app = Flow("delivery")
kitchen = app.service("kitchen")


@dataclass
class Order:
    """What the kitchen reads of an order."""

    dishes: list[str]


@dataclass
class Meal:
    """What is ready to go."""

    id: str
    dishes: int


@kitchen.step
async def cook(order: Order) -> Meal:
    """Cook every dish."""
    await asyncio.sleep(0.05 * len(order.dishes))
    return Meal(id="+".join(sorted(order.dishes)), dishes=len(order.dishes))
