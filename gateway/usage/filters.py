"""What requests can be looked for by: the same on the page and in the REST API."""

from typing import ClassVar

import django_filters
from django.db.models import QuerySet

from feature_config.catalogue import FEATURES, Feature
from gateway.errors import Hop
from gateway.exchange import MAX_USER_CHARS, Ending
from gateway.models import LoggedRequest
from gateway.usage.store import user_hash


class LoggedRequestFilter(django_filters.FilterSet):  # type: ignore[misc]  # it has no stubs
    """What to look for; each that is given must fit."""

    ending = django_filters.ChoiceFilter(
        choices=[(item.value, item.value) for item in Ending], empty_label="All"
    )
    hop = django_filters.ChoiceFilter(
        choices=[(item.value, item.value.replace("_", " ")) for item in Hop]
    )
    feature = django_filters.ChoiceFilter(
        choices=[(item.value, FEATURES[item].title) for item in Feature], empty_label="All"
    )
    user = django_filters.CharFilter(
        method="of_user",
        max_length=MAX_USER_CHARS,
        label="The user's id as GitLab sends it; only its hash is stored.",
    )

    class Meta:
        model = LoggedRequest
        fields: ClassVar = {
            "request_id": ["exact"],
            "deployment": ["exact"],
            "outcome": ["exact"],
            "status": ["exact"],
            "prompt_digest": ["exact"],
            "user_hash": ["exact"],
            "ended_at": ["gte", "lt"],
            "first_token_ms": ["gte"],
            "total_ms": ["gte"],
        }

    def of_user(
        self, rows: QuerySet[LoggedRequest], _name: str, user: str
    ) -> QuerySet[LoggedRequest]:
        return rows.filter(user_hash=user_hash(user))
