"""The live path without a caller: the gates, prompts and door that requests go through.

A run has a loop and a fleet of its own, in whatever process carries it out. Its requests go last
(`Lane.BATCH`); with Redis it leases slots as any worker does, so that the model server never sees
more at once than the deployment may have.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from feature_config.catalogue import FEATURES, Feature, support_level
from feature_config.errors import FeatureError
from feature_config.resolution import FeatureRoute
from gateway.answers import Question
from gateway.authentication.verifier import Caller
from gateway.evaluation.errors import EvaluationRefused
from gateway.exchange import Exchange
from gateway.gates import Access, Candidate, decide
from gateway.model_metadata import ModelMetadataPolicy
from gateway.post_processing import escapes_underscores, tidy_generation
from gateway.routing.errors import DeploymentBusy
from gateway.routing.fleet import Fleet
from gateway.routing.line import Lane
from gateway.snapshot import ServingSnapshot
from prompts.errors import PromptError
from prompts.evaluation.runner import Reply
from prompts.evaluation.scorers.judged import JUDGE
from prompts.evaluation.suite import Case
from prompts.registry import variants_for
from prompts.render import RenderedPrompt, render
from selfhosted_models.errors import DeploymentError
from selfhosted_models.families import FAMILIES

#: A case that finds the deployment busy asks again for so long: people's requests go first.
MAX_WAIT_S = 300.0
JUDGE_PROMPT = "evaluation_judge"


def find_candidate(
    snapshot: ServingSnapshot,
    feature: Feature,
    deployment: str = "",
    prompt_version: str = "",
) -> Candidate:
    """Return who answers `feature`, and with what prompt, as the gates of a request have it.

    Args:
        snapshot: What is configured.
        feature: Evaluated, even where it is inactive, if `deployment` is named.
        deployment: Asked in place of the one that is assigned first.
        prompt_version: Constraint in place of the admin's.

    Raises:
        EvaluationRefused: Nothing can answer it, or it is not supported on the model family of
            `deployment`.
        PromptError: The prompt does not exist in this version.
    """
    route = snapshot.routes[feature]
    if deployment:
        serving = snapshot.deployments.get(deployment)
        if serving and not support_level(feature, serving.family).is_selectable:
            family = FAMILIES[serving.family].title
            raise EvaluationRefused(f"{FEATURES[feature].title} is not supported on {family}.")
        route = FeatureRoute(feature, (deployment,), prompt_version=route.prompt_version)
    if prompt_version:
        route = replace(route, prompt_version=prompt_version)
    scope = FEATURES[feature].unit_primitive
    decision = decide(
        replace(snapshot, routes={**snapshot.routes, feature: route}),
        Caller("evaluation", frozenset({scope}), is_own_issued=False),
        Access(feature, scope, prompt=feature, denied_detail=""),
        caller_model=None,
        policy=ModelMetadataPolicy.IGNORE,
    )
    try:
        return decision.require()[0]
    except FeatureError as error:  # whoever asks for it must ask for something else
        raise EvaluationRefused(error.safe_message) from error


def find_judge(snapshot: ServingSnapshot, deployment: str) -> Candidate:
    """Return the deployment that judges, with the judge's prompt.

    Raises:
        EvaluationRefused: It is not there, inactive, or its key cannot be read.
        PromptError: There is no such prompt.
    """
    serving = snapshot.deployments.get(deployment)
    if serving is None:
        raise EvaluationRefused(f"There is no active deployment '{deployment}' to judge.")
    variants = variants_for(serving.family, None)
    return Candidate(serving, snapshot.prompts.find(JUDGE_PROMPT, variants))


@dataclass(frozen=True, slots=True)
class LiveModel:
    """Puts cases to a deployment, and has another judge the answers."""

    fleet: Fleet
    feature: Feature
    candidate: Candidate
    judging: Candidate | None = None

    @property
    def concurrency(self) -> int:
        """How many cases may be under way at once: what a worker may have."""
        return self.fleet.local_share(self.candidate.serving.max_in_flight)

    async def ask(self, case: Case) -> Reply:
        """Return what a caller would get for `case`.

        Raises:
            PromptError: The inputs do not fit the prompt, or are too long for the deployment.
            DeploymentError: No answer came, or none that keeps to the prompt's contract.
        """
        text, rendered, waited_s = await self._answer(self.candidate, case.inputs)
        return Reply(self._tidied(text, case), _text_of(rendered), waited_s)

    async def judge(self, case: Case, answer: str) -> Mapping[str, str]:
        """Return what the judging model finds wrong; what it could not judge is left out."""
        found = {}
        for check in case.checks:
            if check.scorer == JUDGE and self.judging is not None:
                inputs = {
                    "criterion": check.wanted,
                    "question": orjson.dumps(case.inputs, default=str).decode(),
                    "answer": answer,
                }
                try:
                    text, _, _ = await self._answer(self.judging, inputs)
                except (DeploymentError, PromptError):
                    continue
                verdict = orjson.loads(text)
                found[check.wanted] = "" if verdict["is_met"] else verdict["reason"]
        return found

    async def _answer(
        self, candidate: Candidate, inputs: Mapping[str, Any]
    ) -> tuple[str, RenderedPrompt, float]:
        """Return an answer, what was sent for it, and how long it waited for its turn."""
        rendered = render(candidate.prompt, inputs, context_tokens=candidate.serving.context_tokens)
        began_at = time.monotonic()
        while True:
            exchange = Exchange.begin("", {})
            question = Question(self.fleet, exchange, (candidate,), lambda _: rendered, Lane.BATCH)
            try:
                text = await _text_of_answer(question)
            except DeploymentBusy as busy:
                if time.monotonic() - began_at > MAX_WAIT_S:
                    raise
                await asyncio.sleep(busy.retry_after_s)
                continue
            waited_s = exchange.started_at - began_at + exchange.queued_s
            return text, rendered, waited_s

    def _tidied(self, text: str, case: Case) -> str:
        """Return an answer as the code endpoints leave it."""
        if self.feature is Feature.CODE_GENERATIONS:
            return tidy_generation(text, case.inputs.get("prefix", ""))
        is_code = self.feature is Feature.CODE_COMPLETIONS
        if is_code and escapes_underscores(self.candidate.serving.family):
            return text.replace("\\_", "_")
        return text


async def _text_of_answer(question: Question) -> str:
    """Return an answer as the live path gives it: streamed, where its prompt allows that."""
    if question.has_contract:
        return (await question.fetch()).text
    stream = await question.stream()
    try:
        return "".join([text async for text in stream])
    finally:
        await stream.aclose()


def _text_of(rendered: RenderedPrompt) -> str:
    completion = rendered.completion
    return completion.text or "\n".join(message.content for message in completion.messages)
