"""The Celery application: work is named in `metrics.tasks`, configured by settings that start with CELERY_."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "insightstrack_site.settings")

app = Celery("insightstrack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
