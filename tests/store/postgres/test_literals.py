"""Tests of `store.postgres.literals`: columns as texts, which the server reads as arrays."""

import asyncpg
import pytest
from hypothesis import given, strategies as st

from store.postgres.literals import numbers, words

ODD = ["", "NULL", "null", '"', "\\", '\\"', "a,b", "{}", " ", "it's", '","', "ä€😀", "\n\t", "x"]


async def test_words_come_back(database_url: str) -> None:
    """Whatever is in a string, the server reads it as it was."""
    connection = await asyncpg.connect(database_url)
    for values in ([], ["plain", "words"], ODD, ODD[::-1], *([each] for each in ODD)):
        assert await connection.fetchval("SELECT $1::text::text[]", words(values)) == values
    await connection.close()


async def test_numbers_come_back(database_url: str) -> None:
    """Numbers, truth values and None are read by the server as they were."""
    connection = await asyncpg.connect(database_url)
    some: list[list[int | None]] = [[0, -1, None, 2**63 - 1, -(2**63)], [None], [], [7]]
    for values in some:
        assert await connection.fetchval("SELECT $1::text::bigint[]", numbers(values)) == values
    truth = [True, False, True]
    assert await connection.fetchval("SELECT $1::text::boolean[]", numbers(truth)) == truth
    await connection.close()


async def test_what_does_not_fit_is_refused(database_url: str) -> None:
    """A number that is too large is refused by the server, as a value that it cannot store."""
    connection = await asyncpg.connect(database_url)
    with pytest.raises(asyncpg.DataError):
        await connection.fetchval("SELECT $1::text::integer[]", numbers([2**31]))
    await connection.close()


@given(st.lists(st.text(alphabet='ab"\\,{} ', max_size=5), max_size=5))
def test_every_quote_is_closed(values: list[str]) -> None:
    """Without what is escaped there are two quotes for each string, however odd they are."""
    bare = words(values).replace("\\\\", "").replace('\\"', "")
    assert bare.count('"') == 2 * len(values)
