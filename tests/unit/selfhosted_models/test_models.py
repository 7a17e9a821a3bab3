from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from selfhosted_models.errors import EndpointRefused, SecretUnavailable
from selfhosted_models.families import FAMILIES, ModelFamily
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox
from selfhosted_models.serving import DEFAULT_MAX_IN_FLIGHT, ClockOverrides
from selfhosted_models.signals import deployment_cleaning
from tests.factories import build_deployment, make_deployment

pytestmark = pytest.mark.django_db

KEY = "sk-0123456789abcdefWXYZ"


def errors_of(deployment: ModelDeployment) -> dict[str, list[str]]:
    """Return the messages of `full_clean`, by field; none if it passes."""
    try:
        deployment.full_clean()
    except ValidationError as error:
        return error.message_dict
    return {}


def stored(deployment: ModelDeployment) -> ModelDeployment:
    return ModelDeployment.objects.get(pk=deployment.pk)


def test_deployment_of_the_factory_is_valid() -> None:
    assert errors_of(build_deployment()) == {}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "", "This field cannot be blank."),
        ("name", "a" * 101, "Ensure this value has at most 100 characters (it has 101)."),
        ("family", "", "This field cannot be blank."),
        ("family", "bloom", "Value 'bloom' is not a valid choice."),
        ("serving_format", "soap", "Value 'soap' is not a valid choice."),
        ("model_identifier", "", "This field cannot be blank."),
        ("endpoints", [], "This field cannot be blank."),
        ("endpoints", "http://gpu1/v1", "Enter a list of URLs."),
        ("endpoints", [7], "Enter a list of URLs."),
        ("endpoints", {"url": "http://gpu1"}, "Enter a list of URLs."),
        ("endpoints", [f"http://gpu{n}" for n in range(17)], "Enter 1 to 16 URLs."),
        ("endpoints", ["http://gpu1", "http://GPU1:80/"], "The same URL is there twice."),
        (
            "endpoints",
            ["http://gpu1", "http://gpu1 weight=3"],
            "The same URL is there twice.",
        ),
        ("max_in_flight", 0, "Ensure this value is greater than or equal to 1."),
        ("max_in_flight", 10_001, "Ensure this value is less than or equal to 10000."),
        ("context_tokens", 255, "Ensure this value is greater than or equal to 256."),
        ("context_tokens", 10_000_001, "Ensure this value is less than or equal to 10000000."),
        ("first_token_timeout_s", 0.9, "Ensure this value is greater than or equal to 1."),
        ("first_token_timeout_s", 301, "Ensure this value is less than or equal to 300."),
        ("idle_timeout_s", 1.9, "Ensure this value is greater than or equal to 2."),
        ("idle_timeout_s", 121, "Ensure this value is less than or equal to 120."),
        ("total_timeout_s", 4.9, "Ensure this value is greater than or equal to 5."),
        ("total_timeout_s", 901, "Ensure this value is less than or equal to 900."),
        ("total_timeout_s", float("inf"), "Ensure this value is less than or equal to 900."),
    ],
)
def test_bad_value_is_an_error_of_its_field(field: str, value: Any, message: str) -> None:
    assert errors_of(build_deployment(**{field: value})) == {field: [message]}


def test_model_identifier_fits_the_serving_format() -> None:
    fields = {"serving_format": "triton", "model_identifier": "../../admin"}

    errors = errors_of(build_deployment(**fields))

    assert list(errors) == ["model_identifier"]
    assert "Triton's model names" in errors["model_identifier"][0]
    assert errors_of(build_deployment(**{**fields, "model_identifier": "ensemble"})) == {}
    assert errors_of(build_deployment(**{**fields, "serving_format": "ollama"})) == {}


@pytest.mark.parametrize("field", ["first_token_timeout_s", "idle_timeout_s", "total_timeout_s"])
def test_timeout_is_a_number(field: str) -> None:
    assert field in errors_of(build_deployment(**{field: float("nan")}))


@pytest.mark.parametrize(
    ("field", "bounds"),
    [
        ("first_token_timeout_s", (1, 300)),
        ("idle_timeout_s", (2, 120)),
        ("total_timeout_s", (5, 900)),
        ("context_tokens", (256, 10_000_000)),
    ],
)
def test_bounds_themselves_are_accepted(field: str, bounds: tuple[int, int]) -> None:
    for value in (*bounds, None):
        assert errors_of(build_deployment(**{field: value})) == {}


def test_total_time_out_is_not_shorter_than_that_of_the_first_token() -> None:
    deployment = build_deployment(first_token_timeout_s=31, total_timeout_s=30)

    assert errors_of(deployment) == {
        "total_timeout_s": ["Must not be shorter than the first token time-out."]
    }


def test_time_out_that_is_no_number_leaves_the_others_to_be_checked() -> None:
    deployment = build_deployment(first_token_timeout_s="soon", total_timeout_s=901)

    assert set(errors_of(deployment)) == {"first_token_timeout_s", "total_timeout_s"}


def test_both_time_outs_may_be_the_same() -> None:
    assert errors_of(build_deployment(first_token_timeout_s=30, total_timeout_s=30)) == {}


def test_each_bad_endpoint_is_named_by_its_number() -> None:
    urls = ["http://gpu1/v1", "gpu2/v1", "http://gpu3/v1", "http://gpu4/v1?x"]

    messages = errors_of(build_deployment(endpoints=urls))["endpoints"]

    assert [message.partition(":")[0] for message in messages] == ["URL 2", "URL 4"]


def test_name_of_another_deployment_is_refused_in_our_words() -> None:
    make_deployment(name="gpu1")

    assert errors_of(build_deployment(name="gpu1")) == {
        "name": ["Another deployment has this name: choose a different one."]
    }


@pytest.mark.parametrize(
    "overrides", [{"name": ""}, {"model_identifier": ""}, {"family": "bloom"}], ids=str
)
def test_database_refuses_what_no_form_has_checked(overrides: dict[str, str]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_deployment(**overrides)

    assert not ModelDeployment.objects.exists()


def test_choices_of_family_say_which_is_off_the_supported_list() -> None:
    titles = dict(ModelDeployment._meta.get_field("family").flatchoices)

    marked = [family for family, title in titles.items() if "not on the supported list" in title]

    assert list(titles) == list(ModelFamily)
    assert marked == ["general"]


def test_key_is_stored_encrypted_and_can_be_decrypted() -> None:
    deployment = stored(make_deployment(api_key=KEY))

    key = deployment.decrypt_api_key(SecretBox(settings.ENCRYPTION_KEYS))

    assert key is not None
    assert key.reveal() == KEY
    assert KEY not in str(ModelDeployment.objects.values_list())


def test_deployment_without_a_key_has_none() -> None:
    deployment = make_deployment()

    assert deployment.has_api_key is False
    assert deployment.decrypt_api_key(SecretBox(settings.ENCRYPTION_KEYS)) is None


def test_removed_key_leaves_nothing() -> None:
    deployment = make_deployment(api_key=KEY)

    deployment.remove_api_key()
    deployment.save()

    assert stored(deployment).api_key_ciphertext == ""
    assert stored(deployment).api_key_hint == ""
    assert stored(deployment).api_key_fingerprint == ""


def test_key_has_the_same_fingerprint_in_every_row() -> None:
    one, other = make_deployment(api_key=KEY), make_deployment(api_key=KEY)

    assert one.api_key_fingerprint == other.api_key_fingerprint != ""
    assert one.api_key_ciphertext != other.api_key_ciphertext
    assert make_deployment(api_key="another").api_key_fingerprint != one.api_key_fingerprint


def test_new_key_is_not_from_where_the_one_before_was() -> None:
    deployment = make_deployment(api_key=KEY, api_key_env="KEY", api_key_file="key")

    deployment.set_api_key("another")

    assert (deployment.api_key_env, deployment.api_key_file) == ("", "")


def test_key_is_taken_over_from_another_row() -> None:
    box = SecretBox(settings.ENCRYPTION_KEYS)
    owner, taker = make_deployment(api_key=KEY), make_deployment(api_key="before")

    taker.take_api_key(owner, box)

    assert taker.holds_api_key(KEY, box)
    assert taker.api_key_hint == owner.api_key_hint
    assert taker.api_key_fingerprint == owner.api_key_fingerprint
    taker.take_api_key(make_deployment(), box)
    assert not taker.has_api_key


def test_key_that_cannot_be_decrypted_is_no_key_one_holds() -> None:
    box = SecretBox(settings.ENCRYPTION_KEYS)

    assert not make_deployment(api_key_ciphertext="nonsense").holds_api_key(KEY, box)
    assert not make_deployment().holds_api_key(KEY, box)


@pytest.mark.parametrize(("key", "hint"), [("a" * 16 + "WXYZ", "WXYZ"), ("a" * 15 + "WXYZ", "")])
def test_hint_is_the_end_of_a_long_key_only(key: str, hint: str) -> None:
    assert make_deployment(api_key=key).api_key_hint == hint


def test_hint_of_a_key_before_is_not_kept_for_a_short_one() -> None:
    deployment = make_deployment(api_key=KEY)

    deployment.set_api_key("short")

    assert deployment.api_key_hint == ""


@pytest.mark.parametrize(
    "key",
    ["", " ", "a b", "a\nb", "a\r\nX-Evil: 1", "a\tb", "a\x00b", "a\x7f", "ключ", "é", "a" * 2001],
    ids=ascii,
)
def test_key_no_header_may_carry_is_refused(key: str) -> None:
    deployment = build_deployment()

    with pytest.raises(ValidationError, match="1 to 2,000 visible ASCII") as caught:
        deployment.set_api_key(key)

    assert deployment.has_api_key is False
    assert caught.value.code == "api_key"


def test_space_around_a_key_is_taken_off() -> None:
    deployment = make_deployment(api_key=f"  {KEY}\n")

    key = deployment.decrypt_api_key(SecretBox(settings.ENCRYPTION_KEYS))

    assert key is not None
    assert key.reveal() == KEY


def test_longest_key_is_stored() -> None:
    assert make_deployment(api_key="a" * 2000).has_api_key


def test_key_copied_from_another_row_is_not_opened() -> None:
    rich, poor = make_deployment(api_key=KEY), make_deployment()

    ModelDeployment.objects.filter(pk=poor.pk).update(api_key_ciphertext=rich.api_key_ciphertext)

    with pytest.raises(SecretUnavailable):
        stored(poor).decrypt_api_key(SecretBox(settings.ENCRYPTION_KEYS))


@pytest.mark.parametrize(
    "endpoints",
    [
        ["http://other:8000/v1"],
        ["http://gpu1:8000/v1", "http://other:8000/v1"],
        ["http://gpu1:9000/v1"],
        ["https://gpu1:8000/v1"],
    ],
    ids=["another host", "one more host", "another port", "another scheme"],
)
def test_stored_key_does_not_follow_to_another_host(endpoints: list[str]) -> None:
    deployment = stored(make_deployment(api_key=KEY, endpoints=["http://gpu1:8000/v1"]))

    deployment.endpoints = endpoints

    assert list(errors_of(deployment)) == ["endpoints"]


@pytest.mark.parametrize(
    "endpoints",
    [["http://gpu2/v1"], ["http://GPU1:80/other"], ["http://gpu2/v1", "http://gpu1/v1"]],
    ids=["fewer", "another path", "another order"],
)
def test_stored_key_stays_with_the_hosts_it_was_entered_for(endpoints: list[str]) -> None:
    known = ["http://gpu1/v1", "http://gpu2/v1"]
    deployment = stored(make_deployment(api_key=KEY, endpoints=known))

    deployment.endpoints = endpoints

    assert errors_of(deployment) == {}


def test_endpoints_that_are_no_text_are_an_error_where_a_key_is_stored() -> None:
    deployment = stored(make_deployment(api_key=KEY))

    deployment.endpoints = [7]

    assert "Enter a list of URLs." in errors_of(deployment)["endpoints"]


def test_another_host_is_accepted_with_its_own_key() -> None:
    deployment = stored(make_deployment(api_key=KEY))

    deployment.endpoints = ["http://other/v1"]
    deployment.set_api_key("sk-other")

    assert errors_of(deployment) == {}


def test_another_host_is_accepted_once_the_key_is_removed() -> None:
    deployment = stored(make_deployment(api_key=KEY))

    deployment.endpoints = ["http://other/v1"]
    deployment.remove_api_key()

    assert errors_of(deployment) == {}


def test_another_host_is_accepted_where_no_key_is_stored() -> None:
    deployment = stored(make_deployment())

    deployment.endpoints = ["http://other/v1"]

    assert errors_of(deployment) == {}


def test_active_leaves_out_inactive_deployments() -> None:
    active = make_deployment()
    make_deployment(is_active=False)

    assert list(ModelDeployment.objects.active()) == [active]


@pytest.mark.parametrize("family", list(ModelFamily))
def test_snapshot_holds_what_requests_need(family: ModelFamily) -> None:
    deployment = make_deployment(
        api_key=KEY, family=family, context_tokens=8192, first_token_timeout_s=9, idle_timeout_s=3
    )

    serving = stored(deployment).to_serving_config(SecretBox(settings.ENCRYPTION_KEYS))

    assert (serving.deployment, serving.family) == (deployment.name, family)
    assert [endpoint.url for endpoint in serving.endpoints] == ["http://10.0.4.11:8000/v1"]
    assert serving.api_key is not None
    assert serving.api_key.reveal() == KEY
    assert serving.context_tokens == 8192
    assert serving.has_system_role is FAMILIES[family].has_system_role
    assert serving.clock_overrides == ClockOverrides(first_token_s=9, idle_s=3, total_s=None)


@pytest.mark.parametrize(("chosen", "expected"), [(None, 2 * DEFAULT_MAX_IN_FLIGHT), (8, 8)])
def test_requests_at_once_are_those_of_each_endpoint_unless_chosen(
    chosen: int | None, expected: int
) -> None:
    deployment = make_deployment(
        endpoints=["http://gpu1/v1", "http://gpu2/v1 weight=3"], max_in_flight=chosen
    )

    serving = deployment.to_serving_config(SecretBox(settings.ENCRYPTION_KEYS))

    assert serving.max_in_flight == expected
    assert [endpoint.weight for endpoint in serving.endpoints] == [1, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoints": ["http://gpu1/v1", "gpu2"]},
        {"serving_format": "soap"},
        {"serving_format": "triton", "model_identifier": "../admin"},
    ],
    ids=str,
)
def test_snapshot_of_a_row_that_no_form_has_checked_is_refused(fields: dict[str, Any]) -> None:
    deployment = make_deployment(**fields)

    with pytest.raises(EndpointRefused):
        deployment.to_serving_config(SecretBox(settings.ENCRYPTION_KEYS))


def test_rule_of_another_app_is_asked_when_a_deployment_is_checked() -> None:
    def refuse(*, deployment: ModelDeployment, **_: Any) -> None:
        raise ValidationError({"name": f"{deployment.name} will not do."})

    deployment_cleaning.connect(refuse)
    try:
        errors = errors_of(build_deployment(name="gpu1"))
    finally:
        deployment_cleaning.disconnect(refuse)

    assert errors == {"name": ["gpu1 will not do."]}


def test_name_in_other_letters_is_refused_by_form_and_database() -> None:
    make_deployment(name="GPU one")
    twin = build_deployment(name="gpu ONE")

    with pytest.raises(ValidationError) as refusal:
        twin.full_clean()
    assert refusal.value.message_dict == {
        "name": ["GPU one differs by capital letters alone: choose another name."]
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


def test_the_same_name_is_told_once() -> None:
    make_deployment(name="gpu1")

    with pytest.raises(ValidationError) as refusal:
        build_deployment(name="gpu1").full_clean()

    assert refusal.value.message_dict == {
        "name": ["Another deployment has this name: choose a different one."]
    }
