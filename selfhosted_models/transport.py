"""The network under the outbound door: aiohttp below httpx's interface (decision 0003).

The URL policy is applied where sockets are opened: in the resolver of the connector that dials, and
once more at the socket itself, so what was checked is what is connected to. What goes wrong is
given our names here.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from django.conf import settings
from httpx_aiohttp import AiohttpTransport

from selfhosted_models.endpoints import Endpoint, UrlPolicy
from selfhosted_models.errors import (
    EndpointRefused,
    SettingInvalid,
    UpstreamError,
    UpstreamNameUnknown,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamTlsFailed,
    UpstreamUnreachable,
)

#: Twice this may lie unread before a server is held back; one piece more, as it comes, on top.
READ_BUFFER_BYTES = 16 * 1024
#: The kernel's, so that a piece is not larger: what nobody reads waits at the server's side.
RECEIVE_BUFFER_BYTES = 64 * 1024
DNS_CACHE_S = 30
KEEPALIVE_S = 15  # shorter than the keep-alive of common model servers, so they never close first


class RefusedAddress(OSError):
    """Carries a refusal through aiohttp, which wraps only OSError from a resolver."""

    def __init__(self, refusal: EndpointRefused) -> None:
        super().__init__(refusal.safe_message)
        self.refusal = refusal


class PolicyResolver(AbstractResolver):
    """Resolves a name and lets it through only if every address it has may be dialled."""

    def __init__(self, policy: UrlPolicy, resolver: AbstractResolver) -> None:
        self._policy = policy
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            try:
                self._policy.check(host, result["host"])
            except EndpointRefused as refusal:
                raise RefusedAddress(refusal) from refusal
        return found

    async def close(self) -> None:
        await self._resolver.close()


def trusted_roots() -> ssl.SSLContext:
    """Return what certificates are judged by: the system's authorities, and the customer's own.

    Raises:
        SettingInvalid: CA_BUNDLE cannot be read, or holds no certificate.
    """
    tls = ssl.create_default_context()
    if settings.CA_BUNDLE:
        try:
            tls.load_verify_locations(settings.CA_BUNDLE)
        except OSError as error:  # ssl.SSLError is one
            raise SettingInvalid(
                f"CA_BUNDLE cannot be used ({type(error).__name__}).",
                "It is the path of a readable PEM file with at least one certificate.",
            ) from error
    return tls


def network_transport(policy: UrlPolicy) -> AiohttpTransport:
    tls = trusted_roots()

    def open_socket(address: tuple[Any, ...]) -> socket.socket:
        """Look once more, at what is really dialled: cached names do not meet the resolver."""
        family, kind, protocol, _, place = address
        policy.check_never_dialled(place[0])
        policy.check_listener(place[0], place[1])
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        return opened

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # a wait for a free slot would be counted as connecting
                keepalive_timeout=KEEPALIVE_S,
                ssl=tls,
                resolver=PolicyResolver(policy, ThreadedResolver()),
                socket_factory=open_socket,
                ttl_dns_cache=DNS_CACHE_S,
            ),
            timeout=aiohttp.ClientTimeout(total=None),  # the clocks above are ours
            read_bufsize=READ_BUFFER_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            raise_for_status=_drop_reason,
            auto_decompress=False,
            trust_env=False,  # an ambient proxy must not see prompts
        )

    return AiohttpTransport(client=session, verify=tls, trust_env=False)


async def _drop_reason(response: aiohttp.ClientResponse) -> None:
    """Forget the reason phrase: the transport loses a connection over one that is not ASCII."""
    response.reason = None


async def read_certificate_end(
    policy: UrlPolicy, endpoint: Endpoint, *, within_s: float
) -> datetime:
    """Return until when the certificate of an https endpoint is good; nothing is sent.

    Raises:
        EndpointRefused: The URL policy forbids the address.
        ssl.SSLCertVerificationError: It is not trusted, expired, or of another name.
        ssl.SSLError: No TLS is spoken there.
        OSError, TimeoutError: It cannot be reached.
    """
    host, port = endpoint.host, endpoint.port
    async with asyncio.timeout(within_s):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, place in found:
            policy.check(host, str(place[0]))
            policy.check_listener(str(place[0]), port)
        address = str(found[0][4][0])
        tls = trusted_roots()
        _, writer = await asyncio.open_connection(address, port, ssl=tls, server_hostname=host)
        try:
            certificate = writer.get_extra_info("peercert")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


#: What transports raise: httpx's errors, and those of aiohttp that slip through unrenamed.
TRANSPORT_ERRORS = (
    httpx.TransportError,
    aiohttp.ClientError,
    aiohttp.http_exceptions.HttpProcessingError,
    OSError,
    UnicodeError,
)


@contextmanager
def named_errors(hop: str) -> Iterator[None]:
    """Turn what sending a request raises into our errors.

    The transport renames some errors of aiohttp wrongly (a refused connection becomes a time-out),
    so the cause decides. Texts are not kept: they may quote headers and addresses.
    """
    try:
        yield
    except TimeoutError as exc:
        raise UpstreamTimeout(
            f"{hop} accepted the request and did not answer in time: it may be overloaded or still "
            "loading its model."
        ) from exc
    except TRANSPORT_ERRORS as exc:
        causes = tuple(_causes(exc))
        for cause in causes:
            if isinstance(cause, RefusedAddress):
                raise cause.refusal from None
        raise _send_error(hop, exc, causes) from exc


def _send_error(hop: str, error: Exception, causes: Sequence[BaseException]) -> UpstreamError:
    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if has(aiohttp.ServerTimeoutError):
        return UpstreamTimeout(
            f"{hop} did not accept a connection in time: check host, port and firewall."
        )
    if has(aiohttp.ClientConnectorDNSError):
        return UpstreamNameUnknown(
            f"{hop} cannot be reached: its host name is not known here. Check the name and DNS."
        )
    if has(aiohttp.ClientSSLError):
        return UpstreamTlsFailed(
            f"{hop} cannot be reached: TLS failed. Check that its certificate is trusted here "
            "(CA_BUNDLE) and names this host, or whether it speaks https at all."
        )
    if has(aiohttp.ClientConnectionError) or isinstance(error, httpx.TransportError | OSError):
        return UpstreamUnreachable(
            f"{hop} cannot be reached: check that the server runs and that host and port are right."
        )
    return UpstreamProtocolError(f"{hop} did not answer in HTTP: is it a model server?")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and what it was made from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
