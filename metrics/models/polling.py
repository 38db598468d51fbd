"""What a polling source asks its platform about: one row a Tweet, bounded by the source's kind."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from metrics.models.sources import Source


class MetricBlocks(models.TextChoices):
    """Which metric blocks of a Tweet the platform lets us ask for."""

    ALL = "all", "all blocks"
    OWN = "own", "all but the promoted one"
    PUBLIC = "public", "the public one"


class PolledTweet(models.Model):
    """A Tweet that a source asks about: when it was counted and analysed last, and what it may be asked.

    `split` names the engagement types that came apart into organic and promoted; they are never taken from a
    combined block while the private blocks are open. `missing` counts how often in a row the Tweet was not found;
    `gone_at` is when that was believed: it is asked about no more, and its totals stay.
    """

    pk = models.CompositePrimaryKey("source_id", "tweet_id")
    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="polled_tweets")
    tweet_id = models.BigIntegerField()
    created_at = models.DateTimeField()
    found_at = models.DateTimeField(default=timezone.now)
    counted_at = models.DateTimeField(null=True)
    analysed_at = models.DateTimeField(null=True)
    blocks = models.CharField(max_length=6, choices=MetricBlocks.choices, default=MetricBlocks.ALL)
    split = ArrayField(models.CharField(max_length=30), default=list)
    missing = models.SmallIntegerField(default=0)
    gone_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"Tweet {self.tweet_id} of {self.source_id}"
