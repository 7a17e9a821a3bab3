"""`manage.py`: runs a command, and tells an expected failure without a stack trace."""

import os
import sys
from collections.abc import Sequence

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import DatabaseError, InterfaceError

from selfhosted_models.errors import SettingInvalid

UNHEALTHY, MISUSED, INTERRUPTED = 1, 2, 130

_EXPECTED = (
    DatabaseError,
    InterfaceError,
    ImproperlyConfigured,
    SettingInvalid,
    KeyboardInterrupt,
    BrokenPipeError,
)


def run(arguments: Sequence[str]) -> int:
    """Run what the arguments say; returns the exit status.

    `--traceback` shows where a failure came from.
    """
    try:
        execute_from_command_line([*arguments])
    except _EXPECTED as error:
        if "--traceback" in arguments:
            raise
        return _tell(error)
    return 0


def _tell(error: BaseException) -> int:
    match error:
        case BrokenPipeError():  # whoever read the output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return UNHEALTHY
        case KeyboardInterrupt():
            message, status = "Interrupted.", INTERRUPTED
        case ImproperlyConfigured() | SettingInvalid():
            message, status = str(error), MISUSED
        case _:  # not the driver's own words: they may hold the address and the user
            message, status = (
                f"The database cannot be used ({type(error).__name__}): check that it is up, that "
                "DATABASE_URL is right, and that `manage.py migrate` was run. `manage.py doctor` "
                "looks at every hop.",
                UNHEALTHY,
            )
    sys.stderr.write(f"{message}\n")
    return status
