"""A client: orders suppers, and waits for them. It knows the broker only, and no service."""

import asyncio
import sys
import time

from flow import Flow
from flow.errors import MissingSteps

PATIENCE_S = 30.0

app = Flow("delivery").play()


async def wait_for_services(name: str) -> None:
    """Wait until all steps of a workflow are announced: who starts all at once is that early."""
    patient_until = time.monotonic() + PATIENCE_S
    while True:
        try:
            await app.workflows.load(name)
        except MissingSteps:
            if time.monotonic() > patient_until:
                raise
            await asyncio.sleep(0.5)
        else:
            return


async def main(orders: int) -> None:
    """Order suppers, all at once."""
    began = time.monotonic()
    async with app:
        await wait_for_services("supper")
        supper = await app.workflows.load("supper")
        texts = await asyncio.gather(
            *(
                supper.run(
                    {
                        "customer": f"customer-{number}",
                        "address": f"{number} Main Street",
                        "dishes": ["soup", "bread"],
                        "total": 12.5,
                    },
                    id=f"supper-{number}",
                    headers={"traceparent": f"00-{number:032x}-{number:016x}-01"},
                )
                for number in range(1, orders + 1)
            )
        )
    for text in texts:
        print(text)
    print(f"{len(texts)} suppers in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
