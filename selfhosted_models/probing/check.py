"""The cheap question: does this endpoint work?"""

from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import UpstreamRejected
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing.interview import Interview
from selfhosted_models.serving import Clocks, ServingConfig
from selfhosted_models.serving_formats.base import Ability, Completion, Message, Sampling

#: Statuses by which a server says that it has no such path.
NOT_OFFERED = frozenset({404, 405, 501})


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
    await interview.ask(short_question(interview, max_output_tokens=1))


def short_question(interview: Interview, *, max_output_tokens: int) -> Completion:
    """Return something any model answers, in the way the format's servers do it best."""
    sampling = Sampling(max_output_tokens, temperature=0)
    if Ability.CHAT in interview.serving_format.abilities:
        return Completion(sampling, messages=(Message("user", "Say hello."),))
    return Completion(sampling, text="Hello")
