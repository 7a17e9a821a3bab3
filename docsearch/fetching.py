"""How this app reaches other servers: by a callable it is given. It opens no socket itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. `parts` are the body as it comes; headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    parts: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Call:
    """A request; `path` is below the server's URL, with the query if there is one."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None


#: Sends a call and gives the answer for as long as the context lasts. Follows no redirect. Raises
#: ServerUnreachable, also while the parts are read.
Fetch = Callable[[Call], AbstractContextManager[Answer]]
