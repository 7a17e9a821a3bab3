"""The example of `docs/configuration.md` is a document that can be applied."""

import re
from pathlib import Path

import pytest

from feature_config.catalogue import Feature
from gateway.audit import Attribution, Origin
from gateway.configuration.applying import apply_document
from gateway.configuration.keys import KeyReader
from gateway.configuration.parsing import parse_document
from gateway.configuration.stored import read_configuration

DOCS = Path(__file__).parents[4] / "docs"


@pytest.mark.django_db
def test_example_is_applied_and_uses_every_key_there_is() -> None:
    [example] = re.findall(
        r"```yaml\n(.*?)```", (DOCS / "configuration.md").read_text(), flags=re.DOTALL
    )
    document = parse_document(example.encode())
    keys = KeyReader({"CODEGEMMA_KEY": "sk-0123456789"}, DOCS)

    apply_document(document, Attribution("docs", Origin.FILE), keys)

    stored = read_configuration().document()
    used = {key for entry in stored.to_data()["deployments"] for key in entry}
    assert used == {
        "name",
        "family",
        "serving_format",
        "endpoints",
        "model_identifier",
        "api_key",
        "context_tokens",
        "max_in_flight",
        "timeouts",
        "is_active",
    }
    assert stored.features[Feature.DUO_CHAT].deployments == ("mixtral-a", "mixtral-b")
    assert stored.features[Feature.ROOT_CAUSE_ANALYSIS].is_inactive
