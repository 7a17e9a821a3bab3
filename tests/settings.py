"""The product's settings on a data folder of the test run's own."""

import os
import tempfile

os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="selfhosted-duo-tests-")
# What a developer has set for a gateway of their own must not reach the tests.
for name in [*os.environ]:
    if name.startswith(
        (
            "AIGW_",
            "GATEWAY_",
            "UPSTREAM_",
            "CONFIGURATION_",
            "DOCS_",
            "SERVING_CONFIG_",
            "USAGE_",
            "REQUEST_LOG_",
        )
    ) or name in {
        "DATABASE_URL",
        "REST_REQUESTS_PER_MINUTE",
        "REDIS_URL",
        "SECRET_KEY",
        "ENCRYPTION_KEYS",
        "LOG_LEVEL",
        "DEBUG",
        "HSTS_S",
        "SECURE_COOKIES",
    }:
        del os.environ[name]

os.environ["TOTP_REQUIRED"] = "0"  # the tests of it switch it on

from gateway.settings import *  # noqa: E402, F403
from gateway.settings import DATABASES  # noqa: E402

# A file: connections of threads to a database in memory are never closed.
DATABASES["default"]["TEST"] = {"NAME": os.path.join(os.environ["DATA_DIR"], "test.sqlite3")}
