from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.errors import DocsIndexError, VersionInvalid
from docsearch.store import IndexStore
from gateway.documentation.engine import docs_engine_from_settings, open_engine
from gateway.documentation.wanted_version import wanted_version


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Put an installed documentation index into the search engine of DOCS_SEARCH_URL, and let "
        "it answer for its version. May be repeated. Example: "
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
            index, choice = store.open(wanted)
            with open_engine(place) as engine:
                is_new = engine.load(index, store.digest_of(choice.version))
        except DocsIndexError as error:
            raise CommandError(str(error)) from error
        finally:
            store.close()
        state = "loaded" if is_new else "was loaded already"
        self.stdout.write(
            f"GitLab {choice.version}: {index.facts.section_count} sections, {state}."
        )
