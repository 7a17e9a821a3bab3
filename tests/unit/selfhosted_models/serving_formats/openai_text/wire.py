"""Text completions as vLLM streams them with `include_usage`. Source: OpenAI's API reference."""

from selfhosted_models.serving_formats.base import Usage
from tests.unit.selfhosted_models.serving_formats.wire import Wire

WIRE = Wire(
    media_type="text/event-stream",
    stream="""\
data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"Grüße, ","logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"世界 🦊","logprobs":null,"finish_reason":"length"}],"usage":null}

data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":7,"total_tokens":11,"completion_tokens":4}}

data: [DONE]

""".encode(),
    finish_reason="length",
    stream_usage=Usage(7, 4),
    body="""{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,
        "text":"Grüße, 世界 🦊","logprobs":null,"finish_reason":"stop"}],
        "usage":{"prompt_tokens":7,"total_tokens":11,"completion_tokens":4}}""".encode(),
    body_finish_reason="stop",
    body_usage=Usage(7, 4),
    errors=(
        (b'{"error":{"message":"zebra-7","type":"overloaded_error"}}', 503, True),
        (b'{"error":{"message":"zebra-7","type":"BadRequestError","code":400}}', 400, False),
        (b'{"error":"zebra-7"}', 500, False),
    ),
    not_of_this_format=(
        b'{"choices":"zebra-7"}',
        b'{"choices":["zebra-7"]}',
        b'{"choices":[{"text":["zebra-7"]}]}',
        b'{"choices":[{"text":7}]}',
        b'{"choices":[{"text":"a","finish_reason":{"a":"zebra-7"}}]}',
    ),
    models=(b'{"data":[{"id":"smollm2"}]}', ("smollm2",)),
    context=(b'{"data":[{"id":"some-model","meta":{"n_ctx":4096,"n_ctx_train":8192}}]}', 4096),
)
