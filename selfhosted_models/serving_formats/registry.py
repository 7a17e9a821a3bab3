"""The serving formats there are. A new one is a folder beside this file and a line here."""

from selfhosted_models.serving_formats.base import ServingFormat
from selfhosted_models.serving_formats.openai_chat.format import OpenAIChatFormat
from selfhosted_models.serving_formats.openai_text.format import OpenAITextFormat

SERVING_FORMATS: dict[str, ServingFormat] = {
    serving_format.key: serving_format
    for serving_format in (OpenAIChatFormat(), OpenAITextFormat())
}
