import json
from typing import Any

from django.core.management.base import BaseCommand

from gateway.api import api


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Print the OpenAPI document of the gateway's inbound API. Example: print_openapi > "
        "openapi.json"
    )

    def handle(self, **_: Any) -> None:
        self.stdout.write(json.dumps(api.get_openapi_schema(path_prefix=""), indent=2))
