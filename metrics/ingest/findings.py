"""What the writers found odd about snapshots, told in the log of the source that said it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from metrics.ingest import sources
from metrics.models import Source
from metrics.vocabulary.engagements import TYPES
from metrics.vocabulary.snapshots import Finding, Oddity

_SENTENCES = {
    Oddity.CORRECTION: "now says {said:,} {label} of {tweets}, less than it did before. Our total stays as it is.",
    Oddity.RESTART: "seems to count {label} of {tweets} anew from {said:,}. We add what it counts from here on.",
    Oddity.RETURN: "is back at its former count of {label} for {tweets} ({said:,}).",
}


def note(findings: Iterable[Finding]) -> None:
    """One note for each source, oddity and type, however many Tweets it is about; none for sources that are gone."""
    grouped: dict[tuple[int, Oddity, int], list[Finding]] = defaultdict(list)
    for finding in findings:
        grouped[finding.source, finding.oddity, finding.type].append(finding)
    known = Source.objects.in_bulk({source for source, _, _ in grouped})
    for (source, oddity, code), found in grouped.items():
        if source in known:
            sources.note(known[source], _sentence(oddity, code, found), is_trouble=oddity is not Oddity.RETURN)


def _sentence(oddity: Oddity, code: int, found: list[Finding]) -> str:
    others = len(found) - 1
    tweets = f"Tweet {found[0].tweet_id}" + (f" and {others:,} more" if others else "")
    label = TYPES[code].label.lower()
    return f"The source {_SENTENCES[oddity].format(said=found[0].said, label=label, tweets=tweets)}"
