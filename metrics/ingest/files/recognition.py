"""Which format a file is, by what is in it, whatever it is called."""

from __future__ import annotations

from collections.abc import Iterator

from metrics.ingest.files import own_tables
from metrics.ingest.files.formats import Format, Glimpse
from metrics.ingest.files.own_events import OwnEvents
from metrics.ingest.files.own_tables import OwnTweets, OwnTweetSeries
from metrics.ingest.files.problems import FileError
from metrics.ingest.files.tables import DELIMITERS, sample
from metrics.ingest.files.x_days import XDaily, XOverview
from metrics.ingest.files.x_tweets import XContent, XTweetActivity

TABLES = (OwnTweets, OwnTweetSeries, XTweetActivity, XContent, XDaily, XOverview)
FORMATS: tuple[type[Format], ...] = (*TABLES, OwnEvents)
KNOWN = (
    "X's exports (Tweet activity, content, overview), InsightsTrack's own CSV of Tweets or of a Tweet's series, and "
    "NDJSON of events"
)


def recognised(head: str, filename: str) -> Format:
    """The format of a file that begins so; raises FileError when it is none that can be imported."""
    if head.lstrip().startswith("<"):
        raise FileError(
            "This is a web page (HTML), not an export: often the sign-in page, saved in its place. Export again."
        )
    if head.lstrip().startswith("["):
        raise FileError(
            "This is one JSON array. Write one event a line (NDJSON), without the brackets and commas between."
        )
    events = OwnEvents.of(head)
    if events:
        return events
    glimpses = list(_glimpses(head, filename))
    for glimpse in glimpses:
        for table in TABLES:
            found: Format | None = table.of(glimpse)
            if found:
                return found
        own_tables.refuse_others(glimpse)
    first = head.strip().partition("\n")[0][:80].strip()
    raise FileError(f"This file is none that can be imported: it begins with “{first}”. Known are {KNOWN}.")


def _glimpses(head: str, filename: str) -> Iterator[Glimpse]:
    """The beginning as a table, for each delimiter that gives columns: X writes commas, some spreadsheets others."""
    for delimiter in DELIMITERS:
        rows = sample(head, delimiter)
        if rows and len(rows[0]) > 1 and any(name.strip() for name in rows[0]):
            header = [name.strip() for name in rows[0]]
            while not header[-1]:
                header.pop()
            yield Glimpse(filename, delimiter, header, rows[1:])
