from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from docsearch.progress import waiting_line
from gateway.operations.support_bundle import BundleRefused, make_bundle, write_bundle

UNHEALTHY, MISUSED = 1, 2


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Pack what somebody who helps needs to see into one zip file: what doctor found, the "
        "configuration with fingerprints in place of keys, states, counts of errors, versions, and "
        "a manifest that says what is what. No secret and nothing users said is in it: it is "
        "looked through before it is written. Nothing is sent anywhere. Exit status: 0 written; 1 "
        "refused; 2 it cannot be written there. Examples: support_bundle; "
        "support_bundle --output /tmp/bundle.zip"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--output", type=Path, metavar="FILE", help="default: support-bundle-<time>.zip here"
        )

    def handle(self, *, output: Path | None, **_: Any) -> None:
        now = timezone.now()
        path = output or Path(f"support-bundle-{now:%Y%m%dT%H%M%SZ}.zip")
        if path.exists() or not path.absolute().parent.is_dir():
            raise CommandError(
                f"{path} cannot be written: name a file that is not there yet, in a folder that "
                "is.",
                returncode=MISUSED,
            )
        show_wait = waiting_line()
        try:
            bundle = make_bundle(now, show_wait)
        except BundleRefused as error:
            raise CommandError(str(error), returncode=UNHEALTHY) from error
        finally:
            show_wait("")
        try:
            write_bundle(path, bundle)
        except OSError as error:
            raise CommandError(
                f"{path} cannot be written: {error.strerror}.", returncode=MISUSED
            ) from error
        self.stdout.write(str(path))
