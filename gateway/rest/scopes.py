"""What a token of the REST API may permit. A closed list; none implies another."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from gateway.roles import EDITOR, SECURITY_OFFICER, VIEWER


class Scope(StrEnum):
    """The names in tokens of both kinds: those of GitLab instances, and those made here."""

    READ_CONFIGURATION = "read_configuration"
    WRITE_CONFIGURATION = "write_configuration"
    READ_AUDIT = "read_audit"
    READ_USAGE = "read_usage"
    READ_SERVING_CONFIG = "read_serving_config"
    ISSUE_USER_TOKENS = "issue_user_tokens"
    SEARCH_DOCUMENTATION = "documentation_search"
    RUN_EVALUATIONS = "run_evaluations"


_VIEWING = frozenset({Scope.READ_CONFIGURATION, Scope.READ_USAGE, Scope.SEARCH_DOCUMENTATION})
#: What the roles of people may do, as scopes: the same as in the admin pages.
ROLE_SCOPES: Mapping[str, frozenset[Scope]] = MappingProxyType(
    {
        VIEWER: _VIEWING,
        EDITOR: _VIEWING | {Scope.WRITE_CONFIGURATION, Scope.RUN_EVALUATIONS},
        SECURITY_OFFICER: _VIEWING | {Scope.READ_AUDIT},
    }
)
