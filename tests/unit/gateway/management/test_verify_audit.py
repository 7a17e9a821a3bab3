import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from gateway.models import AuditRecord
from tests.factories import make_deployment

pytestmark = pytest.mark.django_db


def verify_audit(*arguments: str) -> str:
    out = io.StringIO()
    call_command("verify_audit", *arguments, stdout=out)
    return out.getvalue()


def test_whole_history_is_good_and_its_head_is_printed() -> None:
    make_deployment()
    head = f"1:{AuditRecord.objects.get().hash}"

    assert verify_audit() == f"Records: 1. Revisions: 1.\nHead: {head}\n"
    assert json.loads(verify_audit("--json", "--head", head)) == {
        "records": 1,
        "revisions": 1,
        "head": head,
        "problems": [],
    }


def test_changed_history_is_unhealthy() -> None:
    make_deployment()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE gateway_auditrecord SET author = 'eve'")

    with pytest.raises(CommandError, match="Record 1: was changed") as refusal:
        verify_audit()

    assert refusal.value.returncode == 1


@pytest.mark.parametrize("head", ["1", "x:y", "1:abc"])
def test_head_that_is_none_is_misuse(head: str) -> None:
    with pytest.raises(CommandError, match="NUMBER:HASH") as refusal:
        verify_audit("--head", head)

    assert refusal.value.returncode == 2
