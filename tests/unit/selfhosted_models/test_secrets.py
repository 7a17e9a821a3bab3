import json
import logging
import pickle
from collections.abc import Callable

import orjson
import pytest
from cryptography.fernet import Fernet

from selfhosted_models.errors import SecretUnavailable
from selfhosted_models.secrets import Secret, SecretBox
from tests.factories import make_serving

KEY = "sk-very-secret-key"
CONTEXT = "table.column:row-1"


def new_key() -> str:
    return Fernet.generate_key().decode()


WAYS_TO_SHOW: dict[str, Callable[[Secret], str]] = {
    "repr": repr,
    "str": str,
    "format": format,
    "f-string": lambda secret: f"{secret}",
    "width": lambda secret: f"{secret:>40}",
    "!r": lambda secret: f"{secret!r}",
    "str.format": "{}".format,
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - this way too
    "list": lambda secret: str([secret]),
    "dict": lambda secret: str({"api_key": secret}),
    "snapshot": lambda secret: repr(make_serving(api_key=secret)),
    "json": lambda secret: json.dumps({"api_key": secret}, default=str),
    "orjson": lambda secret: orjson.dumps({"api_key": secret}, default=str).decode(),
}


@pytest.mark.parametrize("way", WAYS_TO_SHOW)
def test_secret_is_never_shown(way: str) -> None:
    shown = WAYS_TO_SHOW[way](Secret(KEY))

    assert "***" in shown
    assert KEY not in shown


def test_secret_is_not_json() -> None:
    with pytest.raises(TypeError) as caught:
        json.dumps({"api_key": Secret(KEY)})

    assert KEY not in str(caught.value)


def test_secret_does_not_travel_by_pickle() -> None:
    pickled = pickle.dumps(make_serving(api_key=Secret(KEY)))

    assert KEY.encode() not in pickled
    restored = pickle.loads(pickled)  # noqa: S301 - made in the line above
    assert restored.api_key.reveal() == "***"


def test_secret_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("key %s of %r", Secret(KEY), {"key": Secret(KEY)})

    assert caplog.messages == ["key *** of {'key': ***}"]


def test_secret_has_no_attributes_to_list() -> None:
    with pytest.raises(TypeError):
        vars(Secret(KEY))


def test_secret_reveals_itself_on_request() -> None:
    assert Secret(KEY).reveal() == KEY


def test_secret_equals_its_value_alone() -> None:
    assert Secret(KEY).equals(KEY)
    assert not Secret(KEY).equals(KEY + "x")
    assert not Secret("é").equals("e")


def test_fingerprint_tells_equal_secrets_and_nothing_else() -> None:
    fingerprint = Secret(KEY).fingerprint(keyed_by="one")

    assert fingerprint == Secret(KEY).fingerprint(keyed_by="one")
    assert fingerprint != Secret(KEY).fingerprint(keyed_by="another")
    assert fingerprint != Secret(KEY + "x").fingerprint(keyed_by="one")
    assert len(fingerprint) == 16


def test_box_closes_again_for_another_context() -> None:
    box = SecretBox([new_key()])
    opened = box.decrypt(box.encrypt(KEY, context=CONTEXT), context=CONTEXT)

    token = box.encrypt_again(opened, context="another")

    assert box.decrypt(token, context="another").equals(KEY)
    with pytest.raises(SecretUnavailable):
        box.decrypt(token, context=CONTEXT)


def test_box_opens_what_it_closed() -> None:
    box = SecretBox([new_key()])

    token = box.encrypt(KEY, context=CONTEXT)

    assert box.decrypt(token, context=CONTEXT).reveal() == KEY
    assert KEY not in token


def test_box_never_makes_the_same_token_twice() -> None:
    box = SecretBox([new_key()])

    assert box.encrypt(KEY, context=CONTEXT) != box.encrypt(KEY, context=CONTEXT)


def test_older_keys_still_open() -> None:
    old, new = new_key(), new_key()
    token = SecretBox([old]).encrypt(KEY, context=CONTEXT)

    for keys in ([new, old], [old, new]):
        assert SecretBox(keys).decrypt(token, context=CONTEXT).reveal() == KEY


def test_newest_key_closes() -> None:
    old, new = new_key(), new_key()

    token = SecretBox([new, old]).encrypt(KEY, context=CONTEXT)

    assert SecretBox([new]).decrypt(token, context=CONTEXT).reveal() == KEY
    with pytest.raises(SecretUnavailable):
        SecretBox([old]).decrypt(token, context=CONTEXT)


def test_wrong_key_says_what_to_do() -> None:
    token = SecretBox([new_key()]).encrypt(KEY, context=CONTEXT)

    with pytest.raises(SecretUnavailable, match="restore the ENCRYPTION_KEYS") as caught:
        SecretBox([new_key()]).decrypt(token, context=CONTEXT)

    assert caught.value.code == "secret_unavailable"
    assert token not in str(caught.value)


def test_token_of_another_row_is_not_opened() -> None:
    box = SecretBox([new_key()])
    token = box.encrypt(KEY, context=CONTEXT)

    with pytest.raises(SecretUnavailable, match="belongs to another deployment") as caught:
        box.decrypt(token, context="table.column:row-2")

    assert KEY not in str(caught.value)


@pytest.mark.parametrize("token", ["", "gibberish", "gAAAAA", "é", KEY])
def test_token_that_is_none_fails_closed(token: str) -> None:
    with pytest.raises(SecretUnavailable) as caught:
        SecretBox([new_key()]).decrypt(token, context=CONTEXT)

    assert KEY not in str(caught.value)


@pytest.mark.parametrize("content", [b"", KEY.encode(), b'"text"', b"[1, 2, 3]", b"7", b"\xff"])
def test_token_that_holds_something_else_fails_closed(content: bytes) -> None:
    key = new_key()
    token = Fernet(key).encrypt(content).decode()

    with pytest.raises(SecretUnavailable) as caught:
        SecretBox([key]).decrypt(token, context=CONTEXT)

    assert KEY not in str(caught.value)


@pytest.mark.parametrize("position", [0, 20, -3])
def test_altered_token_fails_closed(position: int) -> None:
    box = SecretBox([new_key()])
    token = list(box.encrypt(KEY, context=CONTEXT))

    token[position] = "A" if token[position] != "A" else "B"

    with pytest.raises(SecretUnavailable):
        box.decrypt("".join(token), context=CONTEXT)
