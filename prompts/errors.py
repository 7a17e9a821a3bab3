"""What can go wrong between asking for a prompt and having it. Every message says what to do."""

from collections.abc import Sequence
from typing import ClassVar

from selfhosted_models.errors import UpstreamError


class PromptError(Exception):
    """The base; never raised itself.

    Attributes:
        code: The stable name of the error, for machines.
        retryable: Whether the same request may work later.
    """

    code: ClassVar[str] = "prompt_error"
    retryable: ClassVar[bool] = False

    @property
    def safe_message(self) -> str:
        """The message without any text a caller wanted rendered, so it may be shown and logged."""
        return str(self)


class PromptMissing(PromptError):
    """No variant of the prompt exists."""

    code = "prompt_missing"

    def __init__(self, prompt: str, variants: Sequence[str]) -> None:
        self.prompt = prompt
        self.variants = tuple(variants)
        whom = f" for {' or '.join(variants)}" if variants else ""
        advice = " Choose a model of another family for it, or add a definition." if whom else ""
        super().__init__(f"There is no prompt '{prompt[:60]}'{whom}.{advice}")


class VersionConstraintInvalid(PromptError):
    """What was asked for is not a version constraint."""

    code = "version_constraint_invalid"

    def __init__(self, constraint: str) -> None:
        self.constraint = constraint
        super().__init__(
            f"{constraint[:40]!r} is not a version constraint. Write 1.0.0, ^1.0.0, ~1.2, 1.* or "
            ">=1.0,<2.0."
        )


class VersionUnsatisfied(PromptError):
    """The prompt exists, but in no version that was asked for."""

    code = "version_unsatisfied"

    def __init__(
        self, prompt: str, variant: str, constraints: Sequence[str], versions: Sequence[str]
    ) -> None:
        self.prompt = prompt
        self.variant = variant
        self.versions = tuple(versions)
        asked, pinned = constraints
        pin = "" if pinned == asked else f" and {pinned!r}, which an instance admin has set"
        super().__init__(
            f"No version of prompt '{prompt}' for {variant} satisfies {asked!r}{pin}. "
            f"There is: {', '.join(self.versions)}."
        )


class InputMissing(PromptError):
    """Inputs the prompt cannot do without were not given."""

    code = "input_missing"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"Missing inputs: {', '.join(self.names)}. Send them, empty if need be.")


class InputInvalid(PromptError):
    """An input has the wrong type, or is too long."""

    code = "input_invalid"

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self.why = why
        super().__init__(f"Input '{name}' {why}.")


class ContextTooLong(PromptError):
    """Everything that may be cut was cut, and it still does not fit.

    Attributes:
        needed_tokens: What the prompt would take, as estimated.
        limit_tokens: What there is room for.
    """

    code = "context_too_long"

    def __init__(self, needed_tokens: int, limit_tokens: int) -> None:
        self.needed_tokens = needed_tokens
        self.limit_tokens = limit_tokens
        super().__init__(
            f"The request needs about {needed_tokens} tokens and there is room for {limit_tokens}. "
            "Send less text, or use a model with a longer context."
        )


class OutputInvalid(UpstreamError):
    """The model did not answer in the form its prompt asks for: its fault, not the caller's.

    Attributes:
        problem: What is wrong, for the model to read; holds nothing the model wrote.
    """

    code = "output_invalid"

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"The model's answer cannot be used: {problem}. Ask again, or choose another model for "
            "this feature."
        )
