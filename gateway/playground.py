"""Trying a feature out: the gates, prompt and door of a real request, asked by an admin.

The answer comes through the worker's own fleet, so it waits for a slot, meets a circuit and is
given up exactly as a caller's would be. What was asked and answered is kept nowhere, and usage
records and metrics of requests leave it out: they tell of callers. A log event says that an admin
asked, and what it took.
"""

import json
import shlex
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import structlog

from feature_config.catalogue import FEATURES, PROMPT_IDS, Feature
from gateway.answers import Question, lane_of, with_inputs
from gateway.authentication.verifier import Caller
from gateway.errors import KNOWN_ERRORS
from gateway.exchange import Exchange
from gateway.explain import access_of
from gateway.gates import USE_DEPLOYMENTS_DIRECTLY, Access, Candidate, Decision, decide
from gateway.model_metadata import ModelMetadataPolicy
from gateway.openai_models import model_of
from gateway.runtime import Runtime
from gateway.schemas.openai import MAX_STOPS
from gateway.snapshot import ServingSnapshot
from prompts.preview import preview

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried.

    Attributes:
        deployment: Asked in place of what the feature is assigned to; "" asks that.
        inputs: Of the feature's prompt, as a caller sends them.
    """

    feature: Feature
    deployment: str
    inputs: Mapping[str, Any]

    @property
    def access(self) -> Access:
        return replace(access_of(self.feature), deployment=self.deployment or None)

    def decide(self, snapshot: ServingSnapshot, user: str) -> Decision:
        """Ask the gates for `user`, as if their token carried the feature's scope."""
        scopes = frozenset({FEATURES[self.feature].unit_primitive})
        return decide(
            snapshot,
            Caller(user, scopes, is_own_issued=False),
            self.access,
            caller_model=None,
            policy=ModelMetadataPolicy.IGNORE,
        )

    def prompt_for(self, snapshot: ServingSnapshot, candidate: Candidate) -> dict[str, Any]:
        """Return the prompt as it would be sent, with its budget; see `prompts.preview`.

        Raises:
            PromptError: The inputs do not fit it.
        """
        return preview(
            snapshot.prompts,
            self.access.prompt,
            candidate.serving.family,
            self.inputs,
            context_tokens=candidate.serving.context_tokens,
            pin=snapshot.routes[self.feature].prompt_version,
        )

    def curl(self, base_url: str, prompt: Mapping[str, Any] | None = None) -> str:
        """Return the command that asks the same.

        Args:
            base_url: Of this gateway.
            prompt: As `prompt_for` returns it. A deployment that was chosen is sent it as it is;
                without one, whatever the feature is assigned to is sent the inputs.
        """
        if self.deployment and prompt is not None:
            return _curl(base_url, *_asked_directly(self.deployment, prompt))
        scope = FEATURES[self.feature].unit_primitive
        if self.feature is Feature.DUO_CHAT:  # a plain conversation has no prompt id
            body = {"model": "duo_chat", **self.inputs}
            return _curl(base_url, "/openai/v1/chat/completions", body, scope)
        path = f"/v1/prompts/{PROMPT_IDS[self.feature]}"
        return _curl(base_url, path, {"inputs": dict(self.inputs)}, scope)


def _asked_directly(deployment: str, prompt: Mapping[str, Any]) -> tuple[str, dict[str, Any], str]:
    """Return path, body and scope of a request that sends one deployment a filled-in prompt."""
    parameters = prompt["parameters"]
    sampling = {
        "max_tokens": parameters["max_output_tokens"],
        "temperature": parameters["temperature"],
        "top_p": parameters["top_p"],
        "stop": parameters["stop"][:MAX_STOPS],
    }
    if prompt.get("messages"):
        path, asked = "/openai/v1/chat/completions", {"messages": prompt["messages"]}
    else:
        path, asked = "/openai/v1/completions", {"prompt": prompt["text"]}
    known = {name: value for name, value in sampling.items() if value not in (None, [])}
    return path, {"model": model_of(deployment), **asked, **known}, USE_DEPLOYMENTS_DIRECTLY


def _curl(base_url: str, path: str, body: Mapping[str, Any], scope: str) -> str:
    sent = shlex.quote(json.dumps({**body, "stream": True}, ensure_ascii=False))
    return (
        f"curl -N {base_url}{path} \\\n"
        f'  -H "Authorization: Bearer $(manage.py issue_token --user me --scopes {scope})" \\\n'
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d {sent}"
    )


async def ask(runtime: Runtime, trial: Trial, user: str) -> AsyncGenerator[dict[str, Any]]:
    """Yield the answer as it comes, as events: `text`, at most one `error`, and `end`.

    Closing it closes the connection to the model server.
    """
    exchange = Exchange.begin("POST", {})
    exchange.feature = trial.feature
    try:
        runtime.require_not_draining()
        turn = runtime.quotas.enter(user)
        try:
            candidates = trial.decide(runtime.snapshot, user).require()
            question = Question(
                runtime.fleet,
                exchange,
                candidates,
                with_inputs(trial.inputs),
                lane_of(trial.feature),
            )
            async with aclosing(_texts(question)) as texts:
                async for text in texts:
                    yield {"text": text}
        finally:
            turn.leave()
    except KNOWN_ERRORS as error:
        exchange.outcome = error.code
        yield {"error": {"code": error.code, "message": error.safe_message}}
    finally:
        timings = _timings(exchange)
        log.info("playground.asked", feature=trial.feature, outcome=exchange.outcome, **timings)
    yield {"end": timings}


async def _texts(question: Question) -> AsyncGenerator[str]:
    if question.has_contract:  # judged as a whole: none of it comes before the end
        yield (await question.fetch()).text
        return
    stream = await question.stream()
    try:
        async for text in stream:
            yield text
    finally:
        await stream.aclose()


def _timings(exchange: Exchange) -> dict[str, Any]:
    """Return what an exchange took, in ms since the question, and what it cost in tokens."""
    total_s = time.monotonic() - exchange.started_at
    first_s = exchange.first_content_at and exchange.first_content_at - exchange.started_at
    output = exchange.usage.output_tokens
    writing_s = total_s - (first_s or 0)
    return {
        "request_id": exchange.request_id,
        "deployment": exchange.deployment,
        "prompt": exchange.prompt,
        "attempts": exchange.attempts,
        "queued_ms": round(exchange.queued_s * 1000),
        "first_content_ms": first_s and round(first_s * 1000),
        "total_ms": round(total_s * 1000),
        "input_tokens": exchange.usage.input_tokens,
        "output_tokens": output,
        "tokens_per_s": round(output / writing_s, 1) if output and writing_s > 0 else None,
    }
