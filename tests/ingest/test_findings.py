"""What was odd about snapshots stands in the log of whoever sent them, once for all Tweets of a batch."""

from __future__ import annotations

import pytest

from accounts.models import Handle
from metrics.ingest import findings, sources
from metrics.models import SourceNote
from metrics.vocabulary.engagements import CODE
from metrics.vocabulary.snapshots import Finding, Oddity

pytestmark = pytest.mark.django_db
SHOWN, CLICKS = CODE["impressions"], CODE["url_clicks"]


def test_it_notes_each_oddity_once_a_source_and_type(northwind: Handle) -> None:
    source = sources.known(northwind, "api", "nightly")
    findings.note(
        [
            *(Finding(source.pk, tweet, SHOWN, Oddity.CORRECTION, 1_204) for tweet in (20, 21, 22)),
            Finding(source.pk, 20, CLICKS, Oddity.RESTART, 3),
            Finding(source.pk, 20, CLICKS, Oddity.RETURN, 90),
        ]
    )
    assert list(SourceNote.objects.order_by("pk").values_list("text", "is_trouble")) == [
        (
            "The source now says 1,204 impressions of Tweet 20 and 2 more, less than it did before. "
            "Our total stays as it is.",
            True,
        ),
        ("The source seems to count link clicks of Tweet 20 anew from 3. We add what it counts from here on.", True),
        ("The source is back at its former count of link clicks for Tweet 20 (90).", False),
    ]


def test_it_says_nothing_of_a_source_that_is_gone() -> None:
    findings.note([Finding(4_711, 20, SHOWN, Oddity.CORRECTION, 5)])
    assert not SourceNote.objects.exists()
