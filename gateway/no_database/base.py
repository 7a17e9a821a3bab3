"""A database backend that opens nothing, and says where the database is instead."""

from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.dummy import base

INSTRUCTION = (
    "This gateway node has no database: it takes its configuration from another node "
    "(SERVING_CONFIG_URL). Do this on that node."
)


def refuse(*_: Any, **__: Any) -> NoReturn:
    raise ImproperlyConfigured(INSTRUCTION)


class DatabaseOperations(base.DatabaseOperations):
    quote_name = refuse


class DatabaseWrapper(base.DatabaseWrapper):
    """As Django's own for no database at all, with an instruction."""

    ops_class = DatabaseOperations

    ensure_connection = refuse
    _cursor = refuse
    _commit = refuse
    _rollback = refuse
    _savepoint = refuse
    _savepoint_commit = refuse
    _savepoint_rollback = refuse
    _set_autocommit = refuse
