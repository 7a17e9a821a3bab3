"""`docs-indexes/`: what is installed, and the registry asked now; `docs-search/`: a search."""

from http import HTTPStatus
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from docsearch.backend import SearchBackend
from docsearch.errors import (
    IndexMissing,
    InstallationUnderWay,
    PreviousMissing,
    VersionInvalid,
)
from docsearch.models import ORIGINS, CheckRequest, RegistryLook
from docsearch.query import MAX_QUERY_CHARS
from docsearch.results import Outcome, Passage
from docsearch.search import DEFAULT_LIMIT, MAX_LIMIT
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.audit import record
from gateway.documentation.indexes import history, installed_indexes, recent_looks, roll_back
from gateway.documentation.local import local_backend
from gateway.documentation.registry import NO_REGISTRY
from gateway.rest.authentication import RUNTIME_IN_SCOPE
from gateway.rest.examples import example
from gateway.rest.idempotency import idempotent
from gateway.rest.scopes import Scope
from gateway.rest.views import IDEMPOTENCY_KEY, REASON, RestView
from gateway.runtime import Runtime


class DocsRefused(APIException):
    """It cannot be done as things are."""

    status_code = HTTPStatus.CONFLICT
    default_code = "docs_refused"


# --- Indexes --------------------------------------------------------------------------------------


class GoldenResultSerializer(serializers.Serializer[Any]):
    """How an index answered the golden questions."""

    passed = serializers.IntegerField()
    total = serializers.IntegerField()
    checked_at = serializers.DateTimeField()
    failures = serializers.ListField(child=serializers.DictField())


class IndexSerializer(serializers.Serializer[Any]):
    """An index on the node that answers."""

    gitlab_version = serializers.CharField()
    index_digest = serializers.CharField(help_text="SHA-256 of the file.")
    size_bytes = serializers.IntegerField()
    has_vectors = serializers.BooleanField(help_text="Whether DOCS_HYBRID can count for it.")
    made_at = serializers.DateTimeField(allow_null=True, help_text="When it was signed.")
    key = serializers.CharField(help_text="The public key that signed it.")
    origin = serializers.ChoiceField(
        choices=ORIGINS, allow_blank=True, help_text='How it came to the node; "": not known.'
    )
    previous_made_at = serializers.DateTimeField(
        allow_null=True, help_text="Of the index that a rollback brings back."
    )
    golden = GoldenResultSerializer(allow_null=True)


class LookSerializer(serializers.ModelSerializer[RegistryLook]):
    """What came of a node's last look for one wanted version."""

    class Meta:
        model = RegistryLook
        fields: ClassVar = [
            *("node", "wanted", "state", "message", "gitlab_version"),
            *("received_bytes", "total_bytes", "looked_at"),
        ]


class InstalledSerializer(serializers.Serializer[Any]):
    """One entry of the history."""

    node = serializers.CharField()
    gitlab_version = serializers.CharField()
    index_digest = serializers.CharField()
    size_bytes = serializers.IntegerField()
    made_at = serializers.DateTimeField(allow_null=True)
    key = serializers.CharField()
    origin = serializers.ChoiceField(choices=ORIGINS, allow_blank=True)
    found_at = serializers.DateTimeField()


_EXAMPLE_INDEX = {
    "gitlab_version": "17.4.0",
    "index_digest": "da0d1776180d481b208ab766d8802a7b301c1add6c8a2542476f84b6bd9b8537",
    "size_bytes": 48201728,
    "made_at": "2026-05-01T00:00:00Z",
    "origin": "registry",
    "key": "trjEDOhYqNxZKCJQwKZZk5AUJrGI40gFwbCgLY0GxIs=",
}


@example(
    {
        "has_registry": True,
        "indexes": [
            {
                **_EXAMPLE_INDEX,
                "has_vectors": False,
                "previous_made_at": "2026-04-01T00:00:00Z",
                "golden": {
                    "passed": 11,
                    "total": 12,
                    "checked_at": "2026-05-02T03:00:00Z",
                    "failures": [
                        {
                            "question": "How do I protect a branch?",
                            "page": "user/project/protected_branches.md",
                            "anchor": "",
                            "found": ["user/project/repository/branches/index.md"],
                        }
                    ],
                },
            }
        ],
        "looks": [
            {
                "node": "gateway-1",
                "wanted": "17.4.2",
                "state": "fetching",
                "message": "",
                "gitlab_version": "17.4.0",
                "received_bytes": 1048576,
                "total_bytes": 48201728,
                "looked_at": "2026-05-02T03:00:00Z",
            }
        ],
        "history": [{**_EXAMPLE_INDEX, "node": "gateway-1", "found_at": "2026-05-02T02:59:00Z"}],
    }
)
class DocumentationSerializer(serializers.Serializer[Any]):
    """Everything about the indexes."""

    has_registry = serializers.BooleanField(help_text="Whether DOCS_REGISTRY_URL is set.")
    indexes = IndexSerializer(many=True)
    looks = LookSerializer(many=True)
    history = InstalledSerializer(many=True)


class DocsIndexes(RestView):
    """The documentation that is searched."""

    serializer_class = DocumentationSerializer
    pagination_class = None
    filter_backends = ()
    required_scopes: ClassVar = {
        "retrieve": Scope.READ_CONFIGURATION,
        "check": Scope.WRITE_CONFIGURATION,
        "roll_back": Scope.WRITE_CONFIGURATION,
    }

    @extend_schema(
        summary="Show the documentation indexes of this node, and how the nodes look for others",
        responses=DocumentationSerializer,
    )
    def retrieve(self, request: Request) -> Response:
        return Response(self._state())

    @extend_schema(
        summary="Have every node look in the package registry now; the list tells how it goes",
        request=None,
        responses={202: DocumentationSerializer},
        parameters=[IDEMPOTENCY_KEY, REASON],
    )
    @idempotent
    def check(self, request: Request) -> Response:
        if not settings.DOCS_REGISTRY_URL:
            raise DocsRefused(NO_REGISTRY)
        CheckRequest.objects.ask()
        record(self.attribution(), "docs_index.check_asked")
        return Response(self._state(), status=HTTPStatus.ACCEPTED)

    @extend_schema(
        summary="Let the active index of a version and the one before it change places",
        request=None,
        responses=DocumentationSerializer,
        parameters=[IDEMPOTENCY_KEY, REASON],
    )
    @idempotent
    def roll_back(self, request: Request, version: str) -> Response:
        try:
            wanted = GitLabVersion.parse(version)
            roll_back(_store(), wanted)
        except (VersionInvalid, IndexMissing) as error:
            raise NotFound(str(error)) from error
        except (PreviousMissing, InstallationUnderWay) as error:
            raise DocsRefused(str(error), code=error.code) from error
        record(self.attribution(), "docs_index.rolled_back", object_name=str(wanted))
        return Response(self._state())

    def _state(self) -> Any:
        state = {
            "has_registry": bool(settings.DOCS_REGISTRY_URL),
            "indexes": installed_indexes(_store()),
            "looks": recent_looks(),
            "history": history(),
        }
        return DocumentationSerializer(state).data


# --- Search ---------------------------------------------------------------------------------------


class SearchQuery(serializers.Serializer[Any]):
    """What is asked; operators are words."""

    q = serializers.CharField(
        allow_blank=True,
        help_text=f"The question, in any words; what follows {MAX_QUERY_CHARS} characters is left "
        "out.",
    )
    gitlab_version = serializers.CharField(
        required=False, help_text="As in 17.4.0; left out: GITLAB_VERSION, or the newest."
    )
    limit = serializers.IntegerField(default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT)

    def validate_gitlab_version(self, text: str) -> str:
        try:
            return str(GitLabVersion.parse(text))
        except VersionInvalid as error:
            raise serializers.ValidationError(str(error)) from error


class PassageSerializer(serializers.Serializer[Any]):
    """A piece of documentation, best first."""

    path = serializers.CharField()
    title = serializers.CharField()
    headings = serializers.ListField(child=serializers.CharField())
    anchor = serializers.CharField()
    url = serializers.CharField()
    content = serializers.CharField()
    score = serializers.FloatField()

    def to_representation(self, instance: Passage) -> dict[str, Any]:
        return {
            "path": instance.path,
            "title": instance.title,
            "headings": [*instance.trail],
            "anchor": instance.anchor,
            "url": instance.url,
            "content": instance.content,
            "score": instance.score,
        }


@example(
    {
        "results": [
            {
                "path": "doc/user/project/issue_board.md",
                "title": "Issue boards",
                "headings": ["Create a board"],
                "anchor": "create-a-board",
                "url": "/help/user/project/issue_board.md#create-a-board",
                "content": "## Create a board\n\nSelect **New board**.",
                "score": 0.96,
            }
        ],
        "outcome": "found",
        "reason": "",
        "warning": "",
        "shown_query": "create a board",
        "gitlab_version": "17.4.0",
    }
)
class FoundSerializer(serializers.Serializer[Any]):
    """What a search found, and why it is that."""

    results = PassageSerializer(many=True, source="passages")
    outcome = serializers.ChoiceField(choices=[*Outcome])
    reason = serializers.CharField()
    warning = serializers.CharField()
    shown_query = serializers.CharField(help_text="As searched for; empty: as asked.")
    gitlab_version = serializers.SerializerMethodField()

    def get_gitlab_version(self, result: Any) -> str:
        return str(result.searched_version or "")


class DocsSearches(RestView):
    """The documentation, asked."""

    serializer_class = FoundSerializer
    pagination_class = None
    filter_backends = ()
    required_scopes: ClassVar = {"retrieve": Scope.SEARCH_DOCUMENTATION}

    @extend_schema(
        summary="Search GitLab's documentation",
        parameters=[SearchQuery],
        responses=FoundSerializer,
    )
    def retrieve(self, request: Request) -> Response:
        sent = request.query_params.dict()
        if "q" in sent:  # no question is an error
            sent["q"] = sent["q"].replace("\0", " ")[:MAX_QUERY_CHARS]
        query = SearchQuery(data=sent)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        version = asked.get("gitlab_version") or settings.GITLAB_VERSION
        result = _backend(request).search(
            asked["q"],
            wanted_version=GitLabVersion.parse(version) if version else None,
            limit=asked["limit"],
        )
        return Response(FoundSerializer(result).data)


def _backend(request: Request) -> SearchBackend:
    """Return the worker's own, whose indexes are open, where there is a worker."""
    runtime: Runtime | None = getattr(request, "scope", {}).get(RUNTIME_IN_SCOPE)
    if runtime:
        return runtime.docs.backend
    return local_backend(_store(), is_hybrid=bool(settings.DOCS_HYBRID))


def _store() -> IndexStore:
    return IndexStore.below(settings.DATA_DIR)
