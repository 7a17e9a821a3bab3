"""From an answer to what all rules of its case say of it."""

from prompts.evaluation.scorers import SCORERS
from prompts.evaluation.scorers.judged import JUDGE
from prompts.evaluation.suite import Case, Check, GivenAnswer, Outcome

#: Held against every answer, whatever a suite says.
ALWAYS = (Check("is_not_empty", True), Check("is_no_echo", True))


def score(case: Case, answer: GivenAnswer, *, allows_execution: bool) -> tuple[Outcome, ...]:
    """Return what each scorer says.

    Args:
        case: Whose checks they are.
        answer: What is judged.
        allows_execution: Whether scorers may run what a model wrote.
    """
    outcomes = []
    for check in (*ALWAYS, *case.checks):
        scorer = SCORERS[check.scorer]
        is_barred = scorer.executes and not allows_execution
        if is_barred or (check.scorer == JUDGE and check.wanted not in answer.judgements):
            outcomes.append(Outcome(check.scorer, is_skipped=True))
        else:
            problem = scorer.judge(answer, case.inputs, check.wanted)
            outcomes.append(Outcome(check.scorer, problem))
    return tuple(outcomes)
