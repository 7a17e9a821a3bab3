"""Who runs a command."""

import getpass
import os


def system_user() -> str:
    """Return the name of the process's user; a container's may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
