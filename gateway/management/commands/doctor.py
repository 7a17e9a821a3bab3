import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.progress import waiting_line
from gateway.doctor.checkup import examine, is_healthy
from gateway.doctor.findings import Finding, State
from gateway.doctor.patient import Patient
from selfhosted_models.endpoints import parse_endpoint
from selfhosted_models.errors import EndpointRefused

UNHEALTHY, MISUSED = 1, 2
_LABEL_CHARS = 14


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Look at every hop, from the settings to the model servers: its state, what was seen, and "
        "what to do. Works when half the system is down, dials nothing but what is configured, and "
        "shows no secret. Exit status: 0 nothing failed; 1 something did; 2 the arguments are "
        "wrong. Examples: doctor; doctor --json; doctor --gateway-url http://127.0.0.1:8001"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--gateway-url",
            default="http://127.0.0.1:8000",
            help="where the gateway of this machine listens (http://127.0.0.1:8000)",
        )
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *, gateway_url: str, **options: Any) -> None:
        try:
            endpoint = parse_endpoint(gateway_url)
        except EndpointRefused as error:
            raise CommandError(
                f"--gateway-url: {error.safe_message}", returncode=MISUSED
            ) from error
        findings = []
        show_wait = waiting_line()
        for finding in examine(Patient(gateway_endpoint=endpoint, on_wait=show_wait)):
            findings.append(finding)
            show_wait("")
            if not options["json"]:
                self._tell(finding)
        if options["json"]:
            healthy = is_healthy(findings)
            data = {"healthy": healthy, "findings": [asdict(finding) for finding in findings]}
            self.stdout.write(json.dumps(data, indent=2))
        else:
            counts = (sum(item.state is state for item in findings) for state in State)
            told = ", ".join(f"{n} {state}" for n, state in zip(counts, State, strict=True) if n)
            self.stdout.write(f"{told}.")
        if not is_healthy(findings):
            sys.exit(UNHEALTHY)

    def _tell(self, finding: Finding) -> None:
        """Write one row at once: the next may take a while."""
        styles = {
            State.OK: self.style.SUCCESS,
            State.WARNING: self.style.WARNING,
            State.FAILED: self.style.ERROR,
        }
        mark = f"{finding.state:<8}"
        mark = styles[finding.state](mark) if finding.state in styles else mark
        head = f"{mark}{finding.check:<{_LABEL_CHARS}}"
        self.stdout.write(f"{head} {finding.subject}: {finding.evidence}")
        if finding.remedy:
            self.stdout.write(f"{'':<8}{'':<{_LABEL_CHARS}} -> {finding.remedy}")
        self.stdout.flush()
