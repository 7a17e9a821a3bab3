"""Whether a Celery worker works, told by what it does: a process that hangs is up, too."""

import secrets

import redis

from gateway.redis_address import redis_url_from_settings

_KEY = "selfhosted-duo:sign-of-life:{}"
_KEPT_S = 60
_CONNECT_S = 2.0
#: Longer than one wait for a sign.
_ANSWER_S = 3.0
_NUMBERS = 2**48


def store(connect_s: float = _CONNECT_S) -> redis.Redis:
    """Return a client of REDIS_URL that does not wait long.

    Raises:
        SettingInvalid: It is no URL of a Redis.
    """
    return redis.Redis.from_url(
        redis_url_from_settings(),
        socket_timeout=_ANSWER_S,
        socket_connect_timeout=connect_s,
        retry=None,
    )


def new_number() -> int:
    """Return a number nobody else waits for."""
    return secrets.randbelow(_NUMBERS)


def give(number: int) -> None:
    """Leave a sign for whoever waits for this number; the task's work."""
    key = _KEY.format(number)
    with store() as client:
        client.lpush(key, 1)
        client.expire(key, _KEPT_S)


def is_given(number: int, *, within_s: int) -> bool:
    """Wait for the sign.

    Raises:
        redis.RedisError: Redis is away.
    """
    with store() as client:
        return any(
            client.blpop([_KEY.format(number)], timeout=1) is not None for _ in range(within_s)
        )
