import pytest

from selfhosted_models.families import ModelFamily
from selfhosted_models.serving_formats.base import Message
from selfhosted_models.serving_formats.turns import as_text, chat_messages, fold_system, whole_text
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import ASK, SYSTEM, asked

ANSWER = Message("assistant", "An agent")
AGAIN = Message("user", "More?")


@pytest.mark.parametrize(
    ("messages", "folded"),
    [
        ([ASK], [ASK]),
        ([SYSTEM, ASK], [Message("user", "Be brief.\n\nWhat is a runner?")]),
        (
            [SYSTEM, ASK, ANSWER, AGAIN],
            [Message("user", "Be brief.\n\nWhat is a runner?"), ANSWER, AGAIN],
        ),
        ([SYSTEM, SYSTEM, ASK], [Message("user", "Be brief.\n\nBe brief.\n\nWhat is a runner?")]),
        ([ASK, SYSTEM], [Message("user", "Be brief.\n\nWhat is a runner?")]),
        ([SYSTEM], [Message("user", "Be brief.")]),
        ([SYSTEM, ANSWER], [Message("user", "Be brief."), ANSWER]),
        ([Message("system", ""), ASK], [ASK]),
        ([], []),
    ],
    ids=[
        "no system text",
        "one",
        "a longer talk",
        "two",
        "late",
        "alone",
        "before an answer",
        "empty",
        "nothing",
    ],
)
def test_system_text_goes_into_the_first_user_turn(
    messages: list[Message], folded: list[Message]
) -> None:
    assert list(fold_system(messages)) == folded


MISTRAL_TALK = "<s>[INST] Be brief.\n\nWhat is a runner? [/INST] An agent</s>[INST] More? [/INST]"
GEMMA_TALK = (
    "<bos><start_of_turn>user\nBe brief.\n\nWhat is a runner?<end_of_turn>\n"
    "<start_of_turn>model\nAn agent<end_of_turn>\n"
    "<start_of_turn>user\nMore?<end_of_turn>\n"
    "<start_of_turn>model\n"
)
PLAIN_TALK = (
    "Be brief.\n\nUser: What is a runner?\n\nAssistant: An agent\n\nUser: More?\n\nAssistant:"
)


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("mistral-7b", MISTRAL_TALK),
        ("mixtral-8x7b-instruct", MISTRAL_TALK),
        ("mixtral-8x22b", MISTRAL_TALK),
        ("codegemma-7b-it", GEMMA_TALK),
        ("codegemma-2b", PLAIN_TALK),
        ("general", PLAIN_TALK),
    ],
)
def test_talk_is_written_in_the_template_of_the_family(family: str, text: str) -> None:
    assert as_text([SYSTEM, ASK, ANSWER, AGAIN], ModelFamily(family)) == text


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("mistral-7b", "<s>[INST] What is a runner? [/INST] An agent"),
        (
            "codegemma-7b-it",
            "<bos><start_of_turn>user\nWhat is a runner?<end_of_turn>\n"
            "<start_of_turn>model\nAn agent",
        ),
        ("general", "User: What is a runner?\n\nAssistant: An agent"),
    ],
)
def test_last_answer_is_left_open_for_the_model_to_go_on(family: str, text: str) -> None:
    assert as_text([ASK, ANSWER], ModelFamily(family)) == text


def test_chat_server_gets_the_roles_it_has() -> None:
    talk = asked(SYSTEM, ASK)

    assert chat_messages(make_serving(has_system_role=True), talk) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a runner?"},
    ]
    assert chat_messages(make_serving(has_system_role=False), talk) == [
        {"role": "user", "content": "Be brief.\n\nWhat is a runner?"}
    ]


@pytest.mark.parametrize("has_system_role", [True, False])
def test_chat_server_gets_one_text_as_one_user_message(*, has_system_role: bool) -> None:
    serving = make_serving(has_system_role=has_system_role)

    messages = chat_messages(serving, asked(text="<PRE>a<SUF>b"))

    assert messages == [{"role": "user", "content": "<PRE>a<SUF>b"}]


def test_text_server_gets_turns_in_the_template_of_the_family() -> None:
    serving = make_serving(family=ModelFamily.MISTRAL_7B)

    assert whole_text(serving, asked(ASK)) == "<s>[INST] What is a runner? [/INST]"


@pytest.mark.parametrize("text", ["def area(", ""])
def test_text_server_gets_a_text_as_it_is(text: str) -> None:
    assert whole_text(make_serving(), asked(text=text)) == text
