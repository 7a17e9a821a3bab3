"""The fingerprint of one deployment: what its server can do, found out by asking it.

Every question goes the way of live requests: built and read by the serving format, through the one
door, by the deployment's own clocks. One at a time, few tokens each, within a time for all of them.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace

from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import DeploymentError, UpstreamRejected
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing import filling
from selfhosted_models.probing.context import Context, ContextSearch, filler
from selfhosted_models.probing.findings import (
    context_found,
    failed,
    is_refusal,
    no,
    not_applicable,
    speed,
    unknown,
    yes,
)
from selfhosted_models.probing.interview import Admission, Heard, Interview
from selfhosted_models.probing.outcomes import NO_ANSWER, Outcome, outcome_of
from selfhosted_models.probing.questions import (
    ANSWER_TOKENS,
    COUNTING,
    FEW_TOKENS,
    GREETING,
    LEAST_SYSTEM_TOKENS,
    SPOKEN_TOKENS,
    SYSTEM,
    SYSTEM_WORD,
    THINKING,
    TOOLS,
    more_tokens,
    shortened,
    word_within,
)
from selfhosted_models.probing.results import AbilityResult, State, Trait
from selfhosted_models.probing.told import listed, usable_context, usable_names
from selfhosted_models.serving import CHAT_CLOCKS, ServingConfig
from selfhosted_models.serving_formats.base import (
    Ability,
    Completion,
    CompletionChunk,
    Message,
    Sampling,
)

#: For everything together.
WITHIN_S = 240.0


@dataclass(frozen=True, slots=True)
class FeaturePrompts:
    """What real features ask of the deployment.

    Attributes:
        chat: A question of chat.
        code: The gap of `probing.filling`, as code completion asks for it.
    """

    chat: Completion
    code: Completion


async def measure(
    door: OutboundDoor,
    serving: ServingConfig,
    prompts: FeaturePrompts,
    *,
    endpoint: Endpoint | None = None,
    within_s: float = WITHIN_S,
    admission: Admission = nullcontext,
) -> AsyncGenerator[AbilityResult, None]:
    """Yield each finding as it comes, in the order of `Trait`.

    Closing the generator, or cancelling its task, closes the connection at hand. Where the server
    cannot be reached or refuses the key, that is the last finding.

    Args:
        door: To the server.
        serving: As the admin configured it, without what was measured before.
        prompts: What its features ask.
        endpoint: Which of its endpoints is asked; the first, if none is given.
        within_s: For everything together; what is left over then is told as unknown.
        admission: Around each question to the model: waits for one of the deployment's slots.
    """
    loop = asyncio.get_running_loop()
    endpoint = endpoint or serving.endpoints[0]
    asking = Interview(
        door, serving, endpoint, serving.clock_overrides.apply(CHAT_CLOCKS), admission
    )
    measurement = _Measurement(asking, prompts, loop.time() + within_s)
    for traits, ask in measurement.questions():
        asked_at = loop.time()
        findings = await measurement.answer(traits, ask)
        took_ms = round((loop.time() - asked_at) * 1000, 1)
        for finding in findings:
            yield replace(finding, took_ms=took_ms)
        if measurement.is_over:
            return


Findings = tuple[AbilityResult, ...]
Question = Callable[[], Awaitable[Findings]]


class _Measurement:
    """One run of the questions, and what they have brought so far."""

    def __init__(self, interview: Interview, prompts: FeaturePrompts, ends_at: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._ends_at = ends_at
        self._prompts = prompts
        self._clocks = interview.clocks
        self._interview = interview
        self._abilities = self._interview.serving_format.abilities
        self._names: tuple[str, ...] | None = None
        self._greeting: CompletionChunk | None = None
        self._spoken: Heard | None = None
        self._seen = ""  # all text so far, for what should not be in it
        self._chats = False
        self._continues_text = False
        self.is_over = False

    def questions(self) -> tuple[tuple[tuple[Trait, ...], Question], ...]:
        """Return what is asked, in order, and the traits each question is about."""
        return (
            ((Trait.REACHABLE,), self._reach),
            ((Trait.AUTHENTICATED, Trait.MODEL_FOUND), self._greet),
            ((Trait.SYSTEM_ROLE,), self._give_system_text),
            ((Trait.CHAT,), self._chat),
            ((Trait.TEXT,), self._continue_text),
            ((Trait.STREAMING, Trait.STREAM_USAGE, Trait.SPEED), self._stream),
            ((Trait.STOP_SEQUENCES,), self._stop),
            ((Trait.FILL_IN_MIDDLE,), self._fill),
            ((Trait.NATIVE_FILL_IN_MIDDLE,), self._fill_natively),
            ((Trait.TOOLS,), self._offer_tools),
            ((Trait.REASONING_TAGS,), self._look_for_reasoning),
            ((Trait.CONTEXT,), self._find_context),
        )

    async def answer(self, traits: tuple[Trait, ...], ask: Question) -> Findings:
        """Return what `ask` finds; where it fails, what that says of `traits`."""
        if not self._has_time():
            return tuple(unknown(trait, "No time was left for it.") for trait in traits)
        try:
            return await ask()
        except DeploymentError as error:
            return tuple(failed(trait, error) for trait in traits)

    def _has_time(self) -> bool:
        return self._now() < self._ends_at

    def _asker(self, serving: ServingConfig | None = None) -> Interview:
        """Return who asks, with no more time than is left."""
        left_s = max(self._ends_at - self._now(), 0.0)
        clocks = replace(
            self._clocks,
            first_token_s=min(self._clocks.first_token_s, left_s),
            total_s=min(self._clocks.total_s, left_s),
        )
        return replace(self._interview, clocks=clocks, serving=serving or self._serving)

    @property
    def _serving(self) -> ServingConfig:
        return self._interview.serving

    async def _ask(
        self, completion: Completion, serving: ServingConfig | None = None
    ) -> CompletionChunk:
        chunk = await self._asker(serving).ask(completion)
        self._seen += chunk.text
        return chunk

    def _asking(self, text: str, max_output_tokens: int, *stop: str) -> Completion:
        """Return a question in the way that was seen to work."""
        sampling = Sampling(max_output_tokens, temperature=0, stop=stop)
        if self._chats:
            return Completion(sampling, messages=(Message("user", text),))
        return Completion(sampling, text=text)

    # The questions, in their order.

    async def _reach(self) -> Findings:
        trait, origin = Trait.REACHABLE, self._interview.endpoint.origin
        inquiry = self._interview.serving_format.list_models()
        try:
            if inquiry is None:
                await self._hear_greeting()
            else:
                told = await self._asker().inquire(inquiry)
                self._names = usable_names(told)
        except DeploymentError as error:
            if outcome_of(error) in NO_ANSWER:
                self.is_over = True
                return (replace(failed(trait, error), state=State.NO),)
        return (yes(trait, f"Something answers at {origin}."),)

    async def _greet(self) -> Findings:
        key = yes(Trait.AUTHENTICATED, "The server takes our requests.")
        try:
            await self._hear_greeting()
        except DeploymentError as error:
            outcome = outcome_of(error)
            if outcome is Outcome.AUTH_FAILED:
                self.is_over = True
                return (replace(failed(Trait.AUTHENTICATED, error), state=State.NO),)
            if not is_refusal(error):
                key = failed(Trait.AUTHENTICATED, error)
        return (key, self._model_found())

    async def _hear_greeting(self) -> None:
        if self._greeting is None:
            question = (Message("user", GREETING),)
            asked = Completion(Sampling(FEW_TOKENS, temperature=0), messages=question)
            self._greeting = await self._ask(asked)

    def _model_found(self) -> AbilityResult:
        trait, name = Trait.MODEL_FOUND, self._serving.model_identifier
        if self._names is None:
            answers = self._greeting is not None
            return AbilityResult(
                trait=trait,
                state=State.YES if answers else State.UNKNOWN,
                detail="The server lists no models" + (" and answers." if answers else "."),
            )
        if {name, f"{name}:latest"} & set(self._names):
            return yes(trait, "The server lists it.")
        served = listed(self._names) or "nothing"
        if self._greeting is not None:
            return yes(trait, f"The server lists {served} and answers by any name.")
        return no(
            trait,
            f"The server lists {served}, and not {name}.",
            "Choose one of the listed names as the model identifier.",
        )

    async def _give_system_text(self) -> Findings:
        trait = Trait.SYSTEM_ROLE
        if Ability.CHAT not in self._abilities:
            return (not_applicable(trait, "System text is a part of the family's chat template."),)
        if self._greeting is None:
            return (unknown(trait, "The server answers no chat."),)
        turns = (Message("system", SYSTEM), Message("user", GREETING))
        asked = Completion(Sampling(FEW_TOKENS, temperature=0), messages=turns)
        try:
            chunk = await self._ask(asked, replace(self._serving, has_system_role=True))
        except UpstreamRejected as error:
            if not is_refusal(error):
                raise
            return (self._folds("The server refuses system messages"),)
        more = more_tokens(chunk, self._greeting)
        is_followed = SYSTEM_WORD in chunk.text.lower()
        if not is_followed and more is None:
            return (unknown(trait, "The model did not follow one, and tokens are not counted."),)
        if not is_followed and more is not None and more < LEAST_SYSTEM_TOKENS:
            return (self._folds("The server drops system messages"),)
        self._sends_system_role(True)
        return (yes(trait, "A system message reaches the model."),)

    def _folds(self, why: str) -> AbilityResult:
        self._sends_system_role(False)
        detail = f"{why}: the gateway puts their text into the first user turn."
        return no(Trait.SYSTEM_ROLE, detail)

    def _sends_system_role(self, does: bool) -> None:
        serving = replace(self._serving, has_system_role=does)
        self._interview = replace(self._interview, serving=serving)

    async def _chat(self) -> Findings:
        trait = Trait.CHAT
        chunk = await self._ask(shortened(self._prompts.chat))
        self._chats = True
        way = "in the server's own chat template"
        if Ability.CHAT not in self._abilities:
            way = "as one text in the family's chat template"
        if not chunk.text.strip() and chunk.finish_reason == "length":
            found = yes(
                trait, f"It answered {way}, but {ANSWER_TOKENS} tokens held no visible text."
            )
            remedy = "If the model reasons before it answers, switch that off on the server."
            return (replace(found, remedy=remedy),)
        return (yes(trait, f"It answers the prompt of chat, {way}."),)

    async def _continue_text(self) -> Findings:
        trait = Trait.TEXT
        try:
            if Ability.TEXT not in self._abilities:
                return (not_applicable(trait, "A text is sent as one user message."),)
            sampling = Sampling(FEW_TOKENS, temperature=0)
            await self._ask(Completion(sampling, text="The capital of France is"))
            self._continues_text = True
            return (yes(trait, "It continues a text."),)
        finally:
            self.is_over = not self._chats and not self._continues_text

    async def _stream(self) -> Findings:
        asked = self._asking(COUNTING, SPOKEN_TOKENS)
        is_told = True
        try:
            heard = await self._asker().listen(asked)
        except UpstreamRejected as error:
            if not is_refusal(error):
                raise
            is_told = False
            unasked = replace(self._serving, reports_stream_usage=False)
            heard = await self._asker(unasked).listen(asked)
        self._seen += heard.text
        self._spoken = heard
        if heard.pieces > 1:
            streaming = yes(Trait.STREAMING, f"The answer came in {heard.pieces} pieces.")
        else:
            streaming = replace(
                no(Trait.STREAMING, "The answer came in one piece."),
                state=State.NO if len(heard.text.split()) > 2 else State.UNKNOWN,
                remedy="Look whether a proxy before the server collects its answers.",
            )
        return (streaming, self._stream_usage(heard, is_told=is_told), speed(heard))

    def _stream_usage(self, heard: Heard, *, is_told: bool) -> AbilityResult:
        trait = Trait.STREAM_USAGE
        if Ability.STREAM_USAGE not in self._abilities:
            return not_applicable(trait, "A stream of this format counts no tokens.")
        if heard.usage is not None:
            return yes(trait, "A stream says how many tokens it took.")
        does = "does not say" if is_told else "refuses to say"
        detail = f"The server {does} how many tokens a stream took: they are not in the usage."
        return no(trait, detail)

    async def _stop(self) -> Findings:
        trait = Trait.STOP_SEQUENCES
        if Ability.STOP_SEQUENCES not in self._abilities:
            return (not_applicable(trait, "The gateway cuts answers of this format itself."),)
        said = self._spoken.text if self._spoken else ""
        stop = word_within(said)
        if stop is None:
            return (unknown(trait, "The model's answer was too short to be stopped."),)
        answer = await self._ask(self._asking(COUNTING, SPOKEN_TOKENS, stop))
        if stop not in answer.text:
            return (yes(trait, "An answer ends before a stop sequence."),)
        detail = "The server overlooks stop sequences: the gateway cuts its answers itself."
        return (no(trait, detail),)

    async def _fill(self) -> Findings:
        trait = Trait.FILL_IN_MIDDLE
        answer = await self._ask(shortened(self._prompts.code))
        if filling.is_right(answer.text):
            return (yes(trait, "The prompt of code completion filled a gap rightly."),)
        detail = "The prompt of code completion was answered, but the gap filled wrongly."
        remedy = "For code completion, choose a model that was trained to fill gaps."
        return (no(trait, detail, remedy),)

    async def _fill_natively(self) -> Findings:
        trait = Trait.NATIVE_FILL_IN_MIDDLE
        if Ability.FILL_IN_MIDDLE not in self._abilities:
            return (not_applicable(trait, "Servers of this format have no endpoint for it."),)
        asked = shortened(self._prompts.code)
        native = replace(self._serving, fills_in_middle=True)
        build_request = self._interview.serving_format.build_request
        if build_request(native, asked, stream=False) == build_request(
            self._serving, asked, stream=False
        ):
            detail = "Code completion is asked for in the same way with and without it."
            return (not_applicable(trait, detail),)
        answer = await self._ask(asked, native)
        if filling.is_right(answer.text):
            return (yes(trait, "The server's own endpoint filled a gap rightly."),)
        return (no(trait, "The server's own endpoint filled a gap wrongly: it is not used."),)

    async def _offer_tools(self) -> Findings:
        trait = Trait.TOOLS
        if Ability.CHAT not in self._abilities or not self._chats:
            return (not_applicable(trait, "Only a chat is offered tools."),)
        asked = self._asking("What time is it?", ANSWER_TOKENS)
        asker = self._asker()
        wire = asker.serving_format.build_request(asker.serving, asked, stream=False)
        wire = replace(wire, body={**(wire.body or {}), "tools": TOOLS})
        try:
            answer = await asker.ask_wire(wire, asked)
        except UpstreamRejected as error:
            if not is_refusal(error):
                raise
            detail = "The server refuses tools. No feature needs them."
            return (no(trait, detail),)
        used = "used" if answer.finish_reason == "tool_calls" else "did not use"
        return (yes(trait, f"The server takes tools; the model {used} the one offered."),)

    async def _look_for_reasoning(self) -> Findings:
        trait = Trait.REASONING_TAGS
        if not any(tag in self._seen for tag in THINKING):
            detail = "No answer held its reasoning."
            return (no(trait, detail),)
        return (
            replace(
                yes(trait, "The model's reasoning stands in its answers, in <think> tags."),
                remedy="Switch it off, or have the server take it out (vLLM: --reasoning-parser).",
            ),
        )

    async def _find_context(self) -> Findings:
        inquiry = self._interview.serving_format.find_context(self._serving)
        told: int | None = None
        if inquiry is not None:
            with suppress(DeploymentError):
                told = usable_context(await self._asker().inquire(inquiry))

        async def ask_with(words: int) -> CompletionChunk:
            return await self._asker().ask(self._asking(filler(words), 1))

        try:
            context = await ContextSearch(ask_with, self._has_time).find(told)
        except DeploymentError:
            if told is None:
                raise
            context = Context(told)
        return (context_found(context, told),)
