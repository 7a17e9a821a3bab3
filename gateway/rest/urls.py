"""The paths of `/api/v1/`."""

from typing import Any

from django.urls import path, re_path

from gateway.rest.answering import Explain, Prompts, Routing
from gateway.rest.deployments import Deployments
from gateway.rest.direct_access import DirectAccess
from gateway.rest.documentation import DocsIndexes, DocsSearches
from gateway.rest.evaluations import Evaluations
from gateway.rest.features import Features, FeatureSettings
from gateway.rest.history import Audit, Revisions
from gateway.rest.probes import DeploymentProbes, ProbeRuns
from gateway.rest.questions import GoldenQuestions, UnansweredQuestions
from gateway.rest.schema import Schema
from gateway.rest.serving_config import ServingConfiguration
from gateway.rest.usage import RequestLogs, Usage
from gateway.rest.views import NoSuchPath

_METHODS = ("get", "post", "put", "patch", "delete")
_LIST: dict[str, Any] = {"get": "list"}
_SHOW: dict[str, Any] = {"get": "retrieve"}

urlpatterns = [
    path("deployments/", Deployments.as_view(_LIST | {"post": "create"})),
    path(
        "deployments/<uuid:pk>/",
        Deployments.as_view(_SHOW | {"patch": "partial_update", "delete": "destroy"}),
    ),
    path("deployments/inspect/", DeploymentProbes.as_view({"post": "inspect"})),
    path("deployments/test/", DeploymentProbes.as_view({"post": "test"})),
    path("deployments/<uuid:pk>/test/", DeploymentProbes.as_view({"post": "test_changed"})),
    path("deployments/<uuid:pk>/probe/", DeploymentProbes.as_view({"post": "probe"})),
    path("deployments/<uuid:pk>/fingerprint/", DeploymentProbes.as_view({"post": "fingerprint"})),
    path("probe-runs/", ProbeRuns.as_view(_LIST)),
    path("probe-runs/<int:number>/", ProbeRuns.as_view(_SHOW)),
    path("probe-runs/<int:number>/cancel/", ProbeRuns.as_view({"post": "cancel"})),
    path("features/", Features.as_view(_LIST)),
    path("features/<str:feature>/", Features.as_view(_SHOW)),
    path("feature-settings/", FeatureSettings.as_view(_LIST)),
    path("feature-settings/bulk/", FeatureSettings.as_view({"post": "bulk"})),
    path("feature-settings/<str:feature>/", FeatureSettings.as_view(_SHOW | {"put": "update"})),
    path("prompts/<str:feature>/render/", Prompts.as_view({"post": "render"})),
    path("explain/<str:feature>/", Explain.as_view(_SHOW)),
    path("routing/<str:feature>/", Routing.as_view(_SHOW)),
    path("evaluations/", Evaluations.as_view(_LIST | {"post": "create"})),
    path("evaluations/comparison/", Evaluations.as_view({"post": "start_comparison"})),
    path("evaluations/<int:number>/", Evaluations.as_view(_SHOW)),
    path("evaluations/<int:number>/comparison/", Evaluations.as_view({"get": "comparison"})),
    path("evaluations/<int:number>/cancel/", Evaluations.as_view({"post": "cancel"})),
    path("evaluations/<int:number>/resume/", Evaluations.as_view({"post": "resume"})),
    path("revisions/", Revisions.as_view(_LIST)),
    path("revisions/<int:number>/", Revisions.as_view(_SHOW)),
    path("revisions/<int:number>/diff/", Revisions.as_view({"get": "diff"})),
    path("revisions/<int:number>/restore/", Revisions.as_view({"post": "restore"})),
    path("audit/", Audit.as_view(_LIST)),
    path("audit/verify/", Audit.as_view({"get": "verify"})),
    path("audit/<int:number>/", Audit.as_view(_SHOW)),
    path("usage/", Usage.as_view(_SHOW)),
    path("request-logs/", RequestLogs.as_view(_LIST)),
    path("request-logs/<int:pk>/", RequestLogs.as_view(_SHOW)),
    path("serving-config/", ServingConfiguration.as_view(_SHOW)),
    path("direct_access/", DirectAccess.as_view({"post": "create"})),
    path("docs-indexes/", DocsIndexes.as_view(_SHOW)),
    path("docs-indexes/check/", DocsIndexes.as_view({"post": "check"})),
    path("docs-indexes/<str:version>/rollback/", DocsIndexes.as_view({"post": "roll_back"})),
    path("golden-questions/", GoldenQuestions.as_view(_LIST | {"post": "create"})),
    path("golden-questions/<int:number>/", GoldenQuestions.as_view(_SHOW | {"delete": "destroy"})),
    path("unanswered-questions/", UnansweredQuestions.as_view(_LIST)),
    path("unanswered-questions/deal-with/", UnansweredQuestions.as_view({"post": "deal_with"})),
    path("docs-search/", DocsSearches.as_view(_SHOW)),
    path("schema/", Schema.as_view({"get": "get"})),
    re_path("", NoSuchPath.as_view(dict.fromkeys(_METHODS, "answer"))),
]
