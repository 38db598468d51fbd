"""The site: settings, URLs, servers, and the services it can carry with it."""

from insightstrack_site.celery import app as celery_app

__all__ = ["celery_app"]
