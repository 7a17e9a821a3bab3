"""The gateway's parts, put together by hand on injected transports and clocks."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
from cryptography.fernet import Fernet

from docsearch.backend import LocalBackend
from docsearch.store import IndexStore
from feature_config.catalogue import Feature
from feature_config.resolution import FeatureRoute
from gateway.authentication.denied_tokens import DenyList
from gateway.authentication.key_copies import KeyCopies
from gateway.authentication.refusal_limit import RefusalLimit
from gateway.authentication.trust import Trust
from gateway.authentication.trusted_keys import IssuerKeys, IssuerSource, OwnKeys
from gateway.authentication.verifier import TokenVerifier
from gateway.documentation.search import DocsSearch
from gateway.gates import Candidate
from gateway.model_metadata import ModelMetadataPolicy
from gateway.routing.fleet import Fleet
from gateway.routing.limits import Limits
from gateway.routing.quotas import Quotas
from gateway.runtime import Runtime, RuntimeSettings
from gateway.snapshot import ServingSnapshot
from prompts.loader import load_definitions
from prompts.registry import PromptRegistry, variants_for
from selfhosted_models.endpoints import UrlPolicy, parse_endpoint, parse_line
from selfhosted_models.families import ModelFamily
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.secrets import Secret
from selfhosted_models.serving import ServingConfig
from tests.fakes.gitlab import DISCOVERY_PATH, KEYS_PATH, SERVICE_NAME, public_jwk, rsa_key
from tests.unit.gateway.signing import ISSUER, OWN_KEY

Handler = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]

ENCRYPTION_KEY = Fernet.generate_key().decode()
OWN_KEYS = OwnKeys(rsa_key(OWN_KEY))
NOWHERE = Path("/nowhere")  # holds no files, and none can be made


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Instance:
    """A GitLab instance behind an injected transport.

    Attributes:
        issuer: Its base URL, and the issuer of its tokens.
        keys: What its key set holds.
        jwks_uri: What its discovery document says.
        fault: Raised, or returned, in place of the key set.
        requests: URLs asked for, oldest first.
    """

    def __init__(self, issuer: str = ISSUER, keys: Iterable[Any] | None = None) -> None:
        self.issuer = issuer
        self.keys = [public_jwk(0)] if keys is None else [*keys]
        self.jwks_uri: Any = issuer + KEYS_PATH
        self.fault: Exception | httpx.Response | None = None
        self.requests: list[str] = []

    @property
    def fetches(self) -> int:
        """How often its key set was asked for."""
        return sum(not url.endswith(DISCOVERY_PATH) for url in self.requests)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        self.requests.append(url)
        if url == self.issuer + DISCOVERY_PATH:
            return httpx.Response(
                200, content=orjson.dumps({"issuer": self.issuer, "jwks_uri": self.jwks_uri})
            )
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault or httpx.Response(200, json={"keys": self.keys})


def door(handler: Any) -> OutboundDoor:
    return OutboundDoor(UrlPolicy(), transport=httpx.MockTransport(handler))


def source(issuer: str = ISSUER, *, url: str = "", is_key_set: bool = False) -> IssuerSource:
    return IssuerSource(issuer, parse_endpoint(url or issuer), is_key_set=is_key_set)


def verifier(
    instance: Instance | None = None,
    *,
    own_keys: OwnKeys = OWN_KEYS,
    clock: Clock | None = None,
    deny_list: DenyList | None = None,
) -> TokenVerifier:
    """Return a verifier that trusts `instance`; wall time is the process's (see time_machine)."""
    keys = issuer_keys(instance, clock=clock)
    return verifier_with(keys, own_keys=own_keys, clock=clock, deny_list=deny_list)


def verifier_with(
    keys: IssuerKeys,
    *,
    own_keys: OwnKeys = OWN_KEYS,
    clock: Clock | None = None,
    deny_list: DenyList | None = None,
) -> TokenVerifier:
    return TokenVerifier(
        keys,
        own_keys,
        SERVICE_NAME,
        time.time,
        deny_list=deny_list or DenyList(NOWHERE),
        refusals=RefusalLimit(clock or Clock()),
    )


def issuer_keys(
    instance: Instance | None = None,
    *,
    sources: Sequence[IssuerSource] | None = None,
    clock: Callable[[], float] | None = None,
    folder: Path = NOWHERE,
) -> IssuerKeys:
    """Return the keys of `instance`; copies on disk are in `folder`, as old as wall time says."""
    instance = instance or Instance()
    trusted = [source(instance.issuer)] if sources is None else sources
    return IssuerKeys(trusted, door(instance), clock or Clock(), KeyCopies(folder, time.time))


@functools.cache
def prompts() -> PromptRegistry:
    return load_definitions().registry


def serving(name: str = "codegemma-gpu1", **changes: Any) -> ServingConfig:
    """Return a deployment; `endpoints` are URLs and `api_key` is text."""
    urls = changes.pop("endpoints", ["http://10.0.4.11:8000/v1"])
    key = changes.pop("api_key", "key-stored")
    values: dict[str, Any] = {
        "family": ModelFamily.CODEGEMMA_7B_IT,
        "serving_format": "openai_text",
        "model_identifier": "codegemma-7b-it",
        "endpoints": tuple(map(parse_line, urls)),
        "api_key": Secret(key) if key else None,
    }
    return ServingConfig(deployment=name, **values | changes)


def candidate(serving: ServingConfig) -> Candidate:
    """Return `serving` with its prompt for completions."""
    variants = variants_for(serving.family, None)
    return Candidate(serving, prompts().find(Feature.CODE_COMPLETIONS, variants))


def under_way(fleet: Fleet, servings: Iterable[ServingConfig]) -> dict[str, int]:
    """Return every gauge of `fleet` that is not zero: requests in flight, waiting, on trial."""
    gauges: dict[str, int] = {}
    for serving in servings:
        line = fleet.line_of(serving)
        gauges[f"in flight to {serving.deployment}"] = line.in_flight
        gauges[f"waiting for {serving.deployment}"] = line.waiting
        for endpoint in serving.endpoints:
            state = fleet.state_of(serving.deployment, endpoint)
            gauges[f"in flight to {endpoint.url}"] = state.in_flight
            is_ripe = not state.breaker.opens_again_in_s
            gauges[f"on trial at {endpoint.url}"] = is_ripe and not state.breaker.lets_through
    return {name: count for name, count in gauges.items() if count}


def snapshot(
    deployments: Iterable[ServingConfig] = (),
    routes: Mapping[Feature, Sequence[str] | None] | None = None,
    pins: Mapping[Feature, str] | None = None,
) -> ServingSnapshot:
    """Return a snapshot; a route of None is inactive, a missing one unassigned."""
    chosen = {feature: FeatureRoute(feature) for feature in Feature}
    for feature, names in (routes or {}).items():
        chosen[feature] = FeatureRoute(feature, tuple(names or ()), is_inactive=names is None)
    for feature, pin in (pins or {}).items():
        chosen[feature] = replace(chosen[feature], prompt_version=pin)
    return ServingSnapshot(
        version="0123456789abcdef",
        deployments={deployment.deployment: deployment for deployment in deployments},
        routes=chosen,
        prompts=prompts(),
    )


def runtime(
    model_server: Handler,
    serves: ServingSnapshot | None = None,
    *,
    policy: ModelMetadataPolicy = ModelMetadataPolicy.REGISTERED,
    own_keys: OwnKeys = OWN_KEYS,
    limits: Limits | None = None,
) -> Runtime:
    """Return a runtime whose model servers are all `model_server`; it has no background tasks."""
    instance = Instance()
    keys = issuer_keys(instance)
    limits = limits or Limits()
    return Runtime(
        options=RuntimeSettings(
            service_name=SERVICE_NAME,
            model_metadata=policy,
            issuers=(source(),),
            url_policy=UrlPolicy(),
            own_keys=own_keys,
            encryption_keys=(ENCRYPTION_KEY,),
            configuration_poll_s=3600,
            data_dir=NOWHERE,
            disallowed_flags={},
        ),
        snapshot=snapshot() if serves is None else serves,
        fleet=Fleet(door(model_server), limits),
        quotas=Quotas(limits, time.monotonic),
        docs=DocsSearch(LocalBackend(IndexStore(NOWHERE))),
        trust=Trust(
            verifier=verifier_with(keys, own_keys=own_keys),
            issuer_keys=keys,
            deny_list=DenyList(NOWHERE / "denied_tokens"),
            door=door(instance),
        ),
    )


class ModelServer:
    """A model server behind an injected transport.

    Attributes:
        answers: Played one after the other; the last one stays.
        requests: What it was asked, oldest first.
    """

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = [*answers]
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class EventBody(httpx.AsyncByteStream):
    """The body of a streamed answer, event by event.

    Attributes:
        steps: Text to send as an event's data, an error to raise, or an event to wait for.
        is_waiting: Set once an event is waited for.
        is_closed: Whether the gateway has closed it.
    """

    def __init__(self, *steps: str | Exception | asyncio.Event) -> None:
        self.steps = steps
        self.is_waiting = asyncio.Event()
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                self.is_waiting.set()
                await step.wait()
            else:
                yield f"data: {step}\n\n".encode()

    async def aclose(self) -> None:
        self.is_closed = True


def text_event(text: str, finish_reason: str | None = None) -> str:
    """Return the data of one event of a text completion."""
    choice = {"index": 0, "text": text, "finish_reason": finish_reason}
    return orjson.dumps({"choices": [choice]}).decode()


def chat_event(text: str, finish_reason: str | None = None) -> str:
    """Return the data of one event of a chat completion."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return orjson.dumps({"choices": [choice]}).decode()


def streamed(body: httpx.AsyncByteStream) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=body)


def text_answer(text: str) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"index": 0, "text": text}]})
