"""A configuration as a file for `config apply`; where it came from, applying it is no change."""

import yaml

from gateway.configuration.document import Document

_HEADER = """\
# Configuration of self-hosted models for GitLab Duo, as `manage.py config export` wrote it.
# Keys are referred to, never held: `stored` names a key this installation holds by its fingerprint.
"""


def to_yaml(document: Document) -> str:
    """Return the document as YAML; the same configuration is always the same text."""
    body = yaml.safe_dump(
        document.to_data(), sort_keys=False, allow_unicode=True, default_flow_style=False, width=100
    )
    return _HEADER + body
