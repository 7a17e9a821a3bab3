"""The gateway as operators run it: gunicorn, workers, a database; for contract and e2e tests."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import REPOSITORY, Service, free_port, running

TAKES_CHANGES_WITHIN_S = 10
LOGS_WITHIN_S = 5

#: Applied by `manage.py shell`: the models' own rules judge every row.
_APPLY = """
import json
from django.db import transaction
from feature_config.models import FeatureSetting
from selfhosted_models.models import ModelDeployment
document = json.loads({document!r})
with transaction.atomic():  # so that no worker sees half of it
    for row in document["deployments"]:
        key = row.pop("api_key", "")
        found = ModelDeployment.objects.filter(name=row["name"]).first() or ModelDeployment()
        for name, value in row.items():
            setattr(found, name, value)
        if key:
            found.set_api_key(key)
        found.full_clean()
        found.save()
    for feature, names in document["features"].items():
        setting = FeatureSetting.objects.get(feature=feature)
        if names == "inactive":
            setting.deactivate()
        else:
            setting.assign([ModelDeployment.objects.get(name=name) for name in names])
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway.

    Attributes:
        url: Its origin.
        env: What it runs with; commands run with the same.
    """

    url: str
    env: Mapping[str, str]
    service: Service

    def manage(self, *arguments: str) -> str:
        """Run manage.py and return what it prints; a failure raises with its words."""
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            env=dict(self.env),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def apply(
        self,
        deployments: list[dict[str, Any]],
        features: Mapping[str, list[str] | str] | None = None,
        *,
        workers: int = 1,
    ) -> None:
        """Save deployments (fields of the model, and `api_key`) and what answers each feature.

        Features name deployments in order, or are "inactive". Returns once all workers serve it.
        """
        before = self.configuration()
        document = json.dumps({"deployments": deployments, "features": features or {}})
        self.manage("shell", "-c", _APPLY.format(document=document))
        deadline = time.monotonic() + TAKES_CHANGES_WITHIN_S
        while self.configuration() == before or self._behind(workers):
            assert time.monotonic() < deadline, "the gateway did not take the new configuration"

    def configuration(self) -> str:
        """Return the digest of the configuration the worker serves from, out of its log."""
        return str(self.log_events("configuration.loaded")[-1]["version"])

    def _behind(self, workers: int) -> bool:
        """Tell whether a worker has not loaded the newest configuration yet."""
        loaded = [event["version"] for event in self.log_events("configuration.loaded")]
        return loaded.count(loaded[-1]) < workers

    def finished(self, request_id: str) -> dict[str, Any]:
        """Return the log event of a request; it is written after the last byte is sent."""
        deadline = time.monotonic() + LOGS_WITHIN_S
        while time.monotonic() < deadline:
            for event in self.log_events("request.finished"):
                if event["request_id"] == request_id:
                    return event
        raise AssertionError(f"no log event of request {request_id}")

    def log_events(self, name: str) -> list[dict[str, Any]]:
        """Return the logged events of that name, oldest first."""
        lines = self.log().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]  # the last is being written
        events = [json.loads(line) for line in whole if line.startswith("{")]
        return [event for event in events if event["event"] == name]

    def log(self) -> str:
        return self.service.log_path.read_text(encoding="utf-8")


@contextmanager
def gateway(folder: Path, **settings: str) -> Iterator[Gateway]:
    """Run `deploy/serve.py` on a DATA_DIR below `folder`, made if need be, while the context lasts.

    It may dial loopback, and takes changes within 100 ms unless `settings` say otherwise.
    """
    port = free_port()
    data_dir = folder / "data"
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": f"sqlite:///{data_dir / 'db.sqlite3'}",
        "UPSTREAM_ALLOWED_HOSTS": "127.0.0.1,localhost",
        "CONFIGURATION_POLL_S": "0.1",
        "FINGERPRINT_HOUR": "",
        "PROBE_SILENT_S": "0",  # a model server of a test hears from the test alone
        "TOTP_REQUIRED": "0",
        "METRICS_BIND": f"127.0.0.1:{free_port()}",
        **settings,
    }
    data_dir.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "deploy/serve.py", "--port", str(port)]
    with running(
        command,
        ready_url=f"{url}/monitoring/healthz",
        env=env,
        log_path=folder / "gateway.log",
        timeout_s=60,
    ) as service:
        yield Gateway(url, env, service)
