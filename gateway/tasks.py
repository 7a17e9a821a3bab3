"""What runs in the background: each task calls one function, and may be run twice.

Arguments are ids: whoever reads the broker reads them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.celery import app
from gateway.evaluation import runs

carry_out_evaluation: Any = app.task(runs.carry_out, name="evaluation.carry_out")
sweep_evaluations: Any = app.task(runs.sweep, name="evaluation.sweep")
forget_answers: Any = app.task(runs.forget_answers, name="evaluation.forget_answers")

#: Seconds between two runs of each task that nobody asks for.
SCHEDULE: Mapping[Any, float] = MappingProxyType({sweep_evaluations: 60.0, forget_answers: 3600.0})

app.conf.beat_schedule = {
    task.name: {"task": task.name, "schedule": every_s, "options": {"expires": every_s}}
    for task, every_s in SCHEDULE.items()
}
