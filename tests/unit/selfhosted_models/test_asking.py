import pytest

from selfhosted_models.asking import AnswerReader
from selfhosted_models.serving_formats.base import Sampling
from tests.factories import make_serving

BODY = b'{"choices": [{"message": {"content": "one two three"}, "finish_reason": "stop"}]}'


@pytest.mark.parametrize(("honours_stop", "text"), [(True, "one two three"), (False, "one ")])
def test_answers_of_a_server_that_overlooks_stop_sequences_are_cut(
    honours_stop: bool,
    text: str,
) -> None:
    reader = AnswerReader(make_serving(honours_stop=honours_stop), Sampling(8, stop=("two",)))

    assert reader.read_body(BODY).text == text
