"""How the site configures Django's own applications."""

from __future__ import annotations

from django.contrib.staticfiles.apps import StaticFilesConfig


class SiteStaticFilesConfig(StaticFilesConfig):
    """Static files without the extensions of htmx: unused, and types in their comments look like imports."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "hx-*.js", "redoc*"]
