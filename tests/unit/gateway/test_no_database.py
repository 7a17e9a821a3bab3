import pytest
from django.core.exceptions import ImproperlyConfigured

from gateway.no_database.base import DatabaseWrapper


def test_whoever_wants_a_database_is_told_where_it_is() -> None:
    connection = DatabaseWrapper({"TIME_ZONE": None, "OPTIONS": {}}, "default")

    for open_it in (connection.ensure_connection, connection.cursor):
        with pytest.raises(ImproperlyConfigured, match="SERVING_CONFIG_URL"):
            open_it()
