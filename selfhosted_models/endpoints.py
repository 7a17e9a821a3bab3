"""Which addresses the product may dial: one policy for model servers, JWKS and everything else.

Private destinations are the normal case here, so addresses are refused by purpose (metadata
services, link-local, loopback), not for being private. The decision is made on resolved addresses,
where the socket is opened (`selfhosted_models.outbound`); this module is pure.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from selfhosted_models.errors import EndpointRefused, SettingInvalid

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_CHARS = 255  # what GitLab stores for a model endpoint

#: Dialled by default: RFC 1918, RFC 6598 (carrier-grade NAT, used by overlay networks), RFC 4193.
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")

#: Never dialled, whatever a setting says: cloud metadata and wire servers, link-local, unspecified,
#: multicast, broadcast.
_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "fe80::/10",
        "ff00::/8",
        "fd00:ec2::/32",
        "fd20:ce::/64",
        "fd00:42::42/128",
    )
)
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NETLOC = re.compile(r"(\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\]|[^][:%]+)(:(0*[1-9][0-9]*)?)?")
_LABEL = r"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"^(?=[A-Za-z0-9]){_LABEL}(\.{_LABEL})*(?<=[A-Za-z0-9])$")
_WEIGHT = re.compile(r" +weight=([1-9][0-9]?|100)\Z")
_BASE_PATH = re.compile(r"^(/[A-Za-z0-9._~-]+)*$")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base URL that was parsed once; what is dialled is what was parsed.

    Attributes:
        host: Lower-case name, or a canonical IP literal without brackets.
        base_path: "" or "/…" without a trailing slash.
        weight: Its share of the requests, against the deployment's other endpoints.
    """

    scheme: str
    host: str
    port: int
    base_path: str
    weight: int = field(default=1, compare=False)

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default_port = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{host}" + ("" if self.port == default_port else f":{self.port}")

    @property
    def url(self) -> str:
        """The normalised URL, without a trailing slash."""
        return self.origin + self.base_path


def parse_line(line: str) -> Endpoint:
    """Return the endpoint an admin wrote; a weight may follow the URL, as in `… weight=3`.

    Raises:
        EndpointRefused: As `parse_endpoint`.
    """
    found = _WEIGHT.search(line)
    if found is None:
        return parse_endpoint(line)
    return replace(parse_endpoint(line[: found.start()]), weight=int(found[1]))


def parse_endpoint(url: str) -> Endpoint:
    """Return the endpoint `url` names.

    Raises:
        EndpointRefused: It is not a plain http(s) base URL. The message says what to change.
    """
    if len(url) > MAX_URL_CHARS:
        raise EndpointRefused(f"The URL is longer than {MAX_URL_CHARS} characters.")
    if not url.isascii() or not url.isprintable() or any(char in url for char in " \\\"'<>"):
        raise EndpointRefused("The URL holds a character that no endpoint URL has: remove it.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise EndpointRefused("This is not a URL: write it as http://host:port/v1.") from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise EndpointRefused("The URL must begin with http:// or https:// and name a host.")
    if "@" in parts.netloc:
        raise EndpointRefused("Leave the user and password out of the URL: use the API key field.")
    if not _NETLOC.fullmatch(parts.netloc):
        raise EndpointRefused(
            "Write host and port as in http://10.0.4.11:8000 or http://[fd00::1]."
        )
    if "?" in url or "#" in url:
        raise EndpointRefused("Leave the part from ? or # on out of the URL.")
    path = parts.path.removesuffix("/")
    if not _BASE_PATH.match(path) or {".", ".."} & set(path.split("/")):
        raise EndpointRefused("The path of the URL must be plain, as in /v1 (no .., %, //).")
    return Endpoint(
        scheme=parts.scheme,
        host=_canonical_host(parts.hostname),
        port=port or (443 if parts.scheme == "https" else 80),
        base_path=path,
    )


def _canonical_host(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.match(host) or host.replace(".", "").isdigit():  # clients look up no number
            raise EndpointRefused("The host of the URL is not a name or an IP address.") from None
        return host.lower()


def is_ip_literal(host: str) -> bool:
    """Tell whether the host of an endpoint is an address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def embedded_addresses(address: IPAddress) -> tuple[IPAddress, ...]:
    """Return `address` and the IPv4 addresses hidden in it (mapped, 6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    hidden = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64:
        hidden.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return (address, *(found for found in hidden if found is not None))


def setting_endpoint(setting: str, url: str, remedy: str) -> Endpoint:
    """Return the endpoint that a setting names.

    Raises:
        SettingInvalid: It is not a plain http(s) URL.
    """
    try:
        return parse_endpoint(url)
    except EndpointRefused as error:
        raise SettingInvalid(f"{setting}: {error.safe_message}", remedy) from error


def _networks(cidrs: Iterable[str]) -> tuple[IPNetwork, ...]:
    good, bad = [], []
    for cidr in cidrs:
        try:
            good.append(ipaddress.ip_network(cidr))
        except ValueError as error:
            bad.append(str(error))
    if bad:
        raise SettingInvalid(
            f"UPSTREAM_ALLOWED_CIDRS: {'; '.join(bad)}.",
            "Write networks as in 10.0.0.0/8,fd00::/8.",
        )
    return tuple(good)


class UrlPolicy:
    """Decides which resolved addresses may be dialled.

    Args:
        allowed_cidrs: Networks that may be dialled; empty means the private ranges.
        allowed_hosts: Names or IP literals that may be dialled wherever they point (loopback
            included), except at a denied address.

    Raises:
        SettingInvalid: UPSTREAM_ALLOWED_CIDRS, the networks, holds what is none.
    """

    def __init__(
        self,
        allowed_cidrs: Iterable[str] = (),
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        cidrs = tuple(allowed_cidrs) or PRIVATE_NETWORKS
        self._networks = _networks(cidrs)
        self._hosts = frozenset(host.strip("[]").lower() for host in allowed_hosts)
        self._own_listeners: frozenset[tuple[IPAddress, int]] = frozenset()

    def check(self, host: str, address: str) -> None:
        """Pass if `host`, resolved to `address`, may be dialled.

        Raises:
            EndpointRefused: It may not; the message names the setting that would allow it.
        """
        faces = self.check_never_dialled(address)
        if host.lower() in self._hosts:
            return
        # A 6to4 address is a tunnel somewhere else: what is embedded never makes it allowed.
        judged = faces[0] if faces[0] in _SIX_TO_FOUR else faces[-1]
        if not any(judged in network for network in self._networks):
            remedy = "If that is right, add the host to UPSTREAM_ALLOWED_HOSTS or its network to"
            raise EndpointRefused(
                f"{host} is outside the allowed networks. {remedy} UPSTREAM_ALLOWED_CIDRS.",
                admin_message=f"{host} points at {address}, outside the allowed networks. {remedy} "
                "UPSTREAM_ALLOWED_CIDRS.",
            )

    @staticmethod
    def check_never_dialled(address: str) -> tuple[IPAddress, ...]:
        """Return the faces of `address` unless it is one that no setting allows.

        Raises:
            EndpointRefused: It is.
        """
        faces = embedded_addresses(ipaddress.ip_address(address.partition("%")[0]))
        if any(face in network for face in faces for network in _DENIED):
            never = "is never dialled (metadata service, link-local, multicast or unspecified)."
            raise EndpointRefused(
                f"The address of the host {never}",
                admin_message=f"{address} is an address that {never}",
            )
        return faces

    def check_listener(self, address: str, port: int) -> None:
        """Pass unless something of ours listens there.

        Raises:
            EndpointRefused: It does, on that address or on all addresses of this machine.
        """
        faces = embedded_addresses(ipaddress.ip_address(address.partition("%")[0]))
        for own_address, own_port in self._own_listeners:
            if port == own_port and (
                own_address in faces or (own_address.is_unspecified and _is_of_this_machine(faces))
            ):
                own = (
                    "is this installation's own (gateway, database or Redis), not a model server's"
                )
                raise EndpointRefused(
                    f"The port {own}: correct the endpoint.",
                    admin_message=f"Port {port} of {address} {own}: correct the endpoint.",
                )

    def trusting(self, hosts: Iterable[str]) -> "UrlPolicy":
        """Return this policy with `hosts` allowed too: those of URLs given in the environment."""
        widened = copy(self)
        widened._hosts = self._hosts | {host.lower() for host in hosts}
        return widened

    def sparing(self, own_listeners: Iterable[tuple[str, int]]) -> "UrlPolicy":
        """Return this policy with these places of ours, address and port, never dialled."""
        narrowed = copy(self)
        narrowed._own_listeners = self._own_listeners | {
            (ipaddress.ip_address(address), port) for address, port in own_listeners
        }
        return narrowed


def _is_of_this_machine(faces: Iterable[IPAddress]) -> bool:
    """Tell whether one of the addresses is an interface's: only those can be bound."""
    for face in faces:
        family = socket.AF_INET6 if face.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as trial, suppress(OSError):
            trial.bind((str(face), 0))
            return True
    return False
