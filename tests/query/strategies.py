"""Random events around a moment, for hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from metrics.vocabulary.engagements import TYPES
from metrics.vocabulary.events import snowflake_at
from tests.ledger import Event

NOW = datetime(2026, 4, 8, 10, 7, 23, tzinfo=UTC)
TWEETS = [snowflake_at(NOW - timedelta(days=days, minutes=11), days) for days in (0, 1, 3, 9, 27)]
ZONES = st.sampled_from(
    ["UTC", "Europe/Copenhagen", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham"]
)


@st.composite
def event(draw: st.DrawFn, days: int = 30) -> Event:
    """An event of one of `TWEETS` in the last so many days."""
    kind = draw(st.sampled_from(TYPES))
    ago = timedelta(seconds=draw(st.integers(0, days * 86_400)))
    promoted = kind.promotable and draw(st.booleans())
    return Event(draw(st.sampled_from(TWEETS)), NOW - ago, kind.name, draw(st.integers(1, 1000)), promoted)


EVENTS = st.lists(event(), max_size=40)
