"""Copies of fetched keys on disk: a gateway that restarts while GitLab is down still verifies."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.authentication.key_sets import key_set_of, read_key_set

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyCopy:
    """What a file held: the keys, and how many seconds ago they were fetched."""

    keys: Mapping[str, RSAPublicKey]
    age_s: float


class KeyCopies:
    """One file for each issuer and place of its keys, readable by the owner alone.

    Args:
        folder: Made when the first copy is written.
        now: Wall clock, in seconds: it goes on while no gateway runs.
    """

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self._folder = folder
        self._now = now

    def read(self, issuer: str, url: str, *, max_age_s: float) -> KeyCopy | None:
        """Return the copy; None if there is none that may be used, which is logged."""
        path = self._path(issuer, url)
        try:
            document = orjson.loads(path.read_bytes())
            copy = KeyCopy(read_key_set(document), self._now() - float(document["fetched_at"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"it cannot be read ({type(error).__name__})"
        else:
            if 0 <= copy.age_s <= max_age_s:
                return copy
            reason = "it is too old" if copy.age_s > 0 else "it is from the future"
        log.warning("issuer_keys.copy_ignored", issuer=issuer, path=str(path), reason=reason)
        return None

    def write(self, issuer: str, url: str, copy: KeyCopy) -> None:
        """Replace the copy, at once for whoever reads it.

        Raises:
            OSError: The file cannot be written.
        """
        path = self._path(issuer, url)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = path.with_name(f".{path.name}.{os.getpid()}")  # of this worker; the last wins
        about = {"issuer": issuer, "fetched_at": self._now() - copy.age_s}
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(about | key_set_of(copy.keys)))
        own.replace(path)

    def _path(self, issuer: str, url: str) -> Path:
        """The name covers both: keys from elsewhere are not those of this source."""
        digest = hashlib.sha256(f"{issuer} {url}".encode()).hexdigest()
        return self._folder / f"{digest[:32]}.json"
