"""What proves who calls: the keys of issuers and our own, and what the operator denies."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.authentication.denied_tokens import DenyList
from gateway.authentication.key_copies import KeyCopies
from gateway.authentication.refusal_limit import RefusalLimit
from gateway.authentication.trusted_keys import IssuerKeys, IssuerSource, OwnKeys
from gateway.authentication.verifier import TokenVerifier
from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.outbound import OutboundDoor


@dataclass(frozen=True, slots=True)
class Trust:
    """A verifier, and what it holds.

    Attributes:
        door: To the issuers' key sets.
    """

    verifier: TokenVerifier
    issuer_keys: IssuerKeys
    deny_list: DenyList
    door: OutboundDoor

    @classmethod
    def restore(
        cls,
        *,
        issuers: Sequence[IssuerSource],
        own_keys: OwnKeys,
        service_name: str,
        data_dir: Path,
        policy: UrlPolicy,
    ) -> "Trust":
        """Return what is trusted, with the keys and denials kept in `data_dir`; blocks."""
        # URLs given in the environment skip the allow-list, never the deny-list.
        door = OutboundDoor(policy.trusting(source.url.host for source in issuers))
        copies = KeyCopies(data_dir / "issuer_keys", time.time)
        issuer_keys = IssuerKeys(issuers, door, time.monotonic, copies)
        issuer_keys.restore()
        deny_list = DenyList(data_dir / "denied_tokens")
        deny_list.read()
        verifier = TokenVerifier(
            issuer_keys,
            own_keys,
            service_name,
            time.time,
            deny_list=deny_list,
            refusals=RefusalLimit(time.monotonic),
        )
        return cls(verifier, issuer_keys, deny_list, door)
