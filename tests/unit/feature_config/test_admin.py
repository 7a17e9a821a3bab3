from typing import Any

import pytest
from django.test import Client

from feature_config.catalogue import Feature
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_admin, make_deployment, setting_of

pytestmark = [
    pytest.mark.django_db,
    # Static files come from the packages; the folder they could be collected in need not exist.
    pytest.mark.filterwarnings("ignore:No directory at"),
]

LIST = "/admin/feature_config/featuresetting/"


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make_admin())
    return client


def page_of(feature: Feature) -> str:
    return f"{LIST}{feature}/change/"


def chosen(feature: Feature) -> list[ModelDeployment]:
    return [choice.deployment for choice in setting_of(feature).choices.all()]


def test_page_of_a_feature_offers_what_can_be_chosen(admin: Client) -> None:
    usable = make_deployment()
    refused = make_deployment(family=ModelFamily.MISTRAL_7B)

    html = admin.get(page_of(Feature.CODE_COMPLETIONS)).content.decode()

    assert f'<option value="{usable.pk}">' in html
    assert f'<option value="{refused.pk}" disabled>' in html


def test_saving_stores_the_choice_in_order(admin: Client) -> None:
    first, second = make_deployment(), make_deployment()

    response = admin.post(
        page_of(Feature.DUO_CHAT), {"answered_by": second.pk, "fallback_1": first.pk}
    )

    assert (response.status_code, response.headers["Location"]) == (302, LIST)
    assert chosen(Feature.DUO_CHAT) == [second, first]


def test_saving_inactive_stores_it(admin: Client) -> None:
    assign(Feature.DUO_CHAT, make_deployment())

    response = admin.post(page_of(Feature.DUO_CHAT), {"answered_by": "inactive"})

    assert response.status_code == 302
    assert setting_of(Feature.DUO_CHAT).is_inactive is True
    assert chosen(Feature.DUO_CHAT) == []


def test_saving_ends_inactive(admin: Client) -> None:
    deployment = make_deployment()
    setting_of(Feature.DUO_CHAT).deactivate()

    admin.post(page_of(Feature.DUO_CHAT), {"answered_by": deployment.pk})

    assert setting_of(Feature.DUO_CHAT).is_inactive is False
    assert chosen(Feature.DUO_CHAT) == [deployment]


@pytest.mark.parametrize(
    "overrides",
    [
        {"family": ModelFamily.MISTRAL_7B},
        {"family": ModelFamily.MIXTRAL_8X22B},
        {"is_active": False},
    ],
)
def test_tampered_form_with_a_deployment_not_offered_changes_nothing(
    admin: Client, overrides: dict[str, Any]
) -> None:
    before = make_deployment()
    assign(Feature.CODE_COMPLETIONS, before)
    hidden = make_deployment(**overrides)

    response = admin.post(page_of(Feature.CODE_COMPLETIONS), {"answered_by": hidden.pk})

    assert response.status_code == 200
    assert "That deployment cannot answer this feature" in response.content.decode()
    assert chosen(Feature.CODE_COMPLETIONS) == [before]


def test_tampered_form_cannot_hide_a_refused_family_among_the_fallbacks(admin: Client) -> None:
    first, _ = make_deployment(), make_deployment()
    hidden = make_deployment(family=ModelFamily.MISTRAL_7B)

    response = admin.post(
        page_of(Feature.CODE_COMPLETIONS),
        {"answered_by": first.pk, "fallback_1": hidden.pk, "family": "general"},
    )

    assert response.status_code == 200
    assert chosen(Feature.CODE_COMPLETIONS) == []


def test_features_can_be_neither_added_nor_deleted(admin: Client) -> None:
    added = admin.get(f"{LIST}add/")
    deleted = admin.post(f"{LIST}{Feature.DUO_CHAT}/delete/", {"post": "yes"})

    assert (added.status_code, deleted.status_code) == (403, 403)
    assert setting_of(Feature.DUO_CHAT)


def test_stranger_is_sent_to_the_login() -> None:
    response = Client().post(page_of(Feature.DUO_CHAT), {"answered_by": "inactive"})

    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")
    assert setting_of(Feature.DUO_CHAT).is_inactive is False


def test_admin_without_the_permission_is_refused() -> None:
    client = Client()
    client.force_login(make_admin(is_superuser=False))

    response = client.post(page_of(Feature.DUO_CHAT), {"answered_by": "inactive"})

    assert response.status_code == 403
    assert setting_of(Feature.DUO_CHAT).is_inactive is False
