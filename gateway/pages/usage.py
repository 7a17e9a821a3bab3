"""The pages about use: charts over time, and requests one by one."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import urlencode

from feature_config.catalogue import FEATURES, Feature
from gateway.models import LoggedRequest
from gateway.pages.frame import newest_first, page
from gateway.pages.health_history import health_history
from gateway.pages.usage_charts import usage_view
from gateway.usage.filters import LoggedRequestFilter
from gateway.usage.series import Period, Window
from selfhosted_models.models import ModelDeployment

#: Filters that the page of requests offers; the REST API has more.
_OFFERED = ("feature", "deployment", "ending", "outcome", "request_id", "user")


@dataclass(frozen=True, slots=True)
class Span:
    """A choice of how far to look back, and in what steps."""

    title: str
    period: Period
    points: int


SPANS: Mapping[str, Span] = MappingProxyType(
    {
        "day": Span("Last 24 hours, by hour", Period.HOUR, 24),
        "week": Span("Last 7 days, by 6 hours", Period.SIX_HOURS, 7 * 4),
        "month": Span("Last 30 days, by day", Period.DAY, 30),
        "quarter": Span("Last 90 days, by day", Period.DAY, 90),
        "year": Span("Last 52 weeks, by week", Period.WEEK, 52),
    }
)
_FEATURE_TITLES = {feature.value: FEATURES[feature].title for feature in Feature}


def usage_page(request: HttpRequest) -> HttpResponse:
    """Show what requests came to, and how endpoints were, over time."""
    names = [*ModelDeployment.objects.values_list("name", flat=True)]
    chosen = {
        "span": _chosen(request, "span", SPANS) or "day",
        "feature": _chosen(request, "feature", _FEATURE_TITLES),
        "deployment": _chosen(request, "deployment", names),
    }
    span, now = SPANS[chosen["span"]], timezone.now()
    only = {name: chosen[name] or None for name in ("feature", "deployment")}
    window = Window.last(span.period, span.points, now, **only)
    context = {
        "chosen": chosen,
        "spans": [(key, item.title) for key, item in SPANS.items()],
        "features": _FEATURE_TITLES.items(),
        "deployments": names,
        "window": window,
        "usage": usage_view(window, _FEATURE_TITLES),
        "health": health_history(window.since, now),
    }
    return page(request, "gateway/usage.html", "Usage and health", context)


def requests_page(request: HttpRequest) -> HttpResponse:
    """Show requests one by one, newest first, those that fit the filters."""
    search = LoggedRequestFilter(request.GET, queryset=LoggedRequest.objects.all())
    rows, older = newest_first(search.qs, request.GET.get("before", ""))
    asked = {name: request.GET[name] for name in _OFFERED if request.GET.get(name)}
    context: dict[str, Any] = {
        "fields": [search.form[name] for name in _OFFERED],
        "rows": [(row, _FEATURE_TITLES.get(row.feature, "")) for row in rows],
        "is_searching": bool(asked),
        "older": older,
        "query": urlencode(asked),
    }
    return page(request, "gateway/requests.html", "Requests", context)


def _chosen(request: HttpRequest, name: str, known: Any) -> str:
    """Return what the form asked for; "" where it is nothing we know."""
    value = request.GET.get(name, "")
    return value if value in known else ""
