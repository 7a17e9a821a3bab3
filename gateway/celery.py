"""The Celery application, for workers beside the gateway where REDIS_URL names a broker.

    celery -A gateway worker --beat

Without REDIS_URL nothing of this is used: see `gateway/background.py`.
"""

import os
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

from django.conf import settings

#: A task is killed after this; what it leaves undone is taken up again.
TIME_LIMIT_S = 1800
#: Longer than any task: Redis hands out again what is not acknowledged within it.
VISIBILITY_TIMEOUT_S = 3600
_BROKER_TIMEOUT_S = 2

app: Any = Celery("gateway", broker=settings.REDIS_URL or None)
app.conf.update(
    imports=["gateway.tasks"],
    task_default_queue="selfhosted-duo",
    task_ignore_result=True,
    # A worker that dies gives its task back, so each can be run again at any point.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_time_limit=TIME_LIMIT_S,
    worker_prefetch_multiplier=1,
    accept_content=["json"],
    task_serializer="json",
    timezone="UTC",
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "socket_connect_timeout": _BROKER_TIMEOUT_S,
        # Whoever asks for a task must not wait for a broker that is away: the sweep finds the run.
        "max_retries": 1,
        "interval_start": 0,
    },
    worker_hijack_root_logger=False,  # its records go where ours go (gateway/logs.py)
    beat_schedule_filename=str(settings.DATA_DIR / "celerybeat-schedule"),
)
