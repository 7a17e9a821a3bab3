"""POSTs that may be repeated: the same `Idempotency-Key` gets the same answer, once done."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.models import IdempotentAnswer
from gateway.rest.clients import client_of
from gateway.rest.problems import KeyReused

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT = timedelta(hours=24)
_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_KEPT_HEADERS = ("ETag", "Location")

Method = Callable[..., Response]


def idempotent(method: Method) -> Method:
    """Wrap the method of a view that a POST calls.

    What it does and the note of its answer are one transaction: an error leaves neither, so the
    same key may be sent again. Not for answers that hold a secret.
    """

    @wraps(method)
    def answer(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return method(view, request, *args, **kwargs)
        if not _KEY.fullmatch(key):
            raise ValidationError({HEADER: "1 to 128 visible ASCII characters, please."})
        now = timezone.now()
        with transaction.atomic():
            IdempotentAnswer.objects.filter(created_at__lt=now - KEPT).delete()
            note, is_new = IdempotentAnswer.objects.get_or_create(
                client=client_of(request).name,
                key=key,
                defaults={"request_digest": _digest_of(request), "created_at": now},
            )
            if not is_new:
                return _replayed(note, request)
            response = method(view, request, *args, **kwargs)
            note.status = response.status_code
            note.body = response.data
            note.headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
            note.save()
        return response

    return answer


def _replayed(note: IdempotentAnswer, request: Request) -> Response:
    if note.request_digest != _digest_of(request):
        raise KeyReused
    return Response(note.body, note.status, headers={**note.headers, REPLAYED: "true"})


def _digest_of(request: Request) -> str:
    """Keyed, because the body may hold an API key that could be guessed from a plain digest."""
    asked = b"\n".join((request.get_full_path().encode(), request.body))
    return salted_hmac("gateway.rest.idempotency", asked, algorithm="sha256").hexdigest()
