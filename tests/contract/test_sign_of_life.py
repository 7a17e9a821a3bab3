"""How `doctor` sees Redis and a Celery worker: by what a task leaves in a real Valkey."""

from pytest_django import Settings

from gateway.doctor import worker_sign
from gateway.doctor.checkup import CHECKS, examine
from gateway.doctor.patient import Patient
from gateway.tasks import give_sign_of_life


def test_sign_is_seen_once_the_task_was_done(valkey_url: str, settings: Settings) -> None:
    settings.REDIS_URL = valkey_url
    number = worker_sign.new_number()

    before = worker_sign.is_given(number, within_s=1)
    give_sign_of_life(number)

    assert not before
    assert worker_sign.is_given(number, within_s=1)


def test_sign_for_another_is_not_taken_for_ours(valkey_url: str, settings: Settings) -> None:
    settings.REDIS_URL = valkey_url
    give_sign_of_life(worker_sign.new_number())

    assert not worker_sign.is_given(worker_sign.new_number(), within_s=1)


def test_redis_and_its_clock_are_looked_at(valkey_url: str, settings: Settings) -> None:
    settings.REDIS_URL = valkey_url

    findings = examine(Patient(), {name: CHECKS[name] for name in ("redis", "clock")})

    told = [(finding.subject, finding.state.value, finding.evidence) for finding in findings]
    assert told == [("Redis", "ok", "127.0.0.1 answers"), ("clock of Redis", "ok", "as ours")]
