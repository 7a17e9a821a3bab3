#!/usr/bin/env python
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    os.umask(0o077)  # what is made in DATA_DIR is its owner's alone
    from gateway.operations.command_line import run

    sys.exit(run(sys.argv))
