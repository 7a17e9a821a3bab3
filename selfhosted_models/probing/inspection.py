"""What is behind a URL that somebody pasted: which kind of model server, serving which models.

The server is asked what every serving format would ask it. What it is, and how to register it, is
returned as data; nothing here raises.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace

from selfhosted_models.asking import outbound_request
from selfhosted_models.endpoints import Endpoint, parse_endpoint
from selfhosted_models.errors import DeploymentError, EndpointRefused
from selfhosted_models.families import ModelFamily, guess_family
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing.interview import MAX_ANSWER_BYTES, REQUEST_ID
from selfhosted_models.probing.outcomes import NO_ANSWER, Outcome, outcome_of
from selfhosted_models.probing.pasted_paths import STAND_IN, base_paths, without_operation
from selfhosted_models.probing.told import listed, usable_context, usable_names
from selfhosted_models.secrets import API_KEY_PATTERN, Secret
from selfhosted_models.serving import Clocks, ServingConfig
from selfhosted_models.serving_formats.base import (
    Ability,
    FormatError,
    Inquiry,
    ServingFormat,
    T,
    WireRequest,
)
from selfhosted_models.serving_formats.registry import SERVING_FORMATS

#: Of each question: servers answer these from memory.
CLOCKS = Clocks(connect_s=3, first_token_s=4, idle_s=4, total_s=6)
#: For all questions together.
WITHIN_S = 20.0
MAX_MODELS = 100

#: Which format is suggested where a server speaks several: those that apply the model's own chat
#: template, and let us say how much context we need, come first. One not named here comes last.
PREFERENCE = ("ollama", "openai_chat", "openai_text", "llamacpp", "tgi", "triton", "mistral_fim")
#: Their code prompts hold tokens of the model's own, which only a text carries to it.
TEXT_FAMILIES = frozenset({ModelFamily.CODEGEMMA_7B_IT, ModelFamily.CODEGEMMA_2B})

#: Of what the server said to our questions, what is worth telling when none was answered.
_TOLD_FIRST = (Outcome.AUTH_FAILED, Outcome.SERVER_ERROR, *NO_ANSWER)


@dataclass(frozen=True, slots=True)
class Found:
    """A serving format by which the server lists its models, and the endpoint it does so at."""

    url: str
    serving_format: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A deployment that could be registered.

    Attributes:
        family: A guess, from the model's name.
        context_tokens: As the server says; None if it does not.
    """

    url: str
    serving_format: str
    model_identifier: str
    family: ModelFamily
    context_tokens: int | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found out.

    Attributes:
        message: What happened, at which hop, and what to do.
        url: What was pasted, as it was understood; "" if it is no URL.
        needs_key: Whether the server refused to answer without a key, or with this one.
        formats: What it may be spoken to by, the best first. Dialects of one API list their models
            alike: only a measurement tells whether it speaks them all.
        suggestions: One for each model it serves.
    """

    outcome: Outcome
    message: str
    url: str = ""
    needs_key: bool = False
    formats: tuple[Found, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()

    @property
    def corrected_url(self) -> str | None:
        """What to register in place of the pasted URL; None if that is right, or unclear."""
        urls = [each.url for each in self.suggestions] + [each.url for each in self.formats]
        return next((url for url in urls[:1] if url != self.url), None)


async def inspect(door: OutboundDoor, url: str, api_key: str = "") -> Inspection:
    """Return what is at `url`, as pasted: without its scheme or /v1, or with an operation's path.

    Args:
        door: Whose URL policy decides whether it is dialled at all.
        url: What somebody pasted.
        api_key: Sent along; "" for none.
    """
    try:
        endpoint = pasted_endpoint(url)
    except EndpointRefused as refusal:
        return Inspection(Outcome.BLOCKED, refusal.safe_message)
    api_key = api_key.strip()
    if api_key and not API_KEY_PATTERN.fullmatch(api_key):
        return Inspection(
            Outcome.AUTH_FAILED,
            "An API key has 1 to 2,000 visible ASCII characters and no spaces: copy it again.",
            endpoint.url,
            needs_key=True,
        )
    return await inspect_endpoint(door, endpoint, Secret(api_key) if api_key else None)


def pasted_endpoint(url: str) -> Endpoint:
    """Return what somebody pasted as it is asked.

    Raises:
        EndpointRefused: It is no URL of a server.
    """
    url = url.strip()
    return parse_endpoint(url if "://" in url else f"http://{url}")


async def inspect_endpoint(
    door: OutboundDoor, endpoint: Endpoint, api_key: Secret | None
) -> Inspection:
    """Return what is at `endpoint`, or at a path near it; see `inspect`."""
    ends_at = asyncio.get_running_loop().time() + WITHIN_S
    return await _Inspector(door, endpoint, api_key, ends_at).inspect()


@dataclass(frozen=True, slots=True)
class _Listing:
    """The models a server lists in one format."""

    serving_format: ServingFormat
    endpoint: Endpoint
    names: tuple[str, ...]


@dataclass(slots=True)
class _Inspector:
    door: OutboundDoor
    pasted: Endpoint
    api_key: Secret | None
    ends_at: float
    #: What was answered so far: many formats ask for the same.
    answers: dict[tuple[str, str, str], bytes | DeploymentError] = field(default_factory=dict)

    @property
    def hop(self) -> str:
        return f"The server at {self.pasted.origin}"

    async def inspect(self) -> Inspection:
        base_path, hinted = without_operation(self.pasted.base_path)
        listings: list[_Listing] = []
        for serving_format in _in_order(hinted, base_path):
            for path in base_paths(base_path, serving_format):
                listing = await self._list(serving_format, replace(self.pasted, base_path=path))
                if listing is not None:
                    listings.append(listing)
                    break
            if self._is_hopeless:
                break
        if not listings:
            return self._nothing()
        names = dict.fromkeys(name for listing in listings for name in listing.names)
        suggestions = [await self._suggest(name, listings) for name in list(names)[:MAX_MODELS]]
        return self._found(
            [Found(listing.endpoint.url, listing.serving_format.key) for listing in listings],
            suggestions,
        )

    async def _list(self, serving_format: ServingFormat, endpoint: Endpoint) -> _Listing | None:
        """Return what is listed at `endpoint`; None if the format is not spoken there."""
        inquiry = serving_format.list_models()
        if inquiry is None:
            return None
        serving = self._serving(serving_format, endpoint, STAND_IN)
        try:
            names = await self._ask(serving, inquiry)
            # Some servers list their models in others' formats too; not so their context.
            if (context := serving_format.find_context(serving)) is not None:
                await self._ask(serving, context)
        except (DeploymentError, FormatError):
            return None
        return _Listing(serving_format, endpoint, usable_names(names))

    async def _suggest(self, name: str, listings: list[_Listing]) -> Suggestion:
        family = guess_family(name)
        able = [listing for listing in listings if name in listing.names]
        if family in TEXT_FAMILIES:
            able.sort(key=lambda listing: Ability.TEXT not in listing.serving_format.abilities)
        best = able[0]
        serving = self._serving(best.serving_format, best.endpoint, name)
        tokens: int | None = None
        if (inquiry := best.serving_format.find_context(serving)) is not None:
            with suppress(DeploymentError, FormatError):
                tokens = usable_context(await self._ask(serving, inquiry))
        return Suggestion(best.endpoint.url, best.serving_format.key, name, family, tokens)

    def _serving(
        self, serving_format: ServingFormat, endpoint: Endpoint, name: str
    ) -> ServingConfig:
        return ServingConfig(
            deployment="",
            family=ModelFamily.GENERAL,
            serving_format=serving_format.key,
            endpoints=(endpoint,),
            model_identifier=name,
            api_key=self.api_key,
        )

    async def _ask(self, serving: ServingConfig, inquiry: Inquiry[T]) -> T:
        """Return what the server says of itself; raises what it says else."""
        endpoint = serving.endpoints[0]
        asked = (endpoint.url, inquiry.request.method, inquiry.request.path)
        if asked not in self.answers:
            self.answers[asked] = await self._fetch(serving, endpoint, inquiry.request)
        answer = self.answers[asked]
        if isinstance(answer, DeploymentError):
            raise answer
        return inquiry.read(answer)

    async def _fetch(
        self, serving: ServingConfig, endpoint: Endpoint, wire: WireRequest
    ) -> bytes | DeploymentError:
        request = outbound_request(serving, endpoint, wire, stream=False, request_id=REQUEST_ID)
        by = min(self.ends_at, asyncio.get_running_loop().time() + CLOCKS.first_token_s)
        try:
            return await self.door.fetch(
                replace(request, hop=self.hop), CLOCKS, headers_by=by, max_bytes=MAX_ANSWER_BYTES
            )
        except DeploymentError as error:
            return error

    @property
    def _errors(self) -> list[DeploymentError]:
        return [answer for answer in self.answers.values() if isinstance(answer, DeploymentError)]

    @property
    def _is_hopeless(self) -> bool:
        """Whether to ask no more: nothing at all comes back, or the time is over."""
        is_late = asyncio.get_running_loop().time() >= self.ends_at
        outcomes = {outcome_of(error) for error in self._errors}
        is_mute = len(self._errors) == len(self.answers) and outcomes.issubset(NO_ANSWER)
        return is_late or is_mute

    def _nothing(self) -> Inspection:
        """Say why no format was found."""
        errors = {outcome_of(error): error for error in reversed(self._errors)}
        told = next((outcome for outcome in _TOLD_FIRST if outcome in errors), None)
        needs_key = told is Outcome.AUTH_FAILED
        if told is None:
            told = Outcome.UNKNOWN_FORMAT
            message = (
                f"{self.hop} answers, but like no model server we know: check the port, and that "
                "no proxy or login page stands in between. If it is a model server, paste the base "
                "URL that its documentation gives."
            )
        elif needs_key and self.api_key is None:
            message = f"{self.hop} wants an API key: enter it and ask again."
        else:
            message = errors[told].admin_message
        return Inspection(told, message, self.pasted.url, needs_key=needs_key)

    def _found(self, formats: list[Found], suggestions: list[Suggestion]) -> Inspection:
        found = Inspection(
            Outcome.OK, "", self.pasted.url, formats=tuple(formats), suggestions=tuple(suggestions)
        )
        key = suggestions[0].serving_format if suggestions else formats[0].serving_format
        title = SERVING_FORMATS[key].title
        if not suggestions:
            message = f"{self.hop} speaks {title}, and lists no model: load one and ask again."
        else:
            names = tuple(suggestion.model_identifier for suggestion in suggestions)
            message = f"{self.hop} speaks {title} and serves {listed(names)}."
        if found.corrected_url is not None:
            message += f" Register it as {found.corrected_url}."
        return replace(found, message=message)


def _in_order(hinted: str | None, path: str) -> list[ServingFormat]:
    """Return the formats in the order in which they are asked, and suggested."""

    def rank(serving_format: ServingFormat) -> tuple[bool, bool, int]:
        key, usual = serving_format.key, serving_format.base_path
        place = PREFERENCE.index(key) if key in PREFERENCE else len(PREFERENCE)
        return key != hinted, not (usual and path.endswith(usual)), place

    return sorted(SERVING_FORMATS.values(), key=rank)
