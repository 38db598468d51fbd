"""Every HTTP address below the ingest door, which `asgi.py` serves ahead of Django."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from metrics.admin import operations

urlpatterns = [
    # Ahead of admin's own addresses, which end in a catch-all.
    path("admin/operations/", admin.site.admin_view(operations), name="operations"),
    path("admin/", admin.site.urls),
    path("accounts/", include("accounts.auth_urls")),
    path("settings/", include("accounts.urls")),
    path("", include("insightstrack_site.health")),
    path("", include("metrics.urls")),
]
