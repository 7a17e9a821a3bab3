"""Answers of llama.cpp's /completion. Source: README of its server, and the demo's server."""

from selfhosted_models.serving_formats.base import Usage
from tests.unit.selfhosted_models.serving_formats.wire import Wire

WIRE = Wire(
    media_type="text/event-stream",
    stream="""\
data: {"index":0,"content":"Grüße, ","tokens":[253],"stop":false,"id_slot":-1,"tokens_predicted":1,"tokens_evaluated":7}

data: {"index":0,"content":"世界 🦊","tokens":[1232],"stop":false,"id_slot":-1,"tokens_predicted":2,"tokens_evaluated":7}

data: {"index":0,"content":"","tokens":[],"id_slot":1,"stop":true,"model":"m","tokens_predicted":4,"tokens_evaluated":7,"generation_settings":{"stop":["x"]},"prompt":"p","truncated":false,"stop_type":"limit","stopping_word":"","tokens_cached":10}

""".encode(),
    finish_reason="length",
    stream_usage=Usage(7, 4),
    body="""{"index":0,"content":"Grüße, 世界 🦊","tokens":[],"id_slot":1,"stop":true,"model":"m",
        "tokens_predicted":4,"tokens_evaluated":7,"truncated":false,"stop_type":"word",
        "stopping_word":"\\n"}""".encode(),
    body_finish_reason="stop",
    body_usage=Usage(7, 4),
    errors=(
        (b'{"error":{"code":503,"message":"zebra-7","type":"overloaded_error"}}', 503, True),
        (
            b'{"error":{"code":400,"message":"zebra-7","type":"exceed_context_size_error"}}',
            400,
            False,
        ),
        (b'{"error":{"code":501,"message":"zebra-7","type":"not_supported_error"}}', 501, False),
    ),
    not_of_this_format=(
        b'{"choices":[{"text":"zebra-7"}]}',
        b'{"content":["zebra-7"],"stop":false}',
        b'{"content":"a","stop":true,"stop_type":["zebra-7"]}',
    ),
    models=(
        b"""{"models":[{"name":"smollm2"}],"object":"list","data":[{"id":"smollm2",
        "owned_by":"llamacpp","meta":{"n_ctx_train":8192}}]}""",
        ("smollm2",),
    ),
    context=(b'{"default_generation_settings":{"n_ctx":4096},"total_slots":2}', 4096),
)
