"""The product's settings on a data folder of the test run's own."""

import os
import tempfile

os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="selfhosted-duo-tests-")
for name in ("DATABASE_URL", "REDIS_URL", "AIGW_GITLAB_URL", "GATEWAY_TRUSTED_ISSUERS"):
    os.environ.pop(name, None)

from gateway.settings import *  # noqa: E402, F403
