import tempfile
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from docsearch.builder import DEFAULT_URL_BASE, build_index
from docsearch.encoding import Encoder
from docsearch.errors import DocsIndexError
from docsearch.installing import install_own, sign_index
from docsearch.progress import progress_bar, waiting_for
from docsearch.signing import load_signing_key
from docsearch.source import read_source
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Build a search index of GitLab's documentation. Example: build_docs_index ~/gitlab/doc "
        "--gitlab-version 17.4.0 --install"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "source", metavar="SRC", type=Path, help="folder, Git checkout, .zip or .tar.gz"
        )
        parser.add_argument("--gitlab-version", required=True, metavar="V", help="as in 17.4.0")
        parser.add_argument(
            "--output", metavar="FILE", type=Path, help="docs-<version>.sqlite3 unless --install"
        )
        parser.add_argument(
            "--url-base", metavar="U", default=DEFAULT_URL_BASE, help=f"default: {DEFAULT_URL_BASE}"
        )
        parser.add_argument(
            "--vectors",
            action="store_true",
            help="for DOCS_HYBRID: some minutes; needs requirements-hybrid.txt",
        )
        parser.add_argument("--install", action="store_true", help="let this node search it")

    def handle(
        self,
        *,
        source: Path,
        gitlab_version: str,
        output: Path | None,
        url_base: str,
        vectors: bool,
        install: bool,
        **_: Any,
    ) -> None:
        try:
            version = GitLabVersion.parse(gitlab_version)
            key = load_signing_key(settings.DOCS_SIGNING_KEY)
            encoder = _encoder() if vectors else None
            with waiting_for(f"{source} to be read"):
                documentation = read_source(source)
        except DocsIndexError as error:
            raise CommandError(str(error), returncode=2) from error
        if output is None and not install:
            output = Path(f"docs-{version}.sqlite3")
        try:
            with tempfile.TemporaryDirectory() as scratch:
                target = output or Path(scratch, "index.sqlite3")
                summary = build_index(
                    documentation,
                    target,
                    version=version,
                    url_base=url_base,
                    encoder=encoder,
                    on_page=progress_bar("pages"),
                )
                manifest = sign_index(
                    target,
                    version,
                    key,
                    schema_version=summary.schema_version,
                    now=datetime.now(UTC),
                )
                if install:
                    install_own(IndexStore.below(settings.DATA_DIR), target, key)
        except DocsIndexError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(
                f"The index cannot be written: {error.strerror or error}. Give --output a file in "
                "a folder that exists, with room for it."
            ) from error
        with_vectors = f", with vectors of {encoder.identity.name}" if encoder else ""
        places = [str(output)] * (output is not None) + ["this node's data folder"] * install
        self.stdout.write(
            f"GitLab {version}: {summary.page_count} pages, {summary.section_count} sections, "
            f"{summary.index_bytes / 1e6:.1f} MB, in {' and in '.join(places)}{with_vectors}. "
            f"Left out: {summary.stub_count} pages that only say where their content went. "
            f"Signed with the key {manifest.key}."
        )


def _encoder() -> Encoder:
    from docsearch.hybrid import load_encoder

    return load_encoder()
