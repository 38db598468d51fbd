"""Where a handle's figures come from: connected accounts, streams, files and labels of the snapshot door.

A source's row says how it is; its days, notes and outages say how it has been. Only `ingest.sources` writes them.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.utils import timezone

from accounts.models import Handle, User
from accounts.sealing import holds_sealed, seal, unseal


class SourceState(models.TextChoices):
    """How a source is; everything that is not `is_up` is an outage."""

    STARTING = "starting", "starting"
    LIVE = "live", "live"
    CATCHING_UP = "catching_up", "catching up"
    PAUSED = "paused", "paused"
    FAILING = "failing", "failing"
    LIMITED = "limited", "rate-limited"
    DISCONNECTED = "disconnected", "disconnected"

    @property
    def is_up(self) -> bool:
        """Whether what happens reaches us, or will once it has caught up."""
        return self in {SourceState.STARTING, SourceState.LIVE, SourceState.CATCHING_UP}


@holds_sealed("sealed")
class Source(models.Model):
    """One source of a handle's events or counts.

    `kind` names a connector of the registry, or `file` or `api`; `settings` and `cursor` are the connector's own.
    `last_heard_at` moves with every sign of life, `last_event_at` is when the newest event occurred.
    """

    # Names the source in addresses that others are told: unlike the row's number it cannot be guessed.
    public_id = models.UUIDField(default=uuid.uuid4, db_default=RandomUUID(), unique=True, editable=False)
    handle = models.ForeignKey(Handle, on_delete=models.CASCADE, related_name="sources")
    kind = models.CharField(max_length=20)
    name = models.CharField(max_length=64)
    settings = models.JSONField(default=dict, blank=True)
    sealed = models.TextField(blank=True, editable=False)
    state = models.CharField(max_length=12, choices=SourceState.choices, default=SourceState.STARTING)
    state_since = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=500, blank=True)
    due_at = models.DateTimeField(null=True, blank=True, help_text="not run before this; empty: at once")
    cursor = models.JSONField(default=dict, blank=True)
    last_heard_at = models.DateTimeField(null=True, blank=True)
    last_event_at = models.DateTimeField(null=True, blank=True)
    lag_ms = models.BigIntegerField(null=True, blank=True)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["handle", "kind", "name"], name="one_source_a_name")]

    def __str__(self) -> str:
        return f"{self.handle} · {self.kind} · {self.name}"

    @property
    def secrets(self) -> dict[str, Any]:
        """What the connector keeps sealed; raises BrokenSealError."""
        return dict(json.loads(unseal(self.sealed))) if self.sealed else {}

    @secrets.setter
    def secrets(self, values: dict[str, Any]) -> None:
        self.sealed = seal(json.dumps(values)) if values else ""


class SourceDay(models.Model):
    """What a source brought on one UTC day."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="days")
    day = models.DateField()
    events = models.BigIntegerField(default=0)
    snapshots = models.BigIntegerField(default=0)
    tweets = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    ignored = models.JSONField(default=dict, help_text="kind of message → how many were passed over")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "day"], name="one_row_a_source_day")]

    def __str__(self) -> str:
        return f"{self.source} on {self.day}"


class SourceNote(models.Model):
    """One thing that happened to a source; the last 50 are kept."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="notes")
    at = models.DateTimeField(default=timezone.now)
    text = models.CharField(max_length=500)
    is_trouble = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.text


class Outage(models.Model):
    """A stretch of time in which a source was not up; `until` is empty while it lasts."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="outages")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=12, choices=SourceState.choices)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-since"]
        indexes = [models.Index(fields=["source", "since"], name="outages_by_source")]

    def __str__(self) -> str:
        return f"{self.source}: {self.state} since {self.since}"


class RememberedRecord(models.Model):
    """Which of our posts a record of the AT protocol engages, so that its deletion, which does not say, can be counted.

    `record` is its URI in 64 bits, `engagement` the code of the type. `rev` and `at_us` (Unix µs) are the creation's,
    those with `undone_` the deletion's; `delivery` and `undone_delivery` number the deliveries that brought them.
    A source keeps the newest only.
    """

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="+")
    record = models.BigIntegerField()
    engagement = models.SmallIntegerField()
    tweet_id = models.BigIntegerField()
    rev = models.CharField(max_length=64, blank=True)
    at_us = models.BigIntegerField()
    delivery = models.BigIntegerField()
    undone_rev = models.CharField(max_length=64, blank=True)
    undone_at_us = models.BigIntegerField(null=True)
    undone_delivery = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "record", "engagement"], name="remembered_once"),
        ]
        indexes = [models.Index(fields=["source", "id"], name="remembered_by_age")]

    def __str__(self) -> str:
        return f"record {self.record} of Tweet {self.tweet_id}"
