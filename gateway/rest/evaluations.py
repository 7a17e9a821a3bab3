"""`evaluations/`: acceptance suites asked of deployments, and how that went."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from feature_config.catalogue import Feature
from gateway.evaluation.jobs import (
    cancel_evaluation,
    resume_evaluation,
    start_comparison,
    start_evaluation,
)
from gateway.evaluation.report import facts_of, told_comparison, whole_of
from gateway.evaluation.runs import EvaluationRequest
from gateway.evaluation.suites import path_of_suite
from gateway.evaluation.verdicts import compare_runs
from gateway.rest.examples import example
from gateway.rest.idempotency import idempotent
from gateway.rest.scopes import Scope
from gateway.rest.views import IDEMPOTENCY_KEY, MAX_NUMBER, NUMBER, REASON, RestView
from prompts.models import EvaluationRun
from selfhosted_models.background_runs import RunState
from selfhosted_models.families import ModelFamily


@example(sent={"feature": "git_suggestions", "deployment": "mixtral-a"})
class StartSerializer(serializers.Serializer[Any]):
    """What is to be evaluated."""

    feature = serializers.ChoiceField(choices=list(Feature))
    deployment = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=100,
        help_text="Its name; left out: the one assigned first.",
    )
    suite = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=100,
        help_text="A suite of your own; left out: the one that ships.",
    )
    prompt_version = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=64,
        help_text="Constraint in place of the admin's, as in ~1.2.",
    )
    judge = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=100,
        help_text="Name of a deployment that judges answers.",
    )

    def evaluation_request(self) -> EvaluationRequest:
        """Return what valid data ask for.

        Raises:
            EvaluationRefused: There is no such suite.
        """
        wanted = self.validated_data
        feature = Feature(wanted["feature"])
        return EvaluationRequest(
            feature,
            deployment=wanted["deployment"],
            prompt_version=wanted["prompt_version"],
            suite_path=path_of_suite(feature, wanted["suite"]),
            judge=wanted["judge"],
        )


@example(
    sent={
        "feature": "git_suggestions",
        "deployment": "mixtral-a",
        "second_deployment": "mixtral-b",
    }
)
class StartComparisonSerializer(StartSerializer):
    """What is to be evaluated twice: of two deployments, or with two versions of the prompt."""

    second_deployment = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=100,
        help_text="Asked the same cases; left out: the same deployment.",
    )
    second_prompt_version = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=64,
        help_text="Constraint for the second time; left out: the same version.",
    )


class VerdictSerializer(serializers.Serializer[Any]):
    """The share of the cases that pass, and the range it lies in with 95 % confidence (Wilson)."""

    score = serializers.FloatField()
    low = serializers.FloatField()
    high = serializers.FloatField()
    is_pass = serializers.BooleanField(help_text="Whether the score reaches the suite's bar.")


_EXAMPLE = {
    "run": 7,
    "batch": "2b14db85-fb74-4e0c-ab99-a39396bfe4a0",
    "feature": "git_suggestions",
    "title": "Git Suggestions",
    "deployment": "mixtral-a",
    "family": "mixtral-8x7b-instruct",
    "suite": "git_suggestions",
    "suite_version": "1.0.0",
    "suite_digest": "5d41402abc4b2a76",
    "prompt": "general 1.0.0",
    "prompt_digest": "22daa01b78273474",
    "fingerprint_digest": "627fadaea4f11cc6",
    "judge": "",
    "runs_code": False,
    "state": "finished",
    "reason": "",
    "started_by": "API token rails",
    "created_at": "2026-11-22T12:00:00Z",
    "started_at": "2026-11-22T12:00:01Z",
    "finished_at": "2026-11-22T12:00:31Z",
    "total_cases": 3,
    "done_cases": 3,
    "passed_cases": 2,
    "bar": 0.5,
    "verdict": {"score": 0.67, "low": 0.21, "high": 0.94, "is_pass": True},
}


@example(_EXAMPLE)
class EvaluationSerializer(serializers.Serializer[Any]):
    """A run: one suite, asked of one deployment."""

    run = serializers.IntegerField(help_text="Its number.")
    batch = serializers.UUIDField(help_text="Shared by runs that were asked for together.")
    feature = serializers.ChoiceField(choices=list(Feature))
    title = serializers.CharField()
    deployment = serializers.CharField()
    family = serializers.ChoiceField(choices=list(ModelFamily))
    suite = serializers.CharField()
    suite_version = serializers.CharField()
    suite_digest = serializers.CharField()
    prompt = serializers.CharField(help_text="Variant and version.")
    prompt_digest = serializers.CharField()
    fingerprint_digest = serializers.CharField(help_text="Of the model servers; empty: not known.")
    judge = serializers.CharField()
    runs_code = serializers.BooleanField()
    state = serializers.ChoiceField(choices=RunState.choices)
    reason = serializers.CharField(help_text="Why it failed.")
    started_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    total_cases = serializers.IntegerField()
    done_cases = serializers.IntegerField()
    passed_cases = serializers.IntegerField()
    bar = serializers.FloatField()
    verdict = VerdictSerializer(allow_null=True, help_text="Null until it is finished.")

    def to_representation(self, instance: EvaluationRun | dict[str, Any]) -> dict[str, Any]:
        told = facts_of(instance) if isinstance(instance, EvaluationRun) else instance
        return super().to_representation(told)


@example({"first": _EXAMPLE, "second": {**_EXAMPLE, "run": 8, "deployment": "mixtral-b"}})
class StartedComparisonSerializer(serializers.Serializer[Any]):
    """Two runs of the same cases; their comparison is at `Location` once both are finished."""

    first = EvaluationSerializer()
    second = EvaluationSerializer()


_EXAMPLE_COMPARISON = {
    "run": 6,
    "difference": 0.33,
    "low": 0.0,
    "high": 1.0,
    "is_regression": False,
    "regressions": [],
    "gains": ["undo-last-commit"],
}


@example(_EXAMPLE_COMPARISON)
class ComparisonSerializer(serializers.Serializer[Any]):
    """The share of the same cases passed by this run, less that of the other."""

    run = serializers.IntegerField(help_text="The other run.")
    difference = serializers.FloatField(help_text="-1 to 1.")
    low = serializers.FloatField(help_text="Of the paired bootstrap, 95 %.")
    high = serializers.FloatField()
    is_regression = serializers.BooleanField(help_text="Worse, by more than chance explains.")
    regressions = serializers.ListField(
        child=serializers.CharField(), help_text="Cases that only the other run passed."
    )
    gains = serializers.ListField(
        child=serializers.CharField(), help_text="Cases that only this run passed."
    )


class CaseSerializer(serializers.Serializer[Any]):
    """How one case went."""

    case_id = serializers.CharField()
    is_passed = serializers.BooleanField()
    score = serializers.FloatField(help_text="Share of its checks that passed, 0 to 1.")
    reasons = serializers.DictField(
        child=serializers.CharField(), help_text="What is wrong, by scorer."
    )
    skipped = serializers.ListField(child=serializers.CharField())
    error = serializers.CharField(help_text="Its code, where no answer came.")
    took_ms = serializers.IntegerField(allow_null=True)
    answer = serializers.CharField(help_text="Empty unless answers are kept.")


@example(
    {
        **_EXAMPLE,
        "took_s": 30.2,
        "median_ms": 910,
        "slowest_ms": 2040,
        "previous": _EXAMPLE_COMPARISON,
        "results": [
            {
                "case_id": "squash-three",
                "is_passed": False,
                "score": 0.5,
                "reasons": {"mentions": "It does not mention: git rebase."},
                "skipped": [],
                "error": "",
                "took_ms": 880,
                "answer": "",
            }
        ],
    }
)
class WholeEvaluationSerializer(EvaluationSerializer):
    """A run with all its cases."""

    took_s = serializers.FloatField(allow_null=True)
    median_ms = serializers.IntegerField(allow_null=True)
    slowest_ms = serializers.IntegerField(allow_null=True)
    previous = ComparisonSerializer(
        allow_null=True, help_text="The last run before it that asked the same."
    )
    results = CaseSerializer(many=True)


class ComparisonQuery(serializers.Serializer[Any]):
    to = serializers.IntegerField(
        min_value=1, max_value=MAX_NUMBER, help_text="The other run, of the same suite."
    )


@extend_schema_view(list=extend_schema(summary="List the evaluations, newest first"))
class Evaluations(ListModelMixin, RestView):
    """Whether models answer well enough, found out on this site."""

    queryset = EvaluationRun.objects.select_related("deployment")
    serializer_class = EvaluationSerializer
    filterset_fields = ("feature", "deployment__name", "state", "batch")
    ordering_fields = ("id",)
    ordering = ("-id",)
    lookup_field = "pk"
    lookup_url_kwarg = "number"
    required_scopes: ClassVar = {
        "list": Scope.READ_CONFIGURATION,
        "retrieve": Scope.READ_CONFIGURATION,
        "comparison": Scope.READ_CONFIGURATION,
        "create": Scope.RUN_EVALUATIONS,
        "start_comparison": Scope.RUN_EVALUATIONS,
        "cancel": Scope.RUN_EVALUATIONS,
        "resume": Scope.RUN_EVALUATIONS,
    }

    @extend_schema(
        summary="Show an evaluation with all its cases",
        responses=WholeEvaluationSerializer,
        parameters=[NUMBER],
    )
    def retrieve(self, request: Request, number: int) -> Response:
        return Response(WholeEvaluationSerializer(whole_of(self.get_object())).data)

    @extend_schema(
        summary="Compare an evaluation with another of the same suite",
        responses=ComparisonSerializer,
        parameters=[NUMBER, ComparisonQuery],
        filters=False,
    )
    def comparison(self, request: Request, number: int) -> Response:
        query = ComparisonQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        other = EvaluationRun.objects.filter(pk=query.validated_data["to"]).first()
        if other is None:
            raise serializers.ValidationError({"to": "There is no run of this number."})
        compared = compare_runs(other, self.get_object())
        return Response({"run": other.pk, **told_comparison(compared)})

    @extend_schema(
        summary="Start an evaluation, which is carried out in the background",
        request=StartSerializer,
        responses={201: EvaluationSerializer},
        parameters=[IDEMPOTENCY_KEY, REASON],
    )
    @idempotent
    def create(self, request: Request) -> Response:
        wanted = StartSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        run = start_evaluation(wanted.evaluation_request(), self.attribution())
        location = {"Location": f"{request.path}{run.pk}/"}
        return Response(self.get_serializer(run).data, status=201, headers=location)

    @extend_schema(
        summary="Start two evaluations of the same cases, to compare them",
        request=StartComparisonSerializer,
        responses={201: StartedComparisonSerializer},
        parameters=[IDEMPOTENCY_KEY, REASON],
    )
    @idempotent
    def start_comparison(self, request: Request) -> Response:
        wanted = StartComparisonSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        asked, values = wanted.evaluation_request(), wanted.validated_data
        first, second = start_comparison(
            asked,
            asked.beside(values["second_deployment"], values["second_prompt_version"]),
            self.attribution(),
        )
        told = StartedComparisonSerializer({"first": first, "second": second}).data
        path = request.path.removesuffix("comparison/")
        location = {"Location": f"{path}{second.pk}/comparison/?to={first.pk}"}
        return Response(told, status=201, headers=location)

    @extend_schema(
        summary="Cancel an evaluation; what has its answer keeps it",
        request=None,
        parameters=[NUMBER, IDEMPOTENCY_KEY, REASON],
        filters=False,
    )
    @idempotent
    def cancel(self, request: Request, number: int) -> Response:
        run = self.get_object()
        cancel_evaluation(run, self.attribution())
        return Response(self.get_serializer(run).data)

    @extend_schema(
        summary="Go on with an evaluation that was cancelled or failed",
        request=None,
        parameters=[NUMBER, IDEMPOTENCY_KEY, REASON],
        filters=False,
    )
    @idempotent
    def resume(self, request: Request, number: int) -> Response:
        run = self.get_object()
        resume_evaluation(run, self.attribution())
        return Response(self.get_serializer(run).data)
