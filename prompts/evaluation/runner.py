"""Asking a whole suite: several cases at a time, each result as soon as it is there."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from feature_config.errors import FeatureError
from prompts.errors import PromptError
from prompts.evaluation.scoring import score
from prompts.evaluation.suite import Case, CaseResult, GivenAnswer, Suite
from selfhosted_models.errors import DeploymentError


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        text: The answer as a caller would get it.
        prompt: The text that was sent for it.
        waited_s: How long it waited for its turn; not the model's time.
    """

    text: str
    prompt: str
    waited_s: float = 0.0


Ask = Callable[[Case], Awaitable[Reply]]
#: Has a model judge an answer by what the case's `judge` checks say: what is wrong, "" for nothing,
#: by what was to be looked for. What could not be judged is left out.
Judge = Callable[[Case, str], Awaitable[Mapping[str, str]]]


async def run_suite(
    suite: Suite,
    ask: Ask,
    *,
    judge: Judge | None = None,
    concurrency: int = 1,
    done: Collection[str] = (),
    allows_execution: bool = False,
    now: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[CaseResult, None]:
    """Yield the result of each case, in the order in which they are there.

    Closing the iterator cancels what is still being asked.

    Args:
        suite: Whose cases are asked.
        ask: Puts a case to a model. What it raises of ours is that case's error; anything else is
            a bug and ends the run.
        judge: Has a model judge the answers; without it, `judge` checks are skipped.
        concurrency: How many cases at a time, 1 or more.
        done: Ids of cases that have a result from before and are not asked again.
        allows_execution: Whether scorers may run what a model wrote.
        now: The clock, in seconds.
    """
    places = asyncio.Semaphore(concurrency)

    async def result_of(case: Case) -> CaseResult:
        async with places:
            began_at = now()
            try:
                reply = await ask(case)
            except (PromptError, DeploymentError, FeatureError) as error:
                return CaseResult(case.id, None, error=error.code)
            took_s = now() - began_at - reply.waited_s
            judgements = await judge(case, reply.text) if judge and reply.text.strip() else {}
            answer = GivenAnswer(reply.text, reply.prompt, took_s, judgements)
            # In a thread: tests of code run for seconds, and must not hold the others up.
            outcomes = await asyncio.to_thread(
                score, case, answer, allows_execution=allows_execution
            )
            return CaseResult(case.id, answer, outcomes)

    tasks = [asyncio.ensure_future(result_of(case)) for case in suite.cases if case.id not in done]
    try:
        for finished in asyncio.as_completed(tasks):
            yield await finished
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
