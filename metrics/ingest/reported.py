"""How many people other systems say Tweets have reached: kept as they say it, the newest word of each source."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from django.db import connection

from metrics.ingest.validation import Refusal, refuse_time, tweet_id_of
from metrics.models import Audience, Source

_STATEMENT = Path(__file__).with_name("reported.sql").read_text()


class Report(NamedTuple):
    """So many people a Tweet had reached by then."""

    tweet_id: int
    audience: Audience
    people: int
    as_of: datetime


def keep(source: Source, reports: Iterable[Report]) -> None:
    """Store what a source says of its handle's Tweets; what cannot be is passed over. Raises DatabaseError."""
    now_us = time.time_ns() // 1000
    newest: dict[tuple[int, Audience], Report] = {}
    for report in sorted(reports, key=lambda one: one.as_of):
        with suppress(Refusal):
            refuse_time("as_of", tweet_id_of(report.tweet_id), int(report.as_of.timestamp() * 1e6), now_us)
            newest[report.tweet_id, report.audience] = report
    if not newest:
        return
    told = newest.values()
    columns: dict[str, Any] = {
        "handle_id": source.handle_id,
        "source_id": source.pk,
        "tweet_ids": [report.tweet_id for report in told],
        "audiences": [report.audience.value for report in told],
        "people": [report.people for report in told],
        "instants": [report.as_of for report in told],
    }
    with connection.cursor() as cursor:
        cursor.execute(_STATEMENT, columns)
