"""Tokens for programs: made once and shown once, found by their hash."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from gateway.audit import Attribution, record
from gateway.models import ApiToken
from gateway.rest.scopes import Scope

#: So that scanners for leaked secrets can know one.
PREFIX = "shdapi_"
DEFAULT_TTL_S = 90 * 24 * 3600
MAX_TTL_S = 366 * 24 * 3600
_USE_NOTED_EVERY = timedelta(minutes=1)


def create_api_token(
    name: str, scopes: Iterable[Scope], attribution: Attribution, *, ttl_s: int = DEFAULT_TTL_S
) -> str:
    """Store a new token and return it; it cannot be had again.

    Args:
        name: Not in use yet, also not by a token that was revoked: the history names it.
        scopes: What it permits.
        attribution: Who makes it.
        ttl_s: Seconds until it expires.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    now = timezone.now()
    row = ApiToken(
        name=name,
        digest=_digest_of(token),
        scopes=sorted(scopes),
        created_at=now,
        expires_at=now + timedelta(seconds=ttl_s),
    )
    with transaction.atomic():
        row.save()
        changes = {
            "scopes": (None, row.scopes),
            "expires_at": (None, row.expires_at.isoformat()),
        }
        _record(row, "created", attribution, changes)
    return token


def revoke_api_token(row: ApiToken, attribution: Attribution) -> None:
    """Refuse the token from now on."""
    with transaction.atomic():
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        _record(row, "revoked", attribution, {})


def find_api_token(token: str) -> ApiToken | None:
    """Return the usable row of a token, noting its use; None if there is none."""
    now = timezone.now()
    row = ApiToken.objects.usable(now).filter(digest=_digest_of(token)).first()
    if row is not None and (row.last_used_at is None or now - row.last_used_at >= _USE_NOTED_EVERY):
        row.last_used_at = now
        row.save(update_fields=["last_used_at"])
    return row


def _digest_of(token: str) -> str:
    """Plain, not stretched: a token has 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def _record(
    row: ApiToken, verb: str, attribution: Attribution, changes: Mapping[str, tuple[Any, Any]]
) -> None:
    record(
        attribution,
        f"api_token.{verb}",
        object_id=f"api_token:{row.pk}",
        object_name=row.name,
        changes=changes,
    )
