"""Why an evaluation cannot be run. Nothing here knows a status code."""


class EvaluationRefused(Exception):
    """What was asked for cannot be evaluated as it is.

    Attributes:
        code: Stable word for logs and callers.
        safe_message: What is wrong and what to do.
        retryable: Whether the same may succeed later.
    """

    code = "evaluation_refused"
    retryable = False

    def __init__(self, safe_message: str) -> None:
        super().__init__(safe_message)
        self.safe_message = safe_message


class EvaluationConflict(EvaluationRefused):
    """It cannot be done in the state the run is in."""

    code = "evaluation_conflict"
