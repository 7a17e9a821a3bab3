"""Each ability, measured on servers that lack it, or pretend to have it."""

import asyncio
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing.measuring import FeaturePrompts, measure
from selfhosted_models.probing.outcomes import Outcome
from selfhosted_models.probing.results import AbilityResult, State, Trait, facts_of, is_usable
from selfhosted_models.secrets import Secret
from selfhosted_models.serving_formats.base import Completion, FillInMiddle, Message, Sampling
from tests.factories import make_serving
from tests.unit.selfhosted_models.doors import Parts, door_answering
from tests.unit.selfhosted_models.probing.servers import Server

Found = dict[Trait, AbilityResult]

CODE = "def area(width, height):\n    return "
PROMPTS = FeaturePrompts(
    chat=Completion(
        Sampling(2048),
        messages=(Message("system", "Be brief."), Message("user", "What is a runner?")),
    ),
    code=Completion(
        Sampling(128, temperature=0.95, stop=("<END>",)),
        messages=(Message("user", CODE),),
        fill_in_middle=FillInMiddle(CODE, "\n"),
    ),
)


async def measured(
    server: Server | OutboundDoor, *, prompts: FeaturePrompts = PROMPTS, **serving: Any
) -> Found:
    door = server.door if isinstance(server, Server) else server
    serving = {"family": "general", **serving}
    results = [result async for result in measure(door, make_serving(**serving), prompts)]
    return {result.trait: result for result in results}


def states(found: Found) -> dict[str, str]:
    return {trait.value: result.state.value for trait, result in found.items()}


async def test_a_server_that_does_all_it_should() -> None:
    found = await measured(Server())

    assert list(found) == list(Trait)
    assert states(found) == {
        "reachable": "yes",
        "authenticated": "yes",
        "model_found": "yes",
        "system_role": "yes",
        "chat": "yes",
        "text": "not_applicable",
        "streaming": "yes",
        "stream_usage": "yes",
        "speed": "yes",
        "stop_sequences": "yes",
        "fill_in_middle": "yes",
        "native_fill_in_middle": "not_applicable",
        "tools": "yes",
        "reasoning_tags": "no",
        "context": "yes",
    }
    assert found[Trait.CONTEXT].context_tokens == 2048
    assert found[Trait.SPEED].first_token_ms is not None
    assert is_usable(found.values())


async def test_texts_are_measured_by_a_format_that_sends_them() -> None:
    text = Completion(Sampling(64), text=f"<PRE>{CODE}<MID>")

    found = await measured(
        Server(), serving_format="openai_text", prompts=FeaturePrompts(PROMPTS.chat, text)
    )

    assert found[Trait.TEXT].state is State.YES
    assert found[Trait.CHAT].state is State.YES
    assert found[Trait.SYSTEM_ROLE].state is State.NOT_APPLICABLE
    assert found[Trait.TOOLS].state is State.NOT_APPLICABLE
    assert found[Trait.CONTEXT].context_tokens == 2048


async def test_measuring_again_finds_the_same() -> None:
    first, second = await measured(Server()), await measured(Server())

    assert facts_of(first.values()) == facts_of(second.values())


# --- Not reached, not let in, not found --------------------------------------------------------


async def test_nobody_there_is_the_only_finding() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("zebra-7")

    door = OutboundDoor(UrlPolicy(), transport=httpx.MockTransport(refuse))
    found = await measured(door)

    assert states(found) == {"reachable": "no"}
    assert found[Trait.REACHABLE].outcome is Outcome.REFUSED
    assert "check that the server runs" in found[Trait.REACHABLE].remedy
    assert not is_usable(found.values())


async def test_an_address_that_is_never_dialled() -> None:
    found = await measured(OutboundDoor(UrlPolicy(["192.168.0.0/16"])))

    assert found[Trait.REACHABLE].outcome is Outcome.BLOCKED


async def test_a_wrong_key_ends_it() -> None:
    found = await measured(Server(key="sk-right"), api_key=Secret("sk-wrong"))

    assert states(found) == {"reachable": "yes", "authenticated": "no"}
    assert found[Trait.AUTHENTICATED].outcome is Outcome.AUTH_FAILED
    assert "check its API key" in found[Trait.AUTHENTICATED].remedy
    assert "sk-wrong" not in str(found)


async def test_the_key_is_judged_by_an_answer_where_the_list_is_open_to_all() -> None:
    found = await measured(Server(statuses={"/chat/completions": 401}))

    assert states(found) == {"reachable": "yes", "authenticated": "no"}


async def test_a_model_of_another_name() -> None:
    server = Server(models=("mixtral", "codegemma"), statuses={"/chat/completions": 404})
    found = await measured(server)

    assert found[Trait.MODEL_FOUND].state is State.NO
    assert "mixtral, codegemma" in found[Trait.MODEL_FOUND].detail
    assert found[Trait.CHAT].state is State.NO
    assert Trait.STREAMING not in found
    assert not is_usable(found.values())


async def test_a_server_that_answers_by_any_name() -> None:
    found = await measured(Server(models=("a", "b")))

    assert found[Trait.MODEL_FOUND].state is State.YES
    assert "by any name" in found[Trait.MODEL_FOUND].detail


async def test_html_in_place_of_answers() -> None:
    page = b"<html>zebra-7 please sign in</html>"
    found = await measured(door_answering(body=page, content_type="text/html"))

    assert found[Trait.REACHABLE].state is State.YES
    assert found[Trait.CHAT].outcome is Outcome.UNKNOWN_FORMAT
    assert not is_usable(found.values())
    assert "zebra" not in str(found)


async def test_a_server_that_fails_now_is_not_said_to_lack_anything() -> None:
    found = await measured(Server(statuses={"/chat/completions": 503}))

    assert State.NO not in {result.state for result in found.values()}
    assert found[Trait.CHAT].outcome is Outcome.SERVER_ERROR
    assert not is_usable(found.values())


# --- System role ---------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [True, False])
async def test_a_system_role_that_is_refused(*, counts: bool) -> None:
    found = await measured(Server(system_role="refuse", counts=counts))

    assert found[Trait.SYSTEM_ROLE].state is State.NO
    # The prompt of chat has one: it is folded, as live requests will be.
    assert found[Trait.CHAT].state is State.YES


async def test_a_system_role_that_is_dropped_silently() -> None:
    found = await measured(Server(system_role="drop"))

    assert found[Trait.SYSTEM_ROLE].state is State.NO


async def test_without_counts_a_system_role_shows_in_the_answer_or_not_at_all() -> None:
    obeying = await measured(Server(counts=False, obeys=True))
    heedless = await measured(Server(counts=False))

    assert obeying[Trait.SYSTEM_ROLE].state is State.YES
    assert heedless[Trait.SYSTEM_ROLE].state is State.UNKNOWN


# --- Streams -------------------------------------------------------------------------------------


async def test_a_stream_that_comes_in_one_piece() -> None:
    found = await measured(Server(pieces=False))

    assert found[Trait.STREAMING].state is State.NO
    assert "proxy" in found[Trait.STREAMING].remedy


@pytest.mark.parametrize("usage_asked", ["ignore", "refuse"])
async def test_a_stream_without_usage(usage_asked: Any) -> None:
    found = await measured(Server(usage_asked=usage_asked))

    assert found[Trait.STREAMING].state is State.YES
    assert found[Trait.STREAM_USAGE].state is State.NO


async def test_a_server_that_ignores_stop_sequences() -> None:
    found = await measured(Server(honours_stop=False))

    assert found[Trait.STOP_SEQUENCES].state is State.NO
    assert "cuts" in found[Trait.STOP_SEQUENCES].detail


# --- Code, tools, reasoning ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fill", "state"),
    [
        ("height*width", State.YES),
        ("```python\nwidth * height\n```", State.YES),
        ("Sure! Here is the code: width * height", State.NO),
        ("", State.NO),
    ],
)
async def test_a_gap_is_filled_rightly_or_not(fill: str, state: State) -> None:
    found = await measured(Server(fill=fill))

    assert found[Trait.FILL_IN_MIDDLE].state is state


@pytest.mark.parametrize(("fill", "state"), [("width * height", State.YES), ("x", State.NO)])
async def test_a_servers_own_endpoint_for_gaps(fill: str, state: State) -> None:
    asked: list[str] = []

    def llamacpp(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        said = fill.encode() if request.url.path == "/v1/infill" else b"Hello there"
        body = b'{"content": "%s", "stop": true, "stop_type": "eos"}' % said
        return httpx.Response(200, stream=Parts(body))

    door = OutboundDoor(UrlPolicy(), transport=httpx.MockTransport(llamacpp))
    found = await measured(door, serving_format="llamacpp")

    assert found[Trait.NATIVE_FILL_IN_MIDDLE].state is state
    assert asked.count("/v1/infill") == 1


async def test_a_model_without_tokens_for_gaps_refuses() -> None:
    def llamacpp(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/infill":
            return httpx.Response(501, stream=Parts(b"zebra-7"))
        body = b'{"content": "Hello there", "stop": true, "stop_type": "eos"}'
        return httpx.Response(200, stream=Parts(body))

    door = OutboundDoor(UrlPolicy(), transport=httpx.MockTransport(llamacpp))
    found = await measured(door, serving_format="llamacpp")

    assert found[Trait.NATIVE_FILL_IN_MIDDLE].state is State.NO


async def test_tools_are_refused() -> None:
    found = await measured(Server(takes_tools=False))

    assert found[Trait.TOOLS].state is State.NO


async def test_reasoning_in_answers_is_told_with_its_remedy() -> None:
    found = await measured(Server(thinks="<think> hm </think> "))

    assert found[Trait.REASONING_TAGS].state is State.YES
    assert "--reasoning-parser" in found[Trait.REASONING_TAGS].remedy


async def test_a_server_that_fails_long_prompts_is_taken_at_its_word() -> None:
    found = await measured(Server(told_context=2048, fails_beyond=500))

    assert found[Trait.CONTEXT].context_tokens == 2048
    assert "not tried in full" in found[Trait.CONTEXT].detail


# --- Manners -------------------------------------------------------------------------------------


async def test_questions_are_few_short_and_alike_each_time() -> None:
    server = Server()

    await measured(server)

    bodies = [body for method, _, body in server.asked if method == "POST"]
    assert len(bodies) < 20
    assert all(body["max_tokens"] <= 48 for body in bodies)
    assert all(body["temperature"] == 0 for body in bodies)


async def test_no_time_left_is_told_as_such() -> None:
    door, serving = Server().door, make_serving(family="general")

    results = [result async for result in measure(door, serving, PROMPTS, within_s=0)]

    assert {result.state for result in results} == {State.UNKNOWN}
    assert not is_usable(results)


async def test_cancelling_closes_the_connection_at_hand() -> None:
    body = Parts(...)
    door = OutboundDoor(
        UrlPolicy(), transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    )

    async def run() -> None:
        async with aclosing(measure(door, make_serving(), PROMPTS)) as measuring:
            await anext(measuring)

    task = asyncio.create_task(run())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert body.is_closed
