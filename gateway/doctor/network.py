"""Checks of what this node talks to: names, certificates, clocks, issuers, model servers.

A host whose name does not resolve is not dialled, everything else with short clocks and at once:
on a closed network nothing waits for what is not there.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import redis
from django.db import DatabaseError, connection

from gateway.authentication.trusted_keys import IssuerSource, fetch_keys, issuer_sources
from gateway.authentication.verifier import LEEWAY_S
from gateway.doctor import worker_sign
from gateway.doctor.findings import Told, failed, ok, skipped, warning
from gateway.doctor.patient import Hop, Patient
from selfhosted_models.endpoints import Endpoint, UrlPolicy
from selfhosted_models.errors import (
    DeploymentError,
    EndpointRefused,
    SettingInvalid,
    UpstreamRejected,
)
from selfhosted_models.outbound import OutboundDoor, OutboundRequest
from selfhosted_models.probing.check import check_answer
from selfhosted_models.serving import ServingConfig
from selfhosted_models.transport import read_certificate_end

CERTIFICATE_DAYS = 30
CLOCK_WARNING_S = 5
AT_ONCE = 8
_ALLOW = "Correct the URL; or, if it is right, allow it as the message says."
_NO_NAME = "its name does not resolve (see the names above)"


def check_names(patient: Patient) -> Iterator[Told]:
    hosts = {hop.endpoint.host: hop.setting for hop in patient.hops()}
    hosts |= {host: setting for setting, host in patient.stores().items()}
    patient.resolve_all(hosts)
    for host, setting in hosts.items():
        if addresses := patient.addresses_of(host):
            yield ok(host, ", ".join(addresses[:4]))
        else:
            yield failed(
                host,
                "does not resolve here",
                f"Correct the name in {setting}, or add it to DNS or /etc/hosts.",
            )
    if not hosts:
        yield skipped("names", "nothing that has a name is configured")


def check_certificates(patient: Patient) -> Iterator[Told]:
    hops = {
        f"certificate of {hop.endpoint.origin}": hop
        for hop in patient.hops()
        if hop.endpoint.scheme == "https"
    }
    if not hops:
        yield skipped("TLS", "nothing is dialled by https")

    async def look(hop: Hop) -> Told:
        name = hop.endpoint.origin
        if not patient.addresses_of(hop.endpoint.host):
            return skipped(name, _NO_NAME)
        try:
            policy = patient.policy_for(hop)
            ends_at = await read_certificate_end(
                policy, hop.endpoint, within_s=patient.patience.server.connect_s
            )
        except ssl.SSLCertVerificationError as error:
            remedy = (
                "If it is of your own authority, set CA_BUNDLE to its certificate. "
                "Else renew the certificate, or dial the name that is in it."
            )
            return failed(name, f"certificate refused: {error.verify_message}", remedy)
        except (ssl.SSLError, ConnectionResetError):
            remedy = "Write http:// if the server does not speak TLS there, or the right port."
            return failed(name, "does not speak TLS", remedy)
        except EndpointRefused as error:
            return failed(name, error.admin_message, _ALLOW)
        except (OSError, TimeoutError) as error:
            remedy = "Check that it runs, and the firewall."
            return failed(name, f"cannot be reached ({type(error).__name__})", remedy)
        days = (ends_at - datetime.now(UTC)).days
        evidence = f"certificate is trusted, and good for {days} days"
        if days < CERTIFICATE_DAYS:
            return warning(name, evidence, "Renew it in time.")
        return ok(name, evidence)

    yield from _all(look, hops, patient)


def check_issuers(patient: Patient) -> Iterator[Told]:
    """Whether the keys that GitLab signs with can be fetched."""
    settings = patient.settings
    sources = issuer_sources(settings.AIGW_GITLAB_URL, settings.GATEWAY_TRUSTED_ISSUERS)
    if not sources:
        yield skipped("keys of GitLab", "no GitLab instance is trusted")

    async def fetch(source: IssuerSource) -> Told:
        name = f"keys of {source.issuer}"
        if not patient.addresses_of(source.url.host):
            return failed(name, _NO_NAME, "Tokens are verified with the copy on disk, for a day.")
        try:
            async with _door(patient.policy.trusting([source.url.host])) as door:
                keys = await fetch_keys(source, door, patient.patience.server)
        except SettingInvalid:
            raise
        except (DeploymentError, ValueError) as error:
            told = error.admin_message if isinstance(error, DeploymentError) else str(error)
            if isinstance(error, orjson.JSONDecodeError):
                told = "what answers there is no JSON: is it GitLab, or a login page?"
            remedy = (
                "Check AIGW_GITLAB_URL (with its relative root), that this node reaches it, and "
                "that its certificate is trusted. Known keys go on for a day."
            )
            return failed(name, told, remedy)
        return ok(name, f"{len(keys)} fetched: {', '.join(sorted(keys))}")

    yield from _all(fetch, {f"keys of {source.issuer}": source for source in sources}, patient)


def check_clock(patient: Patient) -> Iterator[Told]:
    """How far our clock is from others'; a token is good from and until a time."""
    seen = False
    for name, read in (
        ("the database", _database_time),
        ("Redis", _redis_time),
        ("GitLab", _gitlab_time),
    ):
        patient.on_wait(f"the clock of {name}")
        before = time.time()
        theirs = read(patient)
        if theirs is None:
            continue
        seen = True
        skew_s = theirs - (before + time.time()) / 2
        evidence = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} ours"
        remedy = "Set both clocks by NTP."
        if abs(skew_s) > LEEWAY_S:
            yield failed(f"clock of {name}", evidence, f"{remedy} Tokens are refused.")
        elif abs(skew_s) > CLOCK_WARNING_S:
            yield warning(f"clock of {name}", evidence, remedy)
        else:
            yield ok(f"clock of {name}", "as ours")
    if not seen:
        yield skipped("clock", "there is none to compare with")


def _database_time(patient: Patient) -> float | None:
    if not patient.is_database_usable or connection.vendor != "postgresql":
        return None
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            return float(cursor.fetchone()[0])
    except DatabaseError:
        return None


def _redis_time(patient: Patient) -> float | None:
    if not patient.is_redis_usable:
        return None
    try:
        with worker_sign.store(patient.patience.redis_s) as client:
            seconds, micros = client.time()
    except (redis.RedisError, ValueError, OSError):
        return None
    return float(seconds) + float(micros) / 1e6


def _gitlab_time(patient: Patient) -> float | None:
    """Read the Date of GitLab's answer, whatever it answers."""
    hop = next((hop for hop in patient.hops() if hop.setting == "AIGW_GITLAB_URL"), None)
    if hop is None or not patient.addresses_of(hop.endpoint.host):
        return None

    async def ask() -> str | None:
        async with _door(patient.policy_for(hop)) as door:
            request = OutboundRequest(
                hop="GitLab",
                endpoint=hop.endpoint,
                path="/.well-known/openid-configuration",
                method="GET",
            )
            clocks = patient.patience.server
            by = asyncio.get_running_loop().time() + clocks.first_token_s
            try:
                answer = await door.open_download(request, clocks, headers_by=by)
            except DeploymentError:
                return None
            await answer.aclose()
            date: str | None = answer.headers.get("date")
            return date

    try:
        return parsedate_to_datetime(asyncio.run(ask()) or "").timestamp()
    except ValueError:
        return None


def check_model_servers(patient: Patient) -> Iterator[Told]:
    """Have every endpoint answer with one token, in the way that requests are sent."""
    if patient.snapshot is None or patient.configuration is None:
        yield skipped("model servers", "the configuration is not known")
        return
    servings = patient.snapshot.deployments
    for row in patient.configuration.deployments:
        if row.is_active and row.name not in servings:
            yield failed(
                f"deployment {row.name}",
                "cannot be used: its key does not open, or a field is not valid",
                "See the keys above; open it in the admin and save it.",
            )
    places = {
        f"{serving.deployment} at {endpoint.url}": (serving, endpoint)
        for serving in servings.values()
        for endpoint in serving.endpoints
    }
    if not any(row.is_active for row in patient.configuration.deployments):
        yield skipped("model servers", "no active deployment is registered")

    async def ask(place: tuple[ServingConfig, Endpoint]) -> Told:
        serving, endpoint = place
        name = f"{serving.deployment} at {endpoint.url}"
        if not patient.addresses_of(endpoint.host):
            return failed(name, _NO_NAME, "Correct the endpoint, or the name.")
        began = time.monotonic()
        try:
            async with _door(patient.policy) as door:
                await check_answer(door, serving, endpoint, patient.patience.model)
        except EndpointRefused as error:
            return failed(name, error.admin_message, _ALLOW)
        except DeploymentError as error:
            remedy = f"More: manage.py probe {serving.deployment}"
            if isinstance(error, UpstreamRejected) and error.status == 400:
                remedy = f"Often it lacks a chat template: start it with one. {remedy}"
            return failed(name, error.admin_message, remedy)
        return ok(name, f"answered a question in {time.monotonic() - began:.1f} s")

    yield from _all(ask, places, patient)


def check_egress(patient: Patient) -> Iterator[Told]:
    """Whether all that is dialled is inside; nothing is dialled to find out."""
    inside = 0
    for hop in patient.hops():
        host = hop.endpoint.host
        try:
            for address in patient.addresses_of(host):
                patient.policy.check(host, address)
        except EndpointRefused as error:
            if hop.is_from_environment:
                yield warning(
                    f"{hop.name} ({host})",
                    "is outside the allowed networks, and dialled because the environment names it",
                    "On a closed network name a host inside.",
                )
            else:
                yield failed(f"{hop.name} ({host})", error.admin_message, _ALLOW)
        else:
            inside += 1
    yield ok("egress", f"{inside} places are inside the allowed networks; nothing else is dialled")


def check_gateway(patient: Patient) -> Iterator[Told]:
    """Whether a gateway answers on this machine."""
    endpoint = patient.gateway_endpoint

    async def ask() -> Told:
        async with _door(UrlPolicy(allowed_hosts=[endpoint.host])) as door:
            request = OutboundRequest(
                hop="The gateway", endpoint=endpoint, path="/readyz", method="GET"
            )
            clocks = patient.patience.server
            by = asyncio.get_running_loop().time() + clocks.first_token_s
            try:
                body = await door.fetch(request, clocks, headers_by=by)
            except DeploymentError as error:
                remedy = (
                    "Start it (make serve), see its log, or say where it listens with "
                    "--gateway-url. GitLab and IDEs must reach it too, at the URL that GitLab's "
                    "settings name."
                )
                return failed(f"gateway at {endpoint.url}", error.safe_message, remedy)
            return ok(f"gateway at {endpoint.url}", f"ready: {body[:200].decode(errors='replace')}")

    patient.on_wait(f"the gateway at {endpoint.url}")
    yield asyncio.run(ask())


@asynccontextmanager
async def _door(policy: UrlPolicy) -> Any:
    door = OutboundDoor(policy)
    try:
        yield door
    finally:
        await door.aclose()


def _all(
    look: Callable[[Any], Awaitable[Told]], places: Mapping[str, Any], patient: Patient
) -> Iterator[Told]:
    """Look at all `places`, by their names, several at once; each is told as it is found."""

    async def in_turn(one: Any, turns: asyncio.Semaphore) -> Told:
        async with turns:
            return await look(one)

    async def begin() -> dict[asyncio.Task[Told], str]:
        turns = asyncio.Semaphore(AT_ONCE)
        return {asyncio.create_task(in_turn(one, turns)): name for name, one in places.items()}

    async def next_of(pending: Iterable[asyncio.Task[Told]]) -> list[asyncio.Task[Told]]:
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        return [task for task in pending if task in done]

    with asyncio.Runner() as runner:
        pending = runner.run(begin())
        while pending:
            patient.on_wait(", ".join(pending.values()))
            for task in runner.run(next_of(pending)):
                del pending[task]
                yield task.result()
