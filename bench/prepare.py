#!/usr/bin/env python
"""Make a gateway that the load bench can measure: deployments of its mock server, and a token.

    eval "$(.venv/bin/python bench/prepare.py --data-dir /tmp/bench --mock-port 9100)"

prints `export` lines: DATA_DIR and the settings the gateway must run with, and TOKEN, good for an
hour. bench/targets.json names the gateway as a target and uses them.
"""

import argparse
import os
import shlex
import sys
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DELAYS_MS = (0, 10, 20)  # those of the bench's phases, each at an endpoint of its own


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a gateway that the load bench can measure.")
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument("--mock-port", required=True, type=int)
    args = parser.parse_args()
    settings = {
        "DATA_DIR": str(args.data_dir.resolve()),
        "UPSTREAM_ALLOWED_HOSTS": "127.0.0.1",
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        # All load is one user's, and is there to saturate.
        "USER_MAX_IN_FLIGHT": "0",
        "USER_REQUESTS_PER_MINUTE": "0",
        "WORKER_MAX_IN_FLIGHT": "2000",
    }
    os.environ |= settings
    sys.path.insert(0, str(ROOT))

    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)

    from feature_config.models import FeatureSetting
    from selfhosted_models.models import ModelDeployment

    for delay_ms in DELAYS_MS:
        deployment, _ = ModelDeployment.objects.update_or_create(
            name=f"mock-{delay_ms}ms",
            defaults={
                "family": "general",
                "serving_format": "openai_chat",
                "endpoints": [f"http://127.0.0.1:{args.mock_port}/d{delay_ms}n100/v1"],
                "model_identifier": "mock",
                "max_in_flight": 2000,
            },
        )
        if delay_ms == 0:
            FeatureSetting.objects.get(feature="duo_chat").assign([deployment])
            FeatureSetting.objects.get(feature="code_completions").assign([deployment])
    token = StringIO()
    call_command("issue_token", user="bench", scopes="duo_chat,complete_code", stdout=token)
    for name, value in {**settings, "TOKEN": token.getvalue().strip()}.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
