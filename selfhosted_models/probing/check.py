"""Two questions: does this endpoint work, asked cheaply; and does its model answer?"""

from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import UpstreamRejected
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing.interview import Interview
from selfhosted_models.probing.outcomes import NOT_OFFERED
from selfhosted_models.serving import Clocks, ServingConfig
from selfhosted_models.serving_formats.base import Ability, Completion, Message, Sampling


async def check_endpoint(
    door: OutboundDoor, serving: ServingConfig, endpoint: Endpoint, clocks: Clocks
) -> None:
    """Pass if `endpoint` lists its models or, where it has no list, answers with one token.

    Raises:
        DeploymentError: It does neither; which leaf, and what to do, is as for a request.
    """
    interview = Interview(door, serving, endpoint, clocks)
    models = interview.serving_format.list_models()
    if models is not None:
        try:
            await interview.inquire(models)
        except UpstreamRejected as rejection:
            if rejection.status not in NOT_OFFERED:
                raise
        else:
            return
    await interview.ask(_one_token(interview))


async def check_answer(
    door: OutboundDoor, serving: ServingConfig, endpoint: Endpoint, clocks: Clocks
) -> None:
    """Pass if the model itself answers with one token.

    Raises:
        DeploymentError: It does not.
    """
    interview = Interview(door, serving, endpoint, clocks)
    await interview.ask(_one_token(interview))


def _one_token(interview: Interview) -> Completion:
    """Return what any model answers, in the way that the format's servers do it best."""
    sampling = Sampling(1, temperature=0)
    if Ability.CHAT in interview.serving_format.abilities:
        return Completion(sampling, messages=(Message("user", "Say hello."),))
    return Completion(sampling, text="Hello")
