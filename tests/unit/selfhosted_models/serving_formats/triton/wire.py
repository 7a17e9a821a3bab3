"""Answers of Triton. Source: its generate and model repository extensions."""

from tests.unit.selfhosted_models.serving_formats.wire import Wire

WIRE = Wire(
    media_type="text/event-stream",
    stream="""\
data: {"model_name":"ensemble","model_version":"1","sequence_end":false,"sequence_id":0,"sequence_start":false,"text_output":"Grüße, "}

data: {"model_name":"ensemble","model_version":"1","sequence_end":false,"sequence_id":0,"sequence_start":false,"text_output":"世界 🦊"}

""".encode(),
    finish_reason=None,
    stream_usage=None,
    body="""{"model_name":"ensemble","model_version":"1",
        "text_output":"Grüße, 世界 🦊"}""".encode(),
    body_finish_reason=None,
    body_usage=None,
    errors=(
        (b'{"error":"overloaded_error: zebra-7"}', 503, True),
        (b'{"error":"unexpected end of input: zebra-7"}', 500, False),
    ),
    not_of_this_format=(
        b'{"model_name":"zebra-7","outputs":[{"data":["zebra-7"]}]}',
        b'{"text_output":["zebra-7"]}',
        b'{"text_output":7}',
    ),
    models=(
        b"""[{"name":"ensemble","version":"1","state":"READY","reason":""},
        {"name":"preprocessing","version":"1","state":"READY"},{"state":"READY"},7]""",
        ("ensemble", "preprocessing"),
    ),
)
