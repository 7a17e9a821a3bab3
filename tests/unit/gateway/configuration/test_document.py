import pytest

from feature_config.catalogue import Feature
from gateway.configuration.document import Choice, DeploymentEntry, Document, KeyReference, Timeouts
from gateway.configuration.parsing import document_of


def entry(name: str = "gpu1", **changes: object) -> DeploymentEntry:
    values = {
        "family": "general",
        "serving_format": "openai_chat",
        "endpoints": ("http://10.0.4.11:8000/v1",),
        "model_identifier": "m",
    }
    return DeploymentEntry(name=name, **{**values, **changes})  # type: ignore[arg-type]


def test_what_is_at_its_default_is_left_out() -> None:
    assert entry().to_data() == {
        "name": "gpu1",
        "family": "general",
        "serving_format": "openai_chat",
        "endpoints": ["http://10.0.4.11:8000/v1"],
        "model_identifier": "m",
    }


def test_order_of_deployments_and_features_does_not_matter() -> None:
    chat, completions = Choice(("a",)), Choice(is_inactive=True)
    one = Document(
        (entry("a"), entry("b")),
        {Feature.DUO_CHAT: chat, Feature.CODE_COMPLETIONS: completions},
    )
    other = Document(
        (entry("b"), entry("a")),
        {Feature.CODE_COMPLETIONS: completions, Feature.DUO_CHAT: chat},
    )

    assert one.to_data() == other.to_data()
    assert one.digest() == other.digest()


def test_unassigned_is_the_same_as_not_mentioned() -> None:
    assert Document((), {Feature.DUO_CHAT: Choice()}).digest() == Document().digest()


def test_whole_seconds_have_one_form() -> None:
    one = entry(timeouts=Timeouts(idle_s=5))
    other = entry(timeouts=Timeouts(idle_s=5.0))

    assert Document((one,)).digest() == Document((other,)).digest()


@pytest.mark.parametrize(
    ("choice", "data"),
    [
        (Choice(), "unassigned"),
        (Choice(is_inactive=True), "inactive"),
        (Choice(("gpu1",)), "gpu1"),
        (Choice(("gpu1", "gpu2")), ["gpu1", "gpu2"]),
        (Choice(("inactive",)), ["inactive"]),
        (Choice(("unassigned",)), ["unassigned"]),
        (
            Choice(("gpu1",), prompt_version="~1.0"),
            {"answered_by": "gpu1", "prompt_version": "~1.0"},
        ),
        (
            Choice(prompt_version="~1.0"),
            {"answered_by": "unassigned", "prompt_version": "~1.0"},
        ),
    ],
)
def test_choice_is_read_back_as_it_was_written(choice: Choice, data: object) -> None:
    assert choice.to_data() == data
    read = document_of({"version": 1, "features": {"duo_chat": data}})
    assert read.features[Feature.DUO_CHAT] == choice


def test_document_is_read_back_from_its_data() -> None:
    document = Document(
        (
            entry(
                api_key=KeyReference(env="KEY", stored="0123456789abcdef"),
                context_tokens=8192,
                timeouts=Timeouts(first_token_s=2.5, total_s=30),
                is_active=False,
            ),
        ),
        {Feature.DUO_CHAT: Choice(("gpu1",))},
    )

    assert document_of(document.to_data()) == document
