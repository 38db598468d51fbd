"""X delivers to a webhook, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import rollups
from metrics.ingest import webhook_chores
from metrics.ingest.webhooks import WebhookDoor
from metrics.models import Source, SourceDay, TweetRollup
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.periods import Grain
from tests.ingest.activity import SECRET, TWEET, address, signed
from tests.ingest.asking import Answer, ask

if TYPE_CHECKING:
    pass


def deliver(source: Source, content: Any, secret: str = SECRET, times: int = 1) -> Answer:
    """X sends this, signed."""
    body, proof = signed(content, secret)
    return ask("POST", address(source), body, headers=(proof,), times=times, made=WebhookDoor)


def counted(handle: Handle, tweet_id: int = TWEET) -> dict[str, int]:
    """The Tweet's lifetime counts that are not zero, after everything that waits is applied and done."""
    webhook_chores.work()
    for shard in stream.shards():
        stream.open_groups(shard)
        writer = rollups.Writer(shard)
        while writer.step(1):
            pass
    row = TweetRollup.objects.filter(handle=handle, tweet_id=tweet_id, grain=Grain.LIFETIME, promoted=False).first()
    return {name: getattr(row, name) for name in NAMES if row is not None and getattr(row, name)}


def today(source: Source) -> SourceDay:
    """What the source says it brought today."""
    return SourceDay.objects.get(source=source)
