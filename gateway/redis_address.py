"""Where Redis, or a Valkey, is."""

from django.conf import settings
from redis.connection import parse_url

from selfhosted_models.errors import SettingInvalid

_SCHEMES = ("redis://", "rediss://", "unix://")


def redis_url_from_settings() -> str:
    """Return REDIS_URL; "" where there is none.

    Raises:
        SettingInvalid: It is no URL of a Redis. The message repeats nothing of it: a password may
            be inside.
    """
    url: str = settings.REDIS_URL
    try:
        if url:
            parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise SettingInvalid(
            "REDIS_URL is no URL of a Redis.",
            f"It begins with one of {', '.join(_SCHEMES)}, as in redis://cache:6379/0; a Valkey is "
            "redis:// too.",
        ) from error
    return url
