from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from prompts.errors import PromptError
from prompts.loader import shipped_prompts
from prompts.preview import difference_of, lines_of, preview, prompt_of
from prompts.samples import SAMPLES
from selfhosted_models.families import ModelFamily


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Show what would be asked of a model, filled in with samples or with inputs of your "
        "own. Examples: show_prompt duo_chat --family mistral-7b; show_prompt code_completions "
        "--family codegemma-2b --inputs inputs.json"
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Django's own --version gives way to the prompt's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        families = ", ".join(ModelFamily)
        parser.add_argument("feature", help="a feature id, or the id of one of GitLab's prompts")
        parser.add_argument("--family", required=True, help=families)
        parser.add_argument("--version", help="as in 1.0.0, ^1.0.0 or ~1.2; else the newest of 1.x")
        parser.add_argument("--inputs", type=Path, help="a JSON object of inputs; else samples")
        parser.add_argument("--context-tokens", type=int, help="what the model takes in and out")
        parser.add_argument("--diff", metavar="OTHER", help="compare with this family or version")
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *, feature: str, inputs: Path | None, json: bool, **options: Any) -> None:
        family, version, other = options["family"], options["version"], options["diff"]
        values = SAMPLES if inputs is None else _read_inputs(inputs)
        context_tokens = options["context_tokens"]
        shown = _preview(feature, family, version, values, context_tokens)
        if other is not None:
            is_family = other in tuple(ModelFamily)
            to = (other, version) if is_family else (family, other)
            compared = _preview(feature, *to, values, context_tokens)
            for line in difference_of(shown, compared):
                self.stdout.write(line)
        elif json:
            self.stdout.write(orjson.dumps(shown).decode())
        else:
            self.stdout.write("\n".join(lines_of(shown)))


def _read_inputs(path: Path) -> dict[str, Any]:
    try:
        inputs = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise CommandError(f"{path} cannot be read as JSON: {error}.", returncode=2) from error
    if not isinstance(inputs, dict):
        raise CommandError(f"{path} must hold an object: inputs by their name.", returncode=2)
    return inputs


def _preview(
    name: str,
    family: str,
    version: str | None,
    inputs: dict[str, Any],
    context_tokens: int | None,
) -> dict[str, Any]:
    if family not in tuple(ModelFamily):
        raise CommandError(
            f"There is no family '{family}'. There is: {', '.join(ModelFamily)}.", returncode=2
        )
    try:
        return preview(
            shipped_prompts().registry,
            prompt_of(name),
            ModelFamily(family),
            inputs,
            constraint=version,
            context_tokens=context_tokens,
        )
    except PromptError as error:
        advice = "`manage.py list_prompts --all` lists what there is."
        raise CommandError(f"{error.safe_message} {advice}", returncode=2) from error
