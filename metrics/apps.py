"""The application's registration with Django."""

from django.apps import AppConfig


class MetricsConfig(AppConfig):
    """Metrics: everything between an event and a pixel."""

    name = "metrics"
    default_auto_field = "django.db.models.BigAutoField"
