"""How a namespace's schema is made, migrated, and checked."""

import asyncpg

from flow.errors import ConfigurationError, StoreUnavailable, UnsupportedVersion
from flow.ports import Namespace
from store.postgres.address import Address, quoted
from store.postgres.sessions import Connection, transaction
from store.postgres.statements import MIGRATIONS, QUERIES

VERSION = MIGRATIONS[-1].version
"""The newest version of the schema that this program understands."""

MIGRATION_S = 600.0
"""How long a migration may take; see `migration_lock.sql`."""

_OLDEST_SERVER = 14
_ENCODING = "UTF8"


async def settle(
    connection: Connection, address: Address, schema: str, wish: Namespace
) -> Namespace:
    """Make and migrate the schema as far as that is needed, and create the namespace in it.

    Several processes may do it at the same time: one of them does the work, the others wait.

    Args:
        connection: The connection.
        address: The database.
        schema: The schema's name.
        wish: The namespace that the caller wants.

    Returns:
        The namespace as stored.

    Raises:
        UnsupportedVersion: A newer program has migrated it.
        ConfigurationError: It belongs to another namespace, or we have no right to it, or the
            server cannot be used.
    """
    _check_server(connection, address)
    try:
        if await _version(connection) < VERSION:
            async with transaction(connection):
                await _migrate(connection, schema, wish)
        return await _namespace(connection, address, wish)
    except asyncpg.InsufficientPrivilegeError as error:
        name = quoted(schema)
        reason = (
            f"{error.message}; the user needs the schema {name} with all its tables, or, to make "
            "it, the right CREATE on the database"
        )
        raise ConfigurationError(f"the store {address.url}", reason) from error


async def look(connection: Connection, address: Address, schema: str, wish: Namespace) -> Namespace:
    """Look at the schema, and make nothing.

    Args:
        connection: The connection.
        address: The database.
        schema: The schema's name.
        wish: The namespace that the caller expects.

    Returns:
        The namespace as stored, or the wish if there is none yet.

    Raises:
        UnsupportedVersion: A newer program has migrated it.
        ConfigurationError: It belongs to another namespace, or the server cannot be used.
    """
    _check_server(connection, address)
    if not await _version(connection):
        return wish
    return await _namespace(connection, address, wish)


def _check_server(connection: Connection, address: Address) -> None:
    version = connection.get_server_version()
    if version.major < _OLDEST_SERVER:
        reason = f"it is PostgreSQL {version.major}; {_OLDEST_SERVER} or newer is needed"
        raise ConfigurationError(f"the store {address.url}", reason)
    encoding = connection.get_settings().server_encoding
    if encoding != _ENCODING:
        reason = f"its encoding is {encoding}; {_ENCODING} is needed"
        raise ConfigurationError(f"the store {address.url}", reason)


async def _version(connection: Connection) -> int:
    if not await connection.fetchval(QUERIES["has_migrations"]):
        return 0
    return int(await connection.fetchval(QUERIES["read_version"]))


async def _migrate(connection: Connection, schema: str, wish: Namespace) -> None:
    await connection.execute(QUERIES["migration_lock"])
    if not await connection.fetchval(QUERIES["has_schema"], schema):
        await connection.execute(QUERIES["create_schema"])
    version = await _version(connection)
    if not version and not await connection.fetchval(QUERIES["has_migrations"]):
        await connection.execute(QUERIES["create_migrations"])
    for migration in MIGRATIONS:
        if migration.version > version:
            await connection.execute(migration.script)
            await connection.execute(QUERIES["note_version"], migration.version)
    if not version:
        await connection.execute(QUERIES["write_meta"], "namespace", wish.name)
        await connection.execute(QUERIES["insert_partitions"], wish.partitions)


async def _namespace(connection: Connection, address: Address, wish: Namespace) -> Namespace:
    version = await _version(connection)
    if version > VERSION:
        raise UnsupportedVersion(f"the store {address.url}", version, VERSION)
    name = await connection.fetchval(QUERIES["read_meta"], "namespace")
    if name is None:
        raise StoreUnavailable(address.url, "no namespace has been created in it")
    if name != wish.name:
        reason = f"it holds the namespace {name!r}, not {wish.name!r}"
        raise ConfigurationError(f"the store {address.url}", reason)
    return Namespace(name, int(await connection.fetchval(QUERIES["count_partitions"])))
