"""The scorer that passes on what a judging model found. Pure: the model was asked before."""

from collections.abc import Mapping
from typing import Any

from prompts.evaluation.scorers.base import scorer
from prompts.evaluation.suite import GivenAnswer

JUDGE = "judge"


@scorer(JUDGE, {"type": "string", "minLength": 1, "maxLength": 500})
def judge(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Want that a judging model, told to look for this, finds it."""
    return answer.judgements[wanted]
