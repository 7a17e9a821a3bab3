"""Answers of Ollama's /api/chat. Source: Ollama's API reference."""

from selfhosted_models.serving_formats.base import Usage
from tests.unit.selfhosted_models.serving_formats.wire import Wire

WIRE = Wire(
    media_type="application/x-ndjson",
    stream="""\
{"model":"llama3.2","created_at":"2023-08-04T08:52:19.38-07:00","message":{"role":"assistant","content":"Grüße, ","images":null},"done":false}
{"model":"llama3.2","created_at":"2023-08-04T08:52:19.39-07:00","message":{"role":"assistant","content":"世界 🦊"},"done":false}
{"model":"llama3.2","created_at":"2023-08-04T19:22:45.49Z","message":{"role":"assistant","content":""},"done_reason":"length","done":true,"total_duration":4883583458,"load_duration":1334875,"prompt_eval_count":7,"prompt_eval_duration":342546000,"eval_count":4,"eval_duration":4535599000}
""".encode(),
    finish_reason="length",
    stream_usage=Usage(7, 4),
    body="""{"model":"llama3.2","created_at":"2023-12-12T14:13:43.41Z",
        "message":{"role":"assistant","content":"Grüße, 世界 🦊"},"done":true,
        "total_duration":5191566416,"prompt_eval_count":7,"eval_count":4}""".encode(),
    body_finish_reason="stop",
    body_usage=Usage(7, 4),
    errors=(
        (b'{"error":"overloaded_error: zebra-7"}', 503, True),
        (b'{"error":"an error was encountered while running the model: zebra-7"}', 500, False),
    ),
    not_of_this_format=(
        b'{"choices":[{"delta":{"content":"zebra-7"}}]}',
        b'{"message":"zebra-7","done":false}',
        b'{"message":{"content":["zebra-7"]}}',
        b'{"response":7,"done":true}',
        b'{"response":"","done":true,"done_reason":["zebra-7"]}',
    ),
    models=(
        b"""{"models":[{"name":"codellama:13b","model":"codellama:13b","size":7365960935,
        "details":{"format":"gguf","family":"llama"}},{"name":"llama3:latest"}]}""",
        ("codellama:13b", "llama3:latest"),
    ),
    context=(
        b"""{"models":[{"name":"other","context_length":1},
        {"name":"some-model:latest","model":"some-model:latest","context_length":4096}]}""",
        4096,
    ),
)
