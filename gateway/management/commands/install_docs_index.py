from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.errors import DocsIndexError, IndexMissing, KeyInvalid, VersionInvalid
from docsearch.installing import Installation, install_file, install_published
from docsearch.progress import progress_bar
from docsearch.store import IndexStore, choose_version
from docsearch.versions import GitLabVersion
from gateway.documentation.registry import (
    NO_REGISTRY,
    docs_registry_from_settings,
    open_registry,
    trusted_docs_keys,
)
from gateway.documentation.wanted_version import wanted_version


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Verify a documentation index and let this node search it, or go back to the one "
        "before. Examples: install_docs_index docs-17.4.0.sqlite3; install_docs_index "
        "--from-registry; install_docs_index --rollback"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "file", nargs="?", metavar="FILE", type=Path, help="its manifest lies beside it"
        )
        what.add_argument("--from-registry", action="store_true", help="as DOCS_REGISTRY_URL says")
        what.add_argument(
            "--rollback", action="store_true", help="exchange the active index and the previous one"
        )
        parser.add_argument(
            "--gitlab-version", metavar="V", help="as in 17.4.0; default: GITLAB_VERSION, or newest"
        )
        parser.add_argument(
            "--allow-downgrade", action="store_true", help="take one older than the active one"
        )

    def handle(
        self,
        *,
        file: Path | None,
        rollback: bool,
        gitlab_version: str | None,
        allow_downgrade: bool,
        **_: Any,
    ) -> None:
        store = IndexStore.below(settings.DATA_DIR)
        if file and gitlab_version:
            raise CommandError(
                "A FILE says itself of which version it is: leave --gitlab-version out.",
                returncode=2,
            )
        with _told():
            wanted = wanted_version(gitlab_version)
            if rollback:
                self.stdout.write(_roll_back(store, wanted))
                return
            on_bytes = progress_bar("bytes")
            if file:
                done = install_file(
                    store,
                    file,
                    trusted_docs_keys(),
                    allow_downgrade=allow_downgrade,
                    on_bytes=on_bytes,
                )
            else:
                place = docs_registry_from_settings()
                if place is None:
                    raise CommandError(NO_REGISTRY, returncode=2)
                with open_registry(place) as registry:
                    done = install_published(
                        store,
                        registry,
                        wanted,
                        place.trusted_keys,
                        allow_downgrade=allow_downgrade,
                        on_bytes=on_bytes,
                    )
        if done.warning:
            self.stderr.write(f"Warning: {done.warning}")
        self.stdout.write(_summary(done))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (KeyInvalid, VersionInvalid) as error:
        raise CommandError(str(error), returncode=2) from error
    except (DocsIndexError, OSError) as error:
        raise CommandError(str(error)) from error


def _roll_back(store: IndexStore, wanted: GitLabVersion | None) -> str:
    choice = choose_version(wanted, store.installed())
    if choice is None:
        raise IndexMissing("No documentation index is installed for that version.")
    store.rollback(choice.version)
    return (
        f"GitLab {choice.version}: the previous index answers again. Run it once more to undo it."
    )


def _summary(done: Installation) -> str:
    manifest = done.manifest
    state = "installed" if done.is_new else "was installed already"
    return (
        f"GitLab {manifest.version}: {state}, {manifest.size / 1e6:.1f} MB, "
        f"made {manifest.created:%Y-%m-%d %H:%M} UTC, signed with {manifest.key}."
    )
