"""A configuration as a file for `config apply`; where it came from, applying it is no change."""

import yaml

from gateway.configuration.document import Data, Document

_HEADER = """\
# Configuration of self-hosted models for GitLab Duo, as `manage.py config export` wrote it.
# Keys are referred to, never held: `stored` names a key this installation holds by its fingerprint.
"""


def to_yaml(document: Document) -> str:
    """Return the document as YAML; the same configuration is always the same text."""
    return _HEADER + data_to_yaml(document.to_data())


def data_to_yaml(data: Data) -> str:
    """Return the data of a document, such as a revision stores, as YAML."""
    return yaml.safe_dump(
        data, sort_keys=False, allow_unicode=True, default_flow_style=False, width=100
    )
