"""A trip: a flight, a hotel and a car, booked one after the other. There is no car.

Each booking says how it is taken back. When the car fails, the hotel and the flight are cancelled,
in this order, whatever crashes meanwhile. Run `python examples/trip/trip.py`, or let it run by
itself, `flow dev examples/trip/trip.py:app`, and book with `flow start trip --input …`.
"""

import asyncio
from dataclasses import dataclass

from flow import ExecutionCompensated, Fail, Flow, UndoContext


@dataclass
class Trip:
    """Where somebody wants to go."""

    traveller: str
    city: str


@dataclass
class Booking:
    """What is booked."""

    number: str


app = Flow("travel")


@app.step
async def book_flight(trip: Trip) -> Booking:
    """Book a flight."""
    print(f"booked a flight to {trip.city}")
    return Booking(f"flight-{trip.traveller}")


@book_flight.undo
async def cancel_flight(trip: Trip, undo: UndoContext[Booking]) -> None:
    """Cancel the flight, if it was booked at all."""
    if undo.output is not None:
        print(f"cancelled {undo.output.number} of {trip.traveller}")


@app.step(requires=[book_flight])
async def book_hotel(trip: Trip) -> Booking:
    """Book a hotel."""
    print(f"booked a hotel in {trip.city}")
    return Booking(f"hotel-{trip.traveller}")


@book_hotel.undo
async def cancel_hotel(trip: Trip, undo: UndoContext[Booking]) -> None:
    """Cancel the hotel, if it was booked at all."""
    if undo.output is not None:
        print(f"cancelled {undo.output.number} of {trip.traveller}")


@app.step(requires=[book_hotel])
async def book_car(trip: Trip) -> Booking:
    """There is no car."""
    raise Fail(f"no car left in {trip.city}")


@book_car.undo
async def cancel_car(trip: Trip, undo: UndoContext[Booking]) -> None:
    """Its run has failed, but who knows how far it came: so it is asked to undo too."""
    print(f"no car to cancel for {trip.traveller}: {undo.error}")


trip = app.workflow("trip", book_flight, book_hotel, book_car, on_error="compensate")


async def main() -> None:
    """Book a trip, and show what became of it."""
    async with app:
        execution = await trip.execute(Trip("ada", "Oslo"))
        try:
            await execution.result()
        except ExecutionCompensated as error:
            print(error)
        report = await execution.report()
        for entry in report.steps:
            print(f"  {entry.action:4} {entry.step:11} {entry.status.value}")


if __name__ == "__main__":
    asyncio.run(main())
