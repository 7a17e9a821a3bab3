import pytest

from feature_config.catalogue import Feature
from gateway.configuration.document import (
    Choice,
    DeploymentEntry,
    Document,
    KeyReference,
    Timeouts,
)
from gateway.configuration.errors import DocumentInvalid
from gateway.configuration.parsing import MAX_BYTES, MAX_DEPTH, document_of, parse_document

FULL = b"""\
version: 1
deployments:
  - name: codegemma-gpu1
    family: codegemma-7b-it
    serving_format: openai_text
    endpoints: ["http://10.0.4.11:8000/v1", "http://10.0.4.12:8000/v1"]
    model_identifier: codegemma-7b-it
    api_key: {env: CODEGEMMA_KEY}
    context_tokens: 8192
    timeouts: {first_token_s: 5, idle_s: 2.5}
    max_in_flight: 8
    is_active: false
features:
  code_completions: codegemma-gpu1
  duo_chat: [mixtral-a, mixtral-b]
  root_cause_analysis: inactive
  git_suggestions: unassigned
  test_generation: {answered_by: codegemma-gpu1, prompt_version: ~1.0}
"""
DEPLOYMENT = """\
version: 1
deployments:
  - name: gpu1
    family: general
    serving_format: openai_chat
    endpoints: [http://10.0.4.11:8000/v1]
    model_identifier: m
"""


def problems(source: str | bytes) -> list[tuple[int | None, str]]:
    """Return the lines and the words of what is wrong with a document."""
    with pytest.raises(DocumentInvalid) as refusal:
        parse_document(source.encode() if isinstance(source, str) else source)
    return [(problem.line, str(problem)) for problem in refusal.value.problems]


def test_document_is_read_whole() -> None:
    assert parse_document(FULL) == Document(
        deployments=(
            DeploymentEntry(
                name="codegemma-gpu1",
                family="codegemma-7b-it",
                serving_format="openai_text",
                endpoints=("http://10.0.4.11:8000/v1", "http://10.0.4.12:8000/v1"),
                model_identifier="codegemma-7b-it",
                api_key=KeyReference(env="CODEGEMMA_KEY"),
                context_tokens=8192,
                timeouts=Timeouts(first_token_s=5, idle_s=2.5),
                max_in_flight=8,
                is_active=False,
            ),
        ),
        features={
            Feature.CODE_COMPLETIONS: Choice(("codegemma-gpu1",)),
            Feature.DUO_CHAT: Choice(("mixtral-a", "mixtral-b")),
            Feature.ROOT_CAUSE_ANALYSIS: Choice(is_inactive=True),
            Feature.GIT_SUGGESTIONS: Choice(),
            Feature.TEST_GENERATION: Choice(("codegemma-gpu1",), prompt_version="~1.0"),
        },
    )


@pytest.mark.parametrize("source", ["version: 1", "version: 1\ndeployments:\nfeatures:\n"])
def test_document_may_say_nothing(source: str) -> None:
    assert parse_document(source.encode()) == Document()


def test_byte_order_mark_is_passed_over() -> None:
    assert parse_document(b"\xef\xbb\xbfversion: 1") == Document()


@pytest.mark.parametrize(
    ("added", "line", "words"),
    [
        ("    famly: general", 8, "deployments[0].famly: unknown key. Did you mean 'family'?"),
        ("    timeouts: {first_token: 5}", 8, "Did you mean 'first_token_s'? There is: first_"),
        ("    api_key: {enviroment: X}", 8, "api_key.enviroment: unknown key. There is: env, file"),
        ("feature: {}", 8, "feature: unknown key. Did you mean 'features'? There is: version,"),
        ("features:\n  duo_chatt: gpu1", 9, "features.duo_chatt: there is no such feature. Did y"),
        ("features:\n  duo_chat: 1", 9, "features.duo_chat: give the name of a deployment"),
        (
            "features:\n  duo_chat: {version: 1}",
            9,
            "duo_chat.version: unknown key. Did you mean 'prompt_",
        ),
        ("features:\n  duo_chat: {answered_by: 1}", 9, "features.duo_chat.answered_by: give the"),
        ("features:\n  duo_chat: {prompt_version: 1.0}", 9, "must be text: put it in quotes"),
        ("features:\n  duo_chat:\n    - 5", 9, "a name that is a number stands in quotes"),
        ("features: [duo_chat]", 8, "features: must be a mapping of keys to values"),
        ("    context_tokens: 8k", 8, "deployments[0].context_tokens: must be a whole number"),
        ("    timeouts: {idle_s: .nan}", 8, "deployments[0].timeouts.idle_s: must be a number"),
        ("    timeouts: {idle_s: .inf}", 8, "deployments[0].timeouts.idle_s: must be a number"),
        ("    is_active: 1", 8, "deployments[0].is_active: must be true or false"),
        ("    api_key: {}", 8, "deployments[0].api_key: give one of {env: NAME} or {file: PATH}"),
        ("    api_key: {env: A, file: b}", 8, "give one of {env: NAME} or {file: PATH}"),
        ("  - gpu2", 8, "deployments[1]: must be a mapping of keys to values"),
    ],
)
def test_each_problem_has_its_line_and_its_remedy(added: str, line: int, words: str) -> None:
    [(found_line, message)] = problems(DEPLOYMENT + added + "\n")

    assert found_line == line
    assert words in message


def test_all_problems_are_told_at_once_in_order() -> None:
    source = DEPLOYMENT.replace("name: gpu1", "name: 12").replace("version: 1", "version: 2")

    assert problems(source + "    context_tokens: x\n") == [
        (1, "version: must be 1, the only version there is"),
        (3, "deployments[0].name: must be text: put it in quotes"),
        (8, "deployments[0].context_tokens: must be a whole number"),
    ]


def test_what_is_missing_is_told_where_it_belongs() -> None:
    source = "version: 1\ndeployments:\n  - name: gpu1\n    family: general\n"

    assert problems(source) == [
        (3, "deployments[0].serving_format: is missing"),
        (3, "deployments[0].endpoints: is missing"),
        (3, "deployments[0].model_identifier: is missing"),
    ]


def test_key_itself_is_refused_and_not_repeated() -> None:
    [(line, message)] = problems(DEPLOYMENT + "    api_key: sk-0123456789abcdef\n")

    assert line == 8
    assert "an API key never stands in the document" in message
    assert "{env: NAME}" in message
    assert "sk-0123" not in message


def test_name_given_twice_is_refused_at_the_second() -> None:
    second = DEPLOYMENT.partition("deployments:\n")[2]

    [(line, message)] = problems(DEPLOYMENT + second)

    assert line == 8
    assert "deployments[1].name: another deployment of the document has this name" in message


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("version: 1\na: &x 1\nb: *x", 2, "anchors and aliases are not read"),
        ("version: !!int 1", 1, "tags are not read"),
        ("version: 1\nversion: 1", 2, "the key 'version' is there twice"),
        ("version: 1\n---\nversion: 1", 2, "is not valid YAML"),
        ("version: 1\nname: [a,\n", 3, "is not valid YAML"),
        ("version: 1\n{a: 1}: 2", 2, "a key must be a word"),
        ("[a]: 1", 1, "a key must be a word"),
        ("version: 1\nx: 2024-13-45", 2, "put this value in quotes"),
        ("version: 1\nx: " + "9" * 5000, 2, "put this value in quotes"),
        ("version: 1\nx: " + "[" * 50, 2, f"nested deeper than {MAX_DEPTH} levels"),
        ("version: 1\nx: [" + "1," * 60_000 + "]", 2, "holds more than 50,000 values"),
        ("- 1", 1, "must be a mapping of keys to values"),
        ("", 1, "version: is missing"),
        (b"version: 1\nx: \xff", 2, "is not UTF-8 text"),
        (b"version: \x00", 1, "holds a character YAML does not allow"),
        (b"#" * (MAX_BYTES + 1), 1, "has more than 1,048,576 bytes"),
    ],
)
def test_text_that_is_no_document_is_refused(source: str | bytes, line: int, words: str) -> None:
    [(found_line, message)] = problems(source)

    assert found_line == line
    assert words in message


def test_data_of_a_revision_is_read_without_lines() -> None:
    with pytest.raises(DocumentInvalid) as refusal:
        document_of({"version": 1, "deployments": [{"name": "gpu1"}]})

    assert [problem.line for problem in refusal.value.problems] == [None] * 4
