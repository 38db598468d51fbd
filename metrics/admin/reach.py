"""People in Django admin: the keys they are hashed with, and what other systems report; never anybody's hash."""

from __future__ import annotations

from django.contrib import admin

from metrics.admin.facts import FactsAdmin
from metrics.models import PersonEpoch, ReportedReach


@admin.register(PersonEpoch)
class PersonEpochAdmin(FactsAdmin):
    """The epochs: since when people are hashed with which key, named by its fingerprint alone."""

    list_display = ("number", "began_at", "fingerprint")
    fields = list_display
    ordering = ("-number",)


@admin.register(ReportedReach)
class ReportedReachAdmin(FactsAdmin):
    """How many people other systems say Tweets have reached."""

    list_display = ("tweet_id", "handle", "audience", "people", "as_of")
    list_filter = ("audience", "handle")
    list_select_related = ("handle",)
    search_fields = ("=tweet_id",)
    fields = ("tweet_id", "handle", "audience", "people", "as_of", "source_id")
    ordering = ("-as_of",)
