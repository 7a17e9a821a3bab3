"""Chat completions as vLLM streams them with `include_usage`. Source: OpenAI's API reference."""

from selfhosted_models.serving_formats.base import Usage
from tests.unit.selfhosted_models.serving_formats.wire import Wire

WIRE = Wire(
    media_type="text/event-stream",
    stream="""\
data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Grüße, "},"finish_reason":null}]}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"世界 🦊"},"finish_reason":null}]}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":null}]}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":7,"total_tokens":11,"completion_tokens":4}}

data: [DONE]

""".encode(),
    finish_reason="stop",
    stream_usage=Usage(7, 4),
    body="""{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[
        {"index":0,"message":{"role":"assistant","content":"Grüße, 世界 🦊","tool_calls":[]},
        "logprobs":null,"finish_reason":"length"}],
        "usage":{"prompt_tokens":7,"total_tokens":11,"completion_tokens":4}}""".encode(),
    body_finish_reason="length",
    body_usage=Usage(7, 4),
    errors=(
        (b'{"error":{"message":"zebra-7","type":"overloaded_error"}}', 503, True),
        (b'{"error":{"type":"overloaded_error","code":429}}', 429, True),
        (b'{"error":{"message":"zebra-7","type":"BadRequestError","code":400}}', 400, False),
        (b'{"error":{"message":"zebra-7","code":503}}', 503, False),
        (b'{"error":{"code":"context_length_exceeded"}}', 500, False),
        (b'{"error":{"code":200}}', 500, False),
        (b'{"error":{"code":true}}', 500, False),
        (b'{"error":"zebra-7"}', 500, False),
        (b'{"choices":[],"error":{"message":"zebra-7"}}', 500, False),
        (b'{"choices":[{"delta":{"content":"a"},"finish_reason":"error"}]}', 500, False),
    ),
    not_of_this_format=(
        b'{"choices":null,"object":"zebra-7"}',
        b'{"choices":{"0":"zebra-7"}}',
        b'{"choices":["zebra-7"]}',
        b'{"choices":[null]}',
        b'{"choices":[{"delta":"zebra-7"}]}',
        b'{"choices":[{"message":null}]}',
        b'{"choices":[{"delta":{"content":["zebra-7"]}}]}',
        b'{"choices":[{"delta":{"content":7}}]}',
        b'{"choices":[{"delta":{"content":"a"},"finish_reason":["zebra-7"]}]}',
    ),
    models=(
        b"""{"object":"list","data":[{"id":"some-model","object":"model","owned_by":"vllm",
        "max_model_len":8192},{"id":"some-lora"},{"id":"some-lora"},{"id":7},"noise"]}""",
        ("some-model", "some-lora"),
    ),
    context=(
        b'{"data":[{"id":"other","max_model_len":1},{"id":"some-model","max_model_len":8192}]}',
        8192,
    ),
)
