"""Answers of Text Generation Inference. Source: its OpenAPI document."""

from selfhosted_models.serving_formats.base import Usage
from tests.unit.selfhosted_models.serving_formats.wire import Wire

WIRE = Wire(
    media_type="text/event-stream",
    stream="""\
data:{"index":1,"token":{"id":3,"text":"Grüße, ","logprob":-0.5,"special":false},"generated_text":null,"details":null}

data:{"index":2,"token":{"id":4,"text":"世界 🦊","logprob":-0.5,"special":false},"generated_text":null,"details":null}

data:{"index":3,"token":{"id":2,"text":"</s>","logprob":-0.1,"special":true},"generated_text":"Grüße, 世界 🦊","details":{"finish_reason":"eos_token","generated_tokens":4,"seed":null,"input_length":7}}

""".encode(),
    finish_reason="stop",
    stream_usage=Usage(7, 4),
    body="""{"generated_text":"Grüße, 世界 🦊","details":{"finish_reason":"length",
        "generated_tokens":4,"seed":null,"prefill":[],
        "tokens":[{"id":3,"text":"Grüße, ","logprob":-0.5,"special":false}]}}""".encode(),
    body_finish_reason="length",
    body_usage=Usage(None, 4),
    errors=(
        (b'{"error":"Model is overloaded","error_type":"overloaded"}', 429, True),
        (b'{"error":"zebra-7","error_type":"validation"}', 422, False),
        (b'{"error":"zebra-7","error_type":"generation"}', 424, False),
        (b'{"error":"zebra-7","error_type":"incomplete_generation"}', 500, False),
        (b'{"error":"zebra-7","error_type":["zebra-7"]}', 500, False),
        (b'{"error":"zebra-7"}', 500, False),
    ),
    not_of_this_format=(
        b'[{"generated_text":"zebra-7"}]',
        b'{"choices":[{"text":"zebra-7"}]}',
        b'{"token":"zebra-7"}',
        b'{"token":{"text":["zebra-7"]},"generated_text":7}',
        b'{"generated_text":{"a":"zebra-7"}}',
    ),
    models=(
        b'{"model_id":"some-model","max_input_tokens":4095,"max_total_tokens":4096}',
        ("some-model",),
    ),
    context=(b'{"model_id":"x","max_input_tokens":4095,"max_total_tokens":4096}', 4096),
)
