"""Facts: what happened, what it adds up to, and how far the writers have come.

Every key of a large table starts with `handle_id`, so the schema can be distributed by it unchanged. Events and minute
rollups are partitioned by day, so that old data is dropped, never deleted from; partitions are made by
`aggregate.partitions`. Facts carry no database constraint to their handle: a writer must never wait for a lock on it.
"""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import Handle, Team
from metrics.vocabulary.atproto import web_address
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.periods import Grain


def facts_of(**options: Any) -> models.ForeignKey[Handle, Handle]:
    """A reference to the handle that costs the writer no foreign-key check."""
    return models.ForeignKey(
        Handle, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+", **options
    )


class Media(models.TextChoices):
    """What a Tweet shows besides text."""

    NONE = "none", "text"
    PHOTO = "photo", "photo"
    GIF = "gif", "GIF"
    VIDEO = "video", "video"


class Tweet(models.Model):
    """A Tweet of a handle; a stub without text when an event came first.

    `tweet_id` is the platform's snowflake. It is unique within its handle rather than globally, so that nobody can
    claim another team's Tweet by naming its id first.
    """

    handle = models.ForeignKey(Handle, on_delete=models.CASCADE, related_name="tweets")
    tweet_id = models.BigIntegerField("Tweet id")
    text = models.TextField(blank=True)
    created_at = models.DateTimeField()
    media = models.CharField(max_length=5, choices=Media.choices, default=Media.NONE, db_default="none")
    # Not a URLField: a post of Bluesky is named by its at:// URI.
    link = models.CharField(
        max_length=2000,
        blank=True,
        validators=[RegexValidator(r"^(https?|at)://", "Start with https://, http:// or at://.")],
    )
    tags = models.JSONField(default=list, db_default=models.Value([], models.JSONField()), blank=True)
    # What the team itself added (true) and removed (false), by tag: it outlives what senders say later.
    tag_changes = models.JSONField(
        default=dict, db_default=models.Value({}, models.JSONField()), blank=True, editable=False
    )
    is_stub = models.BooleanField(default=False)
    # When it was stored or told last: open streams ask for what has become known.
    changed_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["handle", "tweet_id"], name="one_tweet_an_id")]
        indexes = [
            models.Index(fields=["handle", "-created_at"], name="tweets_by_age"),
            models.Index(fields=["handle", "changed_at"], name="tweets_by_change"),
        ]

    def __str__(self) -> str:
        return self.text or f"Tweet {self.tweet_id}"

    @property
    def web_address(self) -> str:
        """Where people can open the link: of an at:// URI Bluesky's page of that post."""
        return web_address(self.link)


class EngagementEvent(models.Model):
    """One fresh event, kept to recognise resends and to rebuild rollups. Partitioned by day of `occurred_at`.

    `event_key` is 128 bits of the sender's id; `person` 64 bits of the keyed hash of the user id, or null, and `epoch`
    the number of that key;
    `received_at` is the stream entry's id as a time (its milliseconds, its sequence as microseconds), which is unique
    in a shard: so the events of one accepted batch can be found again.
    """

    pk = models.CompositePrimaryKey("handle_id", "occurred_at", "event_key")
    handle = facts_of()
    occurred_at = models.DateTimeField()
    event_key = models.UUIDField()
    tweet_id = models.BigIntegerField()
    type = models.SmallIntegerField()
    promoted = models.BooleanField()
    count = models.IntegerField()
    person = models.BigIntegerField(null=True)
    epoch = models.SmallIntegerField(default=0, db_default=0)
    received_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{NAMES[self.type]} of {self.tweet_id} at {self.occurred_at}"


class Rollup(models.Model):
    """Sums of events by bucket: one column for each engagement type (added below, in storage order)."""

    handle = facts_of()
    grain = models.SmallIntegerField(choices=[(grain.value, grain.name.lower()) for grain in Grain])
    start = models.DateTimeField()
    promoted = models.BooleanField()
    # Of the impressions, those that named a person.
    named_impressions = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        abstract = True


for _name in NAMES:
    Rollup.add_to_class(_name, models.BigIntegerField(default=0, db_default=0))


class HandleRollup(Rollup):
    """The sums of a whole handle."""

    pk = models.CompositePrimaryKey("handle_id", "grain", "start", "promoted")

    def __str__(self) -> str:
        return f"{self.handle}, {Grain(self.grain).name.lower()} from {self.start}"


class TweetRollup(Rollup):
    """The sums of one Tweet."""

    pk = models.CompositePrimaryKey("handle_id", "tweet_id", "grain", "start", "promoted")
    tweet_id = models.BigIntegerField()

    def __str__(self) -> str:
        return f"Tweet {self.tweet_id}, {Grain(self.grain).name.lower()} from {self.start}"


class InferredCount(models.Model):
    """What a snapshot said beyond the events that are known: a piece of the difference, laid at an instant.

    `counts` has one number for each of the 26 types. A late event that the snapshot had covered takes its count out
    of here, so that nothing counts twice; `rebuild` reads these rows beside the events. `is_history` marks what had
    happened before the source was first heard: charts show it as "before tracking". `part` is the snapshot's.
    """

    pk = models.CompositePrimaryKey("handle_id", "tweet_id", "as_of", "source_id", "part", "promoted", "occurred_at")
    handle = facts_of()
    tweet_id = models.BigIntegerField()
    as_of = models.DateTimeField()
    source_id = models.BigIntegerField()
    part = models.SmallIntegerField()
    promoted = models.BooleanField()
    occurred_at = models.DateTimeField()
    counts = ArrayField(models.BigIntegerField(), size=len(NAMES))
    is_history = models.BooleanField()
    received_at = models.DateTimeField()

    class Meta:
        # Whether a late event may have been covered; what charts show as "before tracking"; what retention may drop.
        indexes = [
            models.Index(fields=["handle", "as_of"], name="inferred_by_age"),
            models.Index(fields=["handle", "occurred_at"], name="history_by_time", condition=models.Q(is_history=True)),
            models.Index(fields=["occurred_at"], condition=models.Q(is_history=False), name="inferred_growth"),
        ]

    def __str__(self) -> str:
        return f"Tweet {self.tweet_id}, inferred at {self.occurred_at} as of {self.as_of}"


class LastSnapshot(models.Model):
    """What a source last said of a Tweet, by type: numbers and as of when (Unix µs, 0 where it never said any).

    `low` and `low_as_of` hold a fall that waits to be seen again (-1: none); `ahead` is by how much our totals are
    ahead of a source that has started to count anew.
    """

    pk = models.CompositePrimaryKey("handle_id", "tweet_id", "source_id", "part")
    handle = facts_of()
    tweet_id = models.BigIntegerField()
    source_id = models.BigIntegerField()
    part = models.SmallIntegerField()
    counts = ArrayField(models.BigIntegerField(), size=len(NAMES))
    as_of = ArrayField(models.BigIntegerField(), size=len(NAMES))
    low = ArrayField(models.BigIntegerField(), size=len(NAMES), null=True)
    low_as_of = ArrayField(models.BigIntegerField(), size=len(NAMES), null=True)
    ahead = ArrayField(models.BigIntegerField(), size=len(NAMES), null=True)

    def __str__(self) -> str:
        return f"Tweet {self.tweet_id} by source {self.source_id}"


class HandleFeed(models.Model):
    """How far a handle's figures have come: `sequence` counts its commits, so a browser can see a gap."""

    handle = models.OneToOneField(Handle, on_delete=models.CASCADE, primary_key=True, related_name="feed")
    sequence = models.BigIntegerField(default=0)
    last_event_at = models.DateTimeField(null=True)
    last_received_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.handle} #{self.sequence}"


class StreamCursor(models.Model):
    """The last stream entry whose events are in the rollups, stored in the same transaction as they are."""

    shard = models.SmallIntegerField(primary_key=True)
    last_entry = models.CharField(max_length=40, default="0-0")
    applied_events = models.BigIntegerField(default=0)
    applied_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "consumer"

    def __str__(self) -> str:
        return f"shard {self.shard} at {self.last_entry}"


class SetAsideEntry(models.Model):
    """A whole stream entry that could not be applied, kept so that an admin can look at it and apply it later."""

    shard = models.SmallIntegerField()
    entry = models.CharField(max_length=40)
    cargo = models.CharField(max_length=1, default="e", db_default="e", help_text="e for events, s for snapshots")
    payload = models.BinaryField()
    error = models.TextField()
    set_aside_at = models.DateTimeField(default=timezone.now)
    applied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "set-aside entries"
        constraints = [models.UniqueConstraint(fields=["shard", "entry"], name="set_aside_once")]

    def __str__(self) -> str:
        return f"shard {self.shard}, entry {self.entry}"


class Rejection(models.Model):
    """One event or snapshot that was refused, where and why. Capped; an admin can replay it."""

    handle = models.ForeignKey(Handle, null=True, blank=True, on_delete=models.CASCADE, related_name="rejections")
    token_id = models.BigIntegerField(null=True)
    cargo = models.CharField(max_length=1, default="e", db_default="e", help_text="e for an event, s for a snapshot")
    index = models.IntegerField("place in its batch")
    field = models.CharField(max_length=40)
    reason = models.CharField(max_length=40)
    detail = models.TextField()
    event = models.JSONField("what was sent", help_text="user_id is removed before it is stored")
    rejected_at = models.DateTimeField(default=timezone.now)
    replayed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class DroppedDay(models.Model):
    """A day whose events have been dropped by retention: `rebuild` leaves its buckets as they are."""

    day = models.DateField(primary_key=True)
    dropped_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return str(self.day)


class StreamRule(models.Model):
    """That a handle is followed by the InsightsTrack streams of a team under a label; its key is the rule's id."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="stream_rules")
    label = models.CharField(max_length=60)
    handle = models.ForeignKey(Handle, on_delete=models.CASCADE, related_name="+")
    tag = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "label", "handle"], name="one_rule_a_handle")]

    def __str__(self) -> str:
        return f"{self.label}: {self.handle}"
