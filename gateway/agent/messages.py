"""The conversation as the agent's prompt takes it: context beside the words it belongs to. Pure."""

from collections.abc import Sequence

from gateway.schemas.agent import AdditionalContext, AgentMessage, AgentStep, OpenFile


def with_context(messages: Sequence[AgentMessage]) -> list[dict[str, str]]:
    """Return role and content of each message; a user's is preceded by what the caller attached."""
    return [{"role": message.role, "content": _content(message)} for message in messages]


def scratchpad(steps: Sequence[AgentStep]) -> list[dict[str, str]]:
    r"""Return the steps taken so far; `\_`, which models and Markdown add, becomes `_`."""
    return [
        {
            "thought": step.thought.replace("\\_", "_"),
            "tool": step.tool.replace("\\_", "_"),
            "tool_input": step.tool_input,
            "observation": step.observation,
        }
        for step in steps
    ]


def _content(message: AgentMessage) -> str:
    if message.role != "user":
        return message.content
    parts = []
    if message.context is not None:
        parts.append(_tagged(message.context.type, message.context.content))
    if message.current_file is not None:
        parts.append(_open_file(message.current_file))
    parts += [_additional(item) for item in message.additional_context or ()]
    return "\n".join([*parts, message.content])


def _tagged(tag: str, text: str, **attributes: str | None) -> str:
    shown = "".join(f' {name}="{value}"' for name, value in attributes.items() if value)
    return f"<{tag}{shown}>\n{text}\n</{tag}>"


def _open_file(file: OpenFile) -> str:
    inner = _tagged("code" if file.selected_code else "content", file.data)
    return _tagged("current_file", inner, path=file.file_path)


def _additional(item: AdditionalContext) -> str:
    return _tagged(item.category, item.content or "", id=item.id)
