"""What a change came to, as several resources tell it."""

from collections.abc import Iterable, Sequence
from typing import Any

from rest_framework import serializers

from gateway.configuration.planning import Action, Change, Kind
from gateway.models import Revision
from gateway.rest.examples import example


class FieldChangeSerializer(serializers.Serializer[Any]):
    """Values as the configuration document has them; null is absent."""

    old = serializers.JSONField(allow_null=True)
    new = serializers.JSONField(allow_null=True)


class ChangeSerializer(serializers.Serializer[Any]):
    """What becomes of one deployment or feature."""

    action = serializers.ChoiceField(choices=list(Action))
    kind = serializers.ChoiceField(choices=list(Kind))
    name = serializers.CharField()
    fields = serializers.DictField(child=FieldChangeSerializer())  # type: ignore[assignment]


EXAMPLE_CHANGE = {
    "action": "changed",
    "kind": "feature",
    "name": "duo_chat",
    "fields": {"answered_by": {"old": "unassigned", "new": ["mixtral-a", "mixtral-b"]}},
}


@example({"changes": [EXAMPLE_CHANGE]})
class DifferenceSerializer(serializers.Serializer[Any]):
    """What leads from one configuration to another."""

    changes = ChangeSerializer(many=True)


@example({"changes": [EXAMPLE_CHANGE], "notes": [], "revision": 42})
class OutcomeSerializer(DifferenceSerializer):
    """What was done, or would be."""

    notes = serializers.ListField(child=serializers.CharField())
    revision = serializers.IntegerField(
        allow_null=True, help_text="The revision it made; null if nothing changed, or was to."
    )


def difference_of(changes: Iterable[Change]) -> dict[str, Any]:
    return {"changes": [change.to_data() for change in changes]}


def outcome_of(
    changes: Iterable[Change], revision: Revision | None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    number = revision.number if revision else None
    return {**difference_of(changes), "notes": list(notes), "revision": number}
