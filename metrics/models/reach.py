"""People: sketches of who saw and who engaged, what other systems report of them, and the keys they are hashed with."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from accounts.models import Handle
from metrics.models.facts import facts_of
from metrics.vocabulary.periods import Grain

OF_HANDLE = 0
"""In place of a Tweet's id: the sketch is of everything of the handle."""


class Audience(models.IntegerChoices):
    """Which people a sketch holds."""

    SEEN = 0, "people who saw it"
    ENGAGED = 1, "people who engaged"


class ReachSketch(models.Model):
    """A theta sketch of an audience of one Tweet, or of the whole handle: by hour for a week, by day, and ever.

    `epoch` is the key with which the people were hashed: those of two epochs cannot be told apart or matched.
    """

    pk = models.CompositePrimaryKey("handle_id", "tweet_id", "grain", "start", "audience", "epoch")
    handle = facts_of()
    tweet_id = models.BigIntegerField()
    grain = models.SmallIntegerField(choices=[(grain.value, grain.name.lower()) for grain in Grain])
    start = models.DateTimeField()
    audience = models.SmallIntegerField(choices=Audience.choices)
    epoch = models.SmallIntegerField()
    sketch = models.BinaryField()

    class Meta:
        # What retention drops.
        indexes = [models.Index(fields=["start"], name="sketched_hours", condition=models.Q(grain=Grain.HOUR))]

    def __str__(self) -> str:
        return f"{Audience(self.audience).label}, {Grain(self.grain).name.lower()} from {self.start}"


class ReportedReach(models.Model):
    """How many people another system says a Tweet has reached so far; its people cannot be matched with ours."""

    handle = models.ForeignKey(Handle, on_delete=models.CASCADE, related_name="+")
    tweet_id = models.BigIntegerField()
    audience = models.SmallIntegerField(choices=Audience.choices)
    source_id = models.BigIntegerField()
    people = models.BigIntegerField()
    as_of = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["handle", "tweet_id", "audience", "source_id"], name="one_report_a_tweet_and_source"
            )
        ]

    def __str__(self) -> str:
        return f"{self.people:,} {Audience(self.audience).label} as of {self.as_of}"


class PersonEpoch(models.Model):
    """A key with which people are hashed, known by its fingerprint; a new key begins a new epoch."""

    number = models.SmallIntegerField(primary_key=True)
    fingerprint = models.CharField(max_length=32, unique=True)
    began_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "epoch of people"
        verbose_name_plural = "epochs of people"

    def __str__(self) -> str:
        return f"epoch {self.number}, since {self.began_at:%Y-%m-%d %H:%M}"
