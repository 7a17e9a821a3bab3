import asyncio
from collections.abc import Awaitable, Callable

import pytest

from feature_config.catalogue import Feature
from prompts.errors import InputInvalid, OutputInvalid
from prompts.evaluation.runner import Reply, run_suite
from prompts.evaluation.suite import Case, CaseResult, Check, Suite
from selfhosted_models.errors import UpstreamTimeout

CHECKS = (Check("mentions", ["reset"]), Check("answers_within_s", 5))
GOOD = "git reset --soft HEAD~1"


def suite(*ids: str) -> Suite:
    cases = tuple(Case(case_id, {"prompt": case_id}, CHECKS) for case_id in ids)
    return Suite("own", "1.0.0", Feature.GIT_SUGGESTIONS, 0.5, cases)


def says(text: str) -> Callable[[Case], Awaitable[Reply]]:
    async def ask(case: Case) -> Reply:
        return Reply(text, prompt="")

    return ask


async def results(
    asked: Suite, ask: Callable[[Case], Awaitable[Reply]], **options: object
) -> dict[str, CaseResult]:
    return {
        result.case_id: result
        async for result in run_suite(asked, ask, **options)  # type: ignore[arg-type]
    }


async def test_every_case_has_a_result() -> None:
    found = await results(suite("a", "b", "c"), says(GOOD), concurrency=2)

    assert set(found) == {"a", "b", "c"}
    assert all(result.is_passed for result in found.values())


async def test_bad_answer_fails_with_the_reason() -> None:
    found = await results(suite("a"), says("no idea"))

    assert not found["a"].is_passed
    reasons = [outcome.problem for outcome in found["a"].outcomes if outcome.problem]
    assert reasons == ["does not mention reset"]


async def test_echo_of_the_prompt_fails() -> None:
    async def ask(case: Case) -> Reply:
        prompt = f"You tell people Git commands such as git reset.\n{case.inputs['prompt']}"
        return Reply(prompt, prompt)

    assert not (await results(suite("undo"), ask))["undo"].is_passed


async def test_cases_that_are_done_are_not_asked_again() -> None:
    asked = []

    async def ask(case: Case) -> Reply:
        asked.append(case.id)
        return Reply(GOOD, "")

    found = await results(suite("a", "b", "c"), ask, done={"a", "c"})

    assert asked == ["b"] == list(found)


@pytest.mark.parametrize(
    "error",
    [UpstreamTimeout("too slow"), InputInvalid("prompt", "is too long"), OutputInvalid("no JSON")],
)
async def test_error_is_the_result_of_its_case_alone(error: Exception) -> None:
    async def ask(case: Case) -> Reply:
        if case.id == "b":
            raise error
        return Reply(GOOD, "")

    found = await results(suite("a", "b", "c"), ask)

    assert [found[name].is_passed for name in "abc"] == [True, False, True]
    assert (found["b"].answer, found["b"].error) == (None, error.code)  # type: ignore[attr-defined]


async def test_bug_ends_the_run_and_stops_the_rest() -> None:
    stopped = asyncio.Event()

    async def ask(case: Case) -> Reply:
        if case.id == "a":
            raise ZeroDivisionError
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    with pytest.raises(ZeroDivisionError):
        await results(suite("b", "a"), ask, concurrency=2)

    assert stopped.is_set()


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_cases_at_a_time_than_allowed(concurrency: int) -> None:
    running, most = 0, 0

    async def ask(case: Case) -> Reply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return Reply(GOOD, "")

    await results(suite(*"abcdefgh"), ask, concurrency=concurrency)

    assert most == concurrency


async def test_results_come_as_soon_as_they_are_there() -> None:
    first_was_told = asyncio.Event()

    async def ask(case: Case) -> Reply:
        if case.id == "slow":
            await first_was_told.wait()
        return Reply(GOOD, "")

    order = []
    async for result in run_suite(suite("slow", "fast"), ask, concurrency=2):
        order.append(result.case_id)
        first_was_told.set()

    assert order == ["fast", "slow"]


async def test_closing_stops_what_is_still_asked() -> None:
    stopped = []

    async def ask(case: Case) -> Reply:
        if case.id == "a":
            return Reply(GOOD, "")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(case.id)
        raise AssertionError

    run = run_suite(suite("a", "b"), ask, concurrency=2)
    await anext(run)
    await run.aclose()

    assert stopped == ["b"]


async def test_time_of_an_answer_is_judged() -> None:
    clock = iter([0.0, 6.0])

    found = await results(suite("a"), says(GOOD), now=lambda: next(clock))

    assert found["a"].answer is not None
    assert found["a"].answer.latency_s == 6
    assert not found["a"].is_passed


async def test_waiting_for_a_turn_is_not_the_models_time() -> None:
    async def ask(case: Case) -> Reply:
        return Reply(GOOD, "", waited_s=4)

    clock = iter([0.0, 6.0])

    found = await results(suite("a"), ask, now=lambda: next(clock))

    assert found["a"].answer is not None
    assert found["a"].answer.latency_s == 2
    assert found["a"].is_passed


JUDGED = Case("a", {"prompt": "undo"}, (*CHECKS, Check("judge", "is right")))


@pytest.mark.parametrize(
    ("found", "is_passed", "is_skipped"),
    [
        ({"is right": ""}, True, False),
        ({"is right": "It is wrong."}, False, False),
        ({}, True, True),
    ],
)
async def test_model_judges_where_it_could(
    found: dict[str, str], is_passed: bool, is_skipped: bool
) -> None:
    async def judge(case: Case, answer: str) -> dict[str, str]:
        assert answer == GOOD
        return found

    asked = Suite("own", "1.0.0", Feature.GIT_SUGGESTIONS, 0.5, (JUDGED,))

    (result,) = [item async for item in run_suite(asked, says(GOOD), judge=judge)]

    assert result.is_passed is is_passed
    assert result.outcomes[-1].is_skipped is is_skipped


async def test_nobody_judges_unless_asked_to() -> None:
    asked = Suite("own", "1.0.0", Feature.GIT_SUGGESTIONS, 0.5, (JUDGED,))

    (result,) = [item async for item in run_suite(asked, says(GOOD))]

    assert result.is_passed
    assert result.outcomes[-1].is_skipped


async def test_score_is_the_share_of_the_checks_that_were_looked_at() -> None:
    asked = Suite("own", "1.0.0", Feature.GIT_SUGGESTIONS, 0.5, (JUDGED,))

    (good,) = [item async for item in run_suite(asked, says(GOOD))]
    (bad,) = [item async for item in run_suite(asked, says("no idea"))]

    assert (good.score, bad.score) == (1.0, 0.75)
    assert CaseResult("a", None, error="upstream_timeout").score == 0.0


def test_digest_of_a_suite_tells_its_cases() -> None:
    assert suite("a").digest == suite("a").digest
    assert suite("a").digest != suite("b").digest
