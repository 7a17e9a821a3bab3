"""`serving-config/`: what gateways without a database poll."""

from feature_config.catalogue import Feature
from gateway.configuration.serving_exports import (
    import_data,
    key_id_of,
    signing_key_from_settings,
    verify,
)
from tests.factories import assign, make_deployment
from tests.unit.gateway.rest.api import Api

PATH = "serving-config/"
KEY = "sk-canary-0123456789abcdef"


def test_node_takes_what_it_fetched(api: Api) -> None:
    assign(Feature.DUO_CHAT, make_deployment(name="a", api_key=KEY))

    told = api.get(PATH).json()

    public = signing_key_from_settings().public_key()
    imported = import_data(verify(told["signed"], {told["key_id"]: public}))
    assert told["key_id"] == key_id_of(public)
    assert (told["version"], told["revision"]) == (
        imported.configuration.document().digest(),
        imported.revision,
    )
    assert imported.configuration.routes[Feature.DUO_CHAT].chosen == ("a",)


def test_unchanged_configuration_is_not_sent_again(api: Api) -> None:
    first = api.get(PATH)
    again = api.get(PATH, if_none_match=first["ETag"])
    make_deployment()
    changed = api.get(PATH, if_none_match=first["ETag"])

    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


def test_key_encrypted_anew_is_sent_again(api: Api) -> None:
    row = make_deployment(api_key=KEY)
    first = api.get(PATH)
    row.set_api_key(KEY)
    row.save()

    assert api.get(PATH, if_none_match=first["ETag"]).status_code == 200
