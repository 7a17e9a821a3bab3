"""A site where every resource of the REST API has something to show."""

from pathlib import Path
from typing import Any

from django.utils import timezone

from docsearch.backend import LocalBackend
from docsearch.golden import GoldenEntry
from docsearch.models import GoldenQuestion, RegistryLook, UnansweredQuestion
from docsearch.results import Outcome
from docsearch.store import IndexStore
from feature_config.catalogue import Feature
from gateway.documentation.indexes import note_installed, record_look
from gateway.documentation.questions import check_changed
from gateway.documentation.upkeep import Look
from gateway.errors import Hop
from gateway.models import LoggedRequest
from gateway.routing.endpoint_state import HealthState
from gateway.usage.buffer import Taken
from gateway.usage.store import write_down
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import EndpointHealth, ModelDeployment
from selfhosted_models.probe_runs import ProbeKind, ProbeRun
from tests.factories import assign, make_deployment, make_fingerprint, make_run
from tests.unit.docsearch.pages import install
from tests.unit.gateway.usage.ended import ended

BOARDS = "# Issue boards\n\nCards in lists.\n\n## Create a board\n\nSelect **New board**.\n"
_GENERAL = {"family": "general", "serving_format": "openai_chat"}


def furnish(data_dir: Path) -> dict[str, dict[str, Any]]:
    """Store at least one row of everything.

    Args:
        data_dir: As in the settings; documentation is installed there.

    Returns:
        What the path of each resource is filled in with, by the beginning of that path: `""` stands
        for what is only shown, a verb for what it can be done to.
    """
    chosen, fallback, unused = (
        make_deployment(name=name, api_key="sk-canary-0123456789abcdef", **_GENERAL)
        for name in ("mixtral-a", "mixtral-b", "mixtral-old")
    )
    assign(Feature.DUO_CHAT, chosen, fallback)
    _hear(chosen)
    queued, failed = (
        make_run(of, "", state=state) for of, state in ((fallback, "queued"), (chosen, "failed"))
    )
    before, newest = make_run(chosen, "+--"), make_run(chosen, "++-")
    measured = ProbeRun.objects.create(
        kind=ProbeKind.MEASUREMENT,
        deployment=chosen,
        subject=chosen.measured_subject,
        state=RunState.FINISHED,
        fingerprint=make_fingerprint(chosen, chat=True, context_tokens=32768),
        started_by="dana",
        finished_at=timezone.now(),
        results=[{"trait": "chat", "state": "yes", "value": None, "evidence": "It answered."}],
    )
    asked = ProbeRun.objects.create(kind=ProbeKind.CHECK, deployment=chosen, started_by="dana")
    golden = _document(data_dir)
    _serve()
    return {
        "deployments": {"": chosen.pk, "delete": unused.pk},
        "evaluations": {
            "": newest.pk,
            "comparison": newest.pk,
            "cancel": queued.pk,
            "resume": failed.pk,
            "to": before.pk,
        },
        "probe-runs": {"": measured.pk, "cancel": asked.pk},
        "golden-questions": {"": golden.pk},
        "unanswered-questions": {"": UnansweredQuestion.objects.get().pk},
        "request-logs": {"": LoggedRequest.objects.order_by("pk")[0].pk},
    }


def _hear(deployment: ModelDeployment) -> None:
    now = timezone.now()
    EndpointHealth.objects.create(
        deployment=deployment,
        url=deployment.endpoints[0],
        state=HealthState.HEALTHY,
        since=now,
        heard_at=now,
    )


def _document(data_dir: Path) -> GoldenQuestion:
    """Install an index and the next; return the question they are asked."""
    store = IndexStore.below(data_dir)
    for pages in ({"cards": BOARDS}, {"boards": BOARDS}):
        install(store, data_dir.parent, **pages)
        note_installed(store)
    GoldenQuestion.objects.replace_all([GoldenEntry("create a board", "cards.md")])
    backend = LocalBackend(store)
    check_changed(backend)
    backend.close()
    record_look(Look("17.4.2", RegistryLook.State.FETCHING, received_bytes=5, total_bytes=10))
    now = timezone.now()
    UnansweredQuestion.objects.create(
        question="how do i fly",
        outcome=Outcome.NOTHING_FOUND,
        gitlab_version="17.4.0",
        first_asked_at=now,
        last_asked_at=now,
    )
    return GoldenQuestion.objects.get()


def _serve() -> None:
    """Write down a request that was answered, and one that was not."""
    answered = ended(0, deployment="mixtral-a")
    refused = ended(
        -1,
        deployment="mixtral-a",
        status=504,
        outcome="upstream_timeout",
        hop=Hop.MODEL_SERVER,
        reason="mixtral-a did not answer.",
        first_s=None,
    )
    write_down(Taken([answered, refused], 0), clock_offset_s=timezone.now().timestamp())
