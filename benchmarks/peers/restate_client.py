"""Calls the workflows of `restate_service.py`.

`restate_client.py INGRESS ADMIN SERVICE three|fan`, with the URLs of the first three.
"""

# Its packages are in an environment of their own, which the checkers do not see.
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false

import asyncio
import sys

import aiohttp

from benchmarks.loads import conversation, run_load

LEGS = 10
DEADLINE_S = 60.0
PAUSE_S = 0.2


async def register(session: aiohttp.ClientSession, admin: str, service: str) -> None:
    """Tell Restate where the services are, as soon as both are there."""
    async with asyncio.timeout(DEADLINE_S):
        while not await is_registered(session, admin, service):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(PAUSE_S)


async def is_registered(session: aiohttp.ClientSession, admin: str, service: str) -> bool:
    """Tell Restate where the services are; return whether it has found them there."""
    try:
        async with session.post(f"{admin}/deployments", json={"uri": service}) as answer:
            return answer.status < 300
    except aiohttp.ClientError:
        return False


async def main(ingress: str, admin: str, service: str, kind: str) -> None:
    """Run what is asked for."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await register(session, admin, service)
        url = f"{ingress}/workflows/{kind}"

        async def call(number: int) -> None:
            expected = LEGS * (number + 1) if kind == "fan" else number + 3
            async with session.post(url, json=number) as answer:
                result = await answer.json()
            if result != expected:
                raise AssertionError(f"{result} instead of {expected}")

        await conversation(lambda count, at_once: run_load(call, count, at_once))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
