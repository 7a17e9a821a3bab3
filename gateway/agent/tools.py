"""The tools Duo Chat's agent may ask for. They run in Rails, never here. Source: contract, 2.5."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from packaging.version import Version


@dataclass(frozen=True, slots=True)
class ChatTool:
    """One tool.

    Attributes:
        resource: What it gives access to, in the words of a sentence.
        unit_primitive: The scope that permits it.
        since: The first GitLab version that has it; "" if all have.
        feature_flag: The flag that must be on; "" if none.
        example: What a model may write to use it.
    """

    name: str
    resource: str
    unit_primitive: str
    description: str
    example: str
    since: str = ""
    feature_flag: str = ""


TOOLS: tuple[ChatTool, ...] = (
    ChatTool(
        "build_reader",
        "builds",
        "ask_build",
        "Reads one CI/CD job: its status, its log, its pipeline. Input: what the user asks of "
        "which job, with its id or URL if they gave one.",
        "Why did job 1234 fail?",
        since="17.5.0-pre",
    ),
    ChatTool(
        "epic_reader",
        "epics",
        "ask_epic",
        "Reads one epic. Input: what the user asks of which epic, with its number or URL if they "
        "gave one.",
        "Summarise epic &7",
    ),
    ChatTool(
        "issue_reader",
        "issues",
        "ask_issue",
        "Reads one issue: text, comments, labels, people. Input: what the user asks of which "
        "issue, with its number or URL if they gave one.",
        "Who wrote issue #5?",
    ),
    ChatTool(
        "merge_request_reader",
        "merge_requests",
        "ask_merge_request",
        "Reads one merge request: text, changes, comments. Input: what the user asks of which "
        "merge request, with its number or URL if they gave one.",
        "What does !12 change?",
        since="17.5.0-pre",
    ),
    ChatTool(
        "gitlab_documentation",
        "documentation answers",
        "documentation_search",
        "Searches GitLab's documentation. Input: a few keywords, not a sentence.",
        "pipeline schedule timezone",
    ),
    ChatTool(
        "commit_reader",
        "commits",
        "ask_commit",
        "Reads one commit: message, author, changes. Input: what the user asks of which commit, "
        "with its id or URL if they gave one.",
        "What does commit 3f2a9c1 change?",
        since="17.5.0-pre",
        feature_flag="ai_commit_reader_for_chat",
    ),
)


def available_tools(
    scopes: Collection[str], gitlab_version: str, feature_flags: Collection[str]
) -> tuple[ChatTool, ...]:
    """Return the tools a caller may use, in the order models are told of them."""
    version = _version(gitlab_version)
    return tuple(
        tool
        for tool in TOOLS
        if tool.unit_primitive in scopes
        and _has(version, tool.since)
        and (not tool.feature_flag or tool.feature_flag in feature_flags)
    )


def _has(version: Version | None, since: str) -> bool:
    """A version that is missing or cannot be read has only what every version has."""
    return not since or (version is not None and version >= Version(since))


@lru_cache(maxsize=64)
def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except ValueError:  # InvalidVersion, and too many digits for a number
        return None
