"""GitLab versions, as instances and people write them."""

import re
from dataclasses import dataclass
from typing import Self

from docsearch.errors import VersionInvalid

_VERSION = re.compile(
    r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:[-+.][0-9A-Za-z.+-]{0,60})?", re.ASCII
)


@dataclass(frozen=True, slots=True, order=True)
class GitLabVersion:
    """A release. `18.0.1-pre`, `v18.0.1-ee` and `18.0.1` are the same one; `18.0` is `18.0.0`."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a version.

        Raises:
            VersionInvalid: `text` is none.
        """
        found = _VERSION.fullmatch(text.strip())
        if not found:
            raise VersionInvalid(
                f"{text[:40]!r} is not a GitLab version; write it as in 17.4.0 or v17.4.0-ee."
            )
        major, minor, patch = (int(part or 0) for part in found.groups())
        return cls(major, minor, patch)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"
