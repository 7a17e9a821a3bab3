"""A healthy installation and five broken ones, for the tests of `doctor` and its recordings."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from cryptography.fernet import Fernet

from tests.e2e.conftest import Site
from tests.services import REPOSITORY, free_port

PASSWORD = "canary-0123456789"
#: It waits for nothing longer than ten seconds, and for little one after the other.
GIVES_UP_AFTER_S = 60
PAGE = REPOSITORY / "docs" / "operations.md"
#: What is different each time, and how the recordings have it.
_VARYING = (
    (r"(127\.0\.0\.1:)\d{4,5}", r"\g<1>PORT"),
    (r"\b[0-9a-f]{16}\b", "KEY-ID"),
    (r"\b[0-9a-f]{32}\b", "DIGEST"),
    (r"[A-Za-z0-9+/]{43}=", "PUBLIC-KEY"),
    (r"\d+\.\d GiB", "N GiB"),
    (r"in \d+\.\d s", "in N s"),
    (r'(age_s":)[\d.]+', r"\g<1>N"),
)
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FORWARDED_ALLOW_IPS"})


def tidied(text: str, data_dir: str) -> str:
    """Return output of `doctor` without what is different each time."""
    text = text.replace(data_dir, "/var/lib/duo")
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text)
    return text.rstrip()


def recorded_rows(title: str) -> list[tuple[str, str, str]]:
    """Return state, check and the rest of each row of a recording in docs/operations.md."""
    section = PAGE.read_text(encoding="utf-8").partition(f"### {title}\n")[2]
    _, _, lines = section.partition("```\n$ manage.py doctor\n")
    rows = lines.partition("\n```")[0].splitlines()[:-1]  # the last counts them
    return [(line[:8].strip(), line[8:22].strip(), line[23:]) for line in rows if line[0] != " "]


@contextmanager
def _as_it_is(_: Site) -> Iterator[dict[str, str]]:
    yield {}


@contextmanager
def _without_database(_: Site) -> Iterator[dict[str, str]]:
    yield {"DATABASE_URL": f"postgres://duo:{PASSWORD}@127.0.0.1:{free_port()}/duo"}


@contextmanager
def _with_other_keys(_: Site) -> Iterator[dict[str, str]]:
    yield {"ENCRYPTION_KEYS": Fernet.generate_key().decode()}


@contextmanager
def _without_model_server(site: Site) -> Iterator[dict[str, str]]:
    site.network.break_with("refuse")
    yield {}


@contextmanager
def _with_a_login_page(site: Site) -> Iterator[dict[str, str]]:
    site.gitlab.discovery_fault = "html"
    try:
        yield {}
    finally:
        site.gitlab.discovery_fault = None


@contextmanager
def _without_redis(_: Site) -> Iterator[dict[str, str]]:
    yield {"REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0"}


@dataclass(frozen=True, slots=True)
class SetUp:
    """An installation, and which checks are to fail on it.

    Attributes:
        broken: Breaks the site while it lasts; yields variables to set for the command.
    """

    title: str
    broken: Callable[[Site], AbstractContextManager[dict[str, str]]]
    fails: frozenset[str] = frozenset()

    def examine(self, site: Site, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run `doctor` on the site in this state."""
        site.network.heal()
        with self.broken(site) as variables:
            return examine(site, *options, **variables)


def examine(site: Site, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `doctor` on the site as it is, as if nobody had set a proxy."""
    env = {name: value for name, value in site.gateway.env.items() if name.upper() not in _PROXIES}
    return subprocess.run(
        [sys.executable, "manage.py", "doctor", "--gateway-url", site.url, *options],
        cwd=REPOSITORY,
        env={**env, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVES_UP_AFTER_S,
    )


SETUPS = (
    SetUp("A healthy installation", _as_it_is),
    SetUp("The database is down", _without_database, frozenset({"database"})),
    SetUp(
        "Other ENCRYPTION_KEYS than the keys were saved with",
        _with_other_keys,
        frozenset({"encryption", "model_servers", "features"}),
    ),
    SetUp("The model server is down", _without_model_server, frozenset({"model_servers"})),
    SetUp(
        "Something else answers at the URL of GitLab", _with_a_login_page, frozenset({"issuers"})
    ),
    SetUp("Redis is down", _without_redis, frozenset({"redis"})),
)
