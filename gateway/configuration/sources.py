"""Where a worker reads the configuration it serves from."""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from django.db import DatabaseError, InterfaceError, close_old_connections

from gateway.configuration.stored import StoredConfiguration, read_configuration


class ConfigurationUnreadable(Exception):
    """The configuration could not be read now; the message says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class KeptConfiguration:
    """A configuration that was kept for a restart.

    Attributes:
        confirmed_at: When it was last known to be the newest; seconds since 1970.
    """

    configuration: StoredConfiguration
    confirmed_at: float


class ConfigurationSource(Protocol):
    """What a worker polls."""

    async def kept(self) -> KeptConfiguration | None:
        """Return what was kept of an earlier run, if anything that may be served from."""
        ...

    async def read(self) -> StoredConfiguration | None:
        """Return the newest configuration; None if it is the one returned last.

        Raises:
            ConfigurationUnreadable: What the worker holds goes on serving.
        """
        ...

    async def aclose(self) -> None:
        """Close what it holds open."""
        ...


class DatabaseConfiguration:
    """Reads the database.

    Args:
        thread: The ORM blocks.
    """

    def __init__(self, thread: Executor) -> None:
        self._thread = thread

    async def kept(self) -> KeptConfiguration | None:
        return None

    async def read(self) -> StoredConfiguration | None:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._read)
        except (DatabaseError, InterfaceError) as error:
            raise ConfigurationUnreadable(type(error).__name__) from error

    async def aclose(self) -> None:
        pass

    @staticmethod
    def _read() -> StoredConfiguration:
        close_old_connections()
        try:
            return read_configuration()
        finally:
            close_old_connections()
