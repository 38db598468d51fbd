"""A Tweet's tags as one text, as files hold them: between spaces, in double quotes where a tag has a space itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def written(tags: Iterable[str]) -> str:
    """The tags as one text: `coffee "spring sale"`."""
    text = io.StringIO()
    csv.writer(text, delimiter=" ", lineterminator="").writerow(tags)
    return text.getvalue()


def read(text: str) -> list[str]:
    """The tags of such a text."""
    try:
        found = next(csv.reader([text], delimiter=" "), [])
    except csv.Error:  # some file's odd characters: then every word is a tag
        found = text.split()
    return [tag for tag in found if tag.strip()]
