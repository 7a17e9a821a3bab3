from contextlib import nullcontext
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.errors import DocsIndexError, IndexMissing, VersionInvalid
from docsearch.progress import waiting_for
from docsearch.store import IndexStore, choose_version, missing_version
from gateway.documentation.engine import docs_engine_from_settings, open_engine
from gateway.documentation.engine_upkeep import load_installed, loading_alone
from gateway.documentation.wanted_version import wanted_version


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Put an installed documentation index into the search engine of DOCS_SEARCH_URL, and let "
        "it answer for its version. The gateway does so by itself with what is newer than what "
        "the engine has; this also goes back to an older one. Example: "
        "load_docs_index --gitlab-version 17.4.0"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--gitlab-version", metavar="V", help="as in 17.4.0; default: GITLAB_VERSION, or newest"
        )

    def handle(self, *, gitlab_version: str | None, **_: Any) -> None:
        place = docs_engine_from_settings()
        try:
            wanted = wanted_version(gitlab_version)
        except VersionInvalid as error:
            raise CommandError(str(error), returncode=2) from error
        if place is None:
            raise CommandError(
                "No search engine is named. Set DOCS_SEARCH_URL, as in https://search:9200.",
                returncode=2,
            )
        store = IndexStore.below(settings.DATA_DIR)
        try:
            installed = store.installed()
            choice = choose_version(wanted, installed)
            if choice is None:
                raise IndexMissing(missing_version(wanted, installed))
            # A node without a database has no lease to take.
            alone = nullcontext() if settings.SERVING_CONFIG_URL else loading_alone()
            with waiting_for("the search engine"), alone, open_engine(place) as engine:
                section_count, is_new = load_installed(store, engine, choice.version)
        except (DocsIndexError, OSError) as error:
            raise CommandError(str(error)) from error
        state = "loaded" if is_new else "was loaded already"
        self.stdout.write(f"GitLab {choice.version}: {section_count} sections, {state}.")
