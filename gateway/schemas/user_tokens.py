"""Answer of `/v1/code/user_access_token`. Source: wire contract, section 2.8."""

from gateway.schemas.code import AnswerModel


class UserToken(AnswerModel):
    """`expires_at` is in seconds since 1970."""

    token: str
    expires_at: int
