"""FIM completions of Codestral. Source: Mistral's API reference, FIM, chat and models."""

from selfhosted_models.serving_formats.base import Usage
from tests.unit.selfhosted_models.serving_formats.wire import Wire

WIRE = Wire(
    media_type="text/event-stream",
    stream="""\
data: {"id":"447e","object":"chat.completion.chunk","created":1,"model":"codestral-latest","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"447e","object":"chat.completion.chunk","created":1,"model":"codestral-latest","choices":[{"index":0,"delta":{"content":"Grüße, "},"finish_reason":null}]}

data: {"id":"447e","object":"chat.completion.chunk","created":1,"model":"codestral-latest","choices":[{"index":0,"delta":{"content":"世界 🦊"},"finish_reason":"model_length"}],"usage":{"prompt_tokens":7,"total_tokens":11,"completion_tokens":4}}

data: [DONE]

""".encode(),
    finish_reason="length",
    stream_usage=Usage(7, 4),
    body="""{"id":"447e","object":"chat.completion","created":1,"model":"codestral-latest",
        "usage":{"prompt_tokens":7,"completion_tokens":4,"total_tokens":11},
        "choices":[{"index":0,"message":{"content":"Grüße, 世界 🦊","tool_calls":null,
        "prefix":false,"role":"assistant"},"finish_reason":"stop"}]}""".encode(),
    body_finish_reason="stop",
    body_usage=Usage(7, 4),
    errors=(
        (b'{"error":{"type":"overloaded_error","message":"zebra-7"}}', 503, True),
        (b'{"choices":[{"delta":{"content":""},"finish_reason":"error"}]}', 500, False),
    ),
    not_of_this_format=(
        b'{"object":"error","message":"zebra-7","type":"invalid_model","code":"1500"}',
        b'{"detail":[{"type":"missing","msg":"zebra-7"}]}',
        b'{"choices":[{"text":"zebra-7"}]}',
    ),
    models=(
        b"""{"object":"list","data":[{"id":"codestral-latest","object":"model",
        "capabilities":{"completion_chat":true,"completion_fim":true},
        "max_context_length":262144}]}""",
        ("codestral-latest",),
    ),
    context=(b'{"data":[{"id":"some-model","max_context_length":262144}]}', 262144),
)
