"""Bodies of errors, one for each way they are told. What is sent is built in `gateway.errors`."""

from typing import Any

from gateway.schemas.code import AnswerModel


class InvalidItem(AnswerModel):
    """One thing that is wrong with a request's body."""

    type: str
    loc: list[str | int]
    msg: str
    input: Any
    ctx: dict[str, str] | None = None


class Problem(AnswerModel):
    """An error on the AI Gateway's paths; `message` is there where `detail` says too little."""

    detail: str | list[InvalidItem]
    code: str
    request_id: str
    message: str = ""


class TokenProblem(AnswerModel):
    """An error with the token."""

    error: str
    code: str
    request_id: str


class OpenAIError(AnswerModel):
    message: str
    type: str
    param: str | None
    code: str
    request_id: str


class OpenAIProblem(AnswerModel):
    """An error in OpenAI's envelope."""

    error: OpenAIError
