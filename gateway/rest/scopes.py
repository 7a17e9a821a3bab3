"""What a token of the REST API may permit. A closed list; none implies another."""

from enum import StrEnum


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
