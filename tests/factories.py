"""One function per model, each row valid by default; arguments replace what a test cares about."""

import itertools
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.utils import timezone

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from prompts.evaluation.suite import CaseResult, GivenAnswer, Outcome
from prompts.loader import shipped_prompts
from prompts.models import EvaluationRun
from selfhosted_models.background_runs import RunState
from selfhosted_models.endpoints import parse_endpoint
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.probing.fingerprint import fingerprint_digest
from selfhosted_models.serving import ServingConfig

_numbers = itertools.count(1)


def build_deployment(*, api_key: Any = "", **overrides: Any) -> ModelDeployment:
    """Return a deployment that is not saved. Each has a name of its own."""
    fields: dict[str, Any] = {
        "name": f"deployment-{next(_numbers)}",
        "family": ModelFamily.CODEGEMMA_7B_IT,
        "serving_format": "openai_chat",
        "endpoints": ["http://10.0.4.11:8000/v1"],
        "model_identifier": "some-model",
    }
    deployment = ModelDeployment(**{**fields, **overrides})
    if api_key:
        deployment.set_api_key(api_key)
    return deployment


def make_deployment(*, api_key: Any = "", **overrides: Any) -> ModelDeployment:
    """Return a stored deployment: CodeGemma 7B IT, which every feature takes."""
    deployment = build_deployment(api_key=api_key, **overrides)
    deployment.save()
    return deployment


def make_fingerprint(deployment: ModelDeployment, **facts: bool | int) -> Fingerprint:
    """Return a stored measurement of `deployment` that found `facts`, by trait."""
    now = timezone.now()
    return Fingerprint.objects.create(
        deployment=deployment,
        subject=deployment.measured_subject,
        digest=fingerprint_digest(facts),
        facts=facts,
        results=[],
        created_at=now,
        measured_at=now,
    )


def setting_of(feature: Feature) -> FeatureSetting:
    """Return the row of a feature, as it is stored now."""
    return FeatureSetting.objects.get(pk=feature)


def assign(feature: Feature, *deployments: ModelDeployment) -> FeatureSetting:
    """Let `deployments` answer `feature`, first choice first; none leaves it unassigned."""
    setting = setting_of(feature)
    setting.assign(deployments)
    return setting


def make_admin(**overrides: Any) -> User:
    """Return an instance admin, for `Client.force_login`; no password is set."""
    fields = {"username": f"admin-{next(_numbers)}", "is_staff": True, "is_superuser": True}
    return User.objects.create(**{**fields, **overrides})


def make_user(role: str, **overrides: Any) -> User:
    """Return a user of the pages with one role; no password is set."""
    user = make_admin(
        **{"username": f"{role}-{next(_numbers)}", "is_superuser": False, **overrides}
    )
    user.groups.add(Group.objects.get(name=role))
    return user


def make_run(deployment: ModelDeployment, cases: str = "++-", **fields: Any) -> EvaluationRun:
    """Return a finished evaluation of `git_suggestions`, with the prompt that is in use.

    Args:
        cases: One sign each; those that are `+` passed.
    """
    feature = fields.get("feature", Feature.GIT_SUGGESTIONS)
    prompt = shipped_prompts().registry.find(feature, ["codegemma-7b-it", "general"])
    defaults = {
        "feature": feature,
        "suite": str(feature),
        "suite_version": "1.0.0",
        "suite_digest": "abc",
        "bar": 0.5,
        "prompt_variant": prompt.variant,
        "prompt_version": prompt.version,
        "prompt_digest": prompt.digest,
        "state": RunState.FINISHED,
        "started_by": "dana",
        "finished_at": timezone.now() + timedelta(seconds=EvaluationRun.objects.count()),
    }
    run = EvaluationRun.objects.create(
        deployment=deployment,
        total_cases=len(cases),
        done_cases=len(cases),
        passed_cases=cases.count("+"),
        **{**defaults, **fields},
    )
    for number, sign in enumerate(cases):
        problem = "" if sign == "+" else "is wrong"
        outcomes = (Outcome("mentions", problem),)
        result = CaseResult(f"case-{number}", GivenAnswer("x", latency_s=0.2), outcomes)
        run.results.model.of(run, result, keeps_answer=False).save()
    return run


def make_serving(**overrides: Any) -> ServingConfig:
    """Return the snapshot of a deployment without storing one."""
    fields: dict[str, Any] = {
        "deployment": "codegemma",
        "family": ModelFamily.CODEGEMMA_7B_IT,
        "serving_format": "openai_chat",
        "endpoints": (parse_endpoint("http://10.0.4.11:8000/v1"),),
        "model_identifier": "some-model",
    }
    return ServingConfig(**{**fields, **overrides})
