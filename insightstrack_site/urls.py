"""Every HTTP address below the ingest door, which `asgi.py` serves ahead of Django."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/", include("accounts.auth_urls")),
    path("settings/", include("accounts.urls")),
    path("", include("insightstrack_site.health")),
    path("", include("metrics.urls")),
]
