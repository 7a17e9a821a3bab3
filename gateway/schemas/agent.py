"""Body of `/v2/chat/agent`. Source: wire contract, section 2.4."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.schemas.code import WireModel
from gateway.schemas.prompts import ModelMetadata

ContextCategory = Literal["file", "snippet", "merge_request", "issue", "dependency", "local_git"]


#: Of every list in a body: a longer one only costs time, and no model would read it.
MAX_ITEMS = 256


class PageContext(WireModel):
    type: Literal["issue", "epic", "merge_request", "commit", "build"]
    content: str


class OpenFile(WireModel):
    file_path: str
    data: str
    selected_code: bool


class AdditionalContext(WireModel):
    category: ContextCategory
    id: str | None = None
    content: str | None = None
    metadata: dict[str, Any] | None = None


class AgentMessage(WireModel):
    role: Literal["system", "user", "assistant"]
    content: str
    context: PageContext | None = None
    current_file: OpenFile | None = None
    additional_context: (
        Annotated[list[AdditionalContext], Field(fail_fast=True, max_length=MAX_ITEMS)] | None
    ) = None
    resource_content: str | None = None


class AgentStep(WireModel):
    thought: str
    tool: str
    tool_input: str
    observation: str


class Scratchpad(WireModel):
    agent_type: Literal["react"]
    steps: Annotated[list[AgentStep], Field(fail_fast=True, max_length=MAX_ITEMS)]


class AgentOptions(WireModel):
    agent_scratchpad: Scratchpad


class AgentRequest(WireModel):
    messages: Annotated[list[AgentMessage], Field(fail_fast=True, max_length=MAX_ITEMS)]
    options: AgentOptions | None = None
    model_metadata: ModelMetadata | None = None
    unavailable_resources: (
        Annotated[list[str], Field(fail_fast=True, max_length=MAX_ITEMS)] | None
    ) = Field(default_factory=lambda: ["Merge Requests, Pipelines, Vulnerabilities"])
