"""The Celery application: work is named in `metrics.tasks`, set up by settings that begin with CELERY_."""

from __future__ import annotations

import os
import signal

from celery import Celery
from celery.signals import worker_process_init

from insightstrack_site import processes

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "insightstrack_site.settings")

app = Celery("insightstrack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def end_with_the_worker(**_options: object) -> None:
    """A pool process in a long task would not notice that its worker was killed, and would write on."""
    processes.die_with_parent(signal.SIGKILL)
