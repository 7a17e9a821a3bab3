from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.errors import DocsIndexError, KeyInvalid
from docsearch.installing import read_signed
from docsearch.progress import waiting_for
from docsearch.signing import load_signing_key, public_text
from docsearch.verifying import verify_index
from gateway.documentation.registry import NO_REGISTRY, docs_registry_from_settings, open_registry


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Put a documentation index and its manifest into the package registry. Example: "
        "publish_docs_index docs-17.4.0.sqlite3"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path, help="as build_docs_index wrote it")

    def handle(self, *, file: Path, **_: Any) -> None:
        try:
            place = docs_registry_from_settings()
            own_key = public_text(load_signing_key(settings.DOCS_SIGNING_KEY).public_key())
        except KeyInvalid as error:
            raise CommandError(str(error), returncode=2) from error
        if place is None:
            raise CommandError(NO_REGISTRY, returncode=2)
        try:
            text, manifest = read_signed(file, place.trusted_keys | {own_key})
            verify_index(file, manifest)
            size_mb = manifest.size / 1e6
            with (
                waiting_for(f"the package registry, which is sent {size_mb:.1f} MB"),
                open_registry(place) as registry,
            ):
                registry.publish(manifest, text, file.read_bytes())
        except (DocsIndexError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"GitLab {manifest.version}: {manifest.size / 1e6:.1f} MB published. "
            f"Nodes take it whose DOCS_TRUSTED_KEYS hold {manifest.key}"
        )
