"""What runs in the background: each task calls one function, and may be run twice.

Arguments are ids: whoever reads the broker reads them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.celery import app
from gateway.doctor import worker_sign
from gateway.evaluation import runs as evaluations
from gateway.probes import runs as probes
from gateway.probes import schedule
from gateway.usage import retention

carry_out_evaluation: Any = app.task(evaluations.carry_out, name="evaluation.carry_out")
sweep_evaluations: Any = app.task(evaluations.sweep, name="evaluation.sweep")
forget_answers: Any = app.task(evaluations.forget_answers, name="evaluation.forget_answers")
carry_out_probe: Any = app.task(probes.carry_out, name="probes.carry_out")
sweep_probes: Any = app.task(schedule.sweep, name="probes.sweep")
forget_probes: Any = app.task(schedule.forget_runs, name="probes.forget_runs")
give_sign_of_life: Any = app.task(worker_sign.give, name="doctor.give_sign_of_life")
forget_usage: Any = app.task(retention.forget_usage, name="usage.forget")

#: Seconds between two runs of each task that nobody asks for.
SCHEDULE: Mapping[Any, float] = MappingProxyType(
    {
        sweep_evaluations: 60.0,
        forget_answers: 3600.0,
        sweep_probes: 60.0,
        forget_probes: 3600.0,
        forget_usage: 600.0,
    }
)

app.conf.beat_schedule = {
    task.name: {"task": task.name, "schedule": every_s, "options": {"expires": every_s}}
    for task, every_s in SCHEDULE.items()
}
