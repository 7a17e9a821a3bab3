import pytest

from selfhosted_models.errors import EndpointRefused, UpstreamProtocolError, UpstreamRejected
from selfhosted_models.serving_formats.base import ErrorReported, FormatError, WireRequest
from selfhosted_models.serving_formats.registry import SERVING_FORMATS


def test_answer_of_another_format_names_both_sides() -> None:
    error = FormatError("not JSON").of_hop("The model server of gpu1", "Ollama")

    assert isinstance(error, UpstreamProtocolError)
    assert error.safe_message == (
        "The model server of gpu1 sent not JSON, which is not Ollama: check its serving format."
    )


@pytest.mark.parametrize(
    ("status", "is_overloaded", "is_retryable"),
    [(400, False, False), (429, False, False), (429, True, True), (500, False, True)],
)
def test_reported_error_is_judged_as_its_status_over_http(
    status: int, *, is_overloaded: bool, is_retryable: bool
) -> None:
    reported = ErrorReported(status=status, is_overloaded=is_overloaded)

    error = reported.of_hop("The model server of gpu1", "Ollama")

    assert isinstance(error, UpstreamRejected)
    assert (error.status, error.is_overloaded) == (status, is_overloaded)
    assert error.retryable is is_retryable
    assert ("overloaded_error" in error.safe_message) is is_overloaded


def test_request_with_a_body_is_a_post() -> None:
    assert WireRequest("/models").method == "GET"
    assert WireRequest("/index", {}).method == "POST"


@pytest.mark.parametrize("name", ["../../admin", "a/b", "a b", ".", "..", "a%2fb", "a?b", "", "é"])
def test_model_name_that_is_a_part_of_the_url_stays_in_its_place(name: str) -> None:
    with pytest.raises(EndpointRefused, match="Triton's model names"):
        SERVING_FORMATS["triton"].check_model_identifier(name)


@pytest.mark.parametrize("name", ["ensemble", "llama-3.1_8b", "7b", "_x"])
def test_plain_model_name_is_taken_by_every_format(name: str) -> None:
    for serving_format in SERVING_FORMATS.values():
        serving_format.check_model_identifier(name)


def test_other_formats_take_names_with_slashes_and_tags() -> None:
    SERVING_FORMATS["ollama"].check_model_identifier("library/llama3.2:70b")
    SERVING_FORMATS["openai_chat"].check_model_identifier("mistralai/Mistral-7B")
