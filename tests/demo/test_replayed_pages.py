"""The main job on real input, as its readers see it: CSV and pages of the replayed Tweets equal their files."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.replayed import HANDLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from metrics.demo.cascades import Cascade
    from tests.replayed import Replayed


def instant(moment: datetime) -> str:
    """As a parameter of an address."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M}Z"


def columns(reader: httpx.Client, path: str, names: Sequence[str], **given: str) -> list[tuple[str, ...]]:
    """Some columns of a CSV file."""
    answer = reader.get(path, params={"zone": "UTC", **given})
    assert answer.status_code == 200, answer.text
    rows = csv.reader(answer.text.splitlines())
    header = next(rows)
    return list(zip(*map(itemgetter(*map(header.index, names)), rows), strict=True))


def test_it_tells_every_minute_of_every_file_as_csv(reader: httpx.Client, replayed: Replayed) -> None:
    for cascade in replayed.cascades:
        until = replayed.started_at + timedelta(minutes=int(cascade.ages[-1] // 60) + 1)
        asked = {"since": instant(replayed.started_at), "until": instant(until), "grain": "minute"}
        names = ("until", "retweets", "cumulative_retweets")
        ends, numbers, totals = columns(reader, f"{replayed.page(cascade)}series.csv", names, **asked)
        assert len(ends) == int(cascade.ages[-1] // 60) + 1
        sums = replayed.in_file(cascade, [datetime.fromisoformat(end).timestamp() for end in ends])
        assert list(map(int, totals)) == sums
        assert list(map(int, numbers)) == [now - before for before, now in pairwise([0, *sums])]
        assert sums[-1] == len(cascade.ages)


@pytest.mark.parametrize(("reading", "names"), [("tweets", ["lifetime"]), ("activity", ["period", "lifetime"])])
def test_it_lists_every_tweet_with_its_files_number(
    reader: httpx.Client, replayed: Replayed, reading: str, names: list[str]
) -> None:
    asked = {"since": instant(replayed.started_at), "until": instant(datetime.now(UTC)), "reading": reading}
    for name in names:
        ids, numbers = columns(reader, f"/h/{HANDLE}/tweets.csv", ("tweet_id", f"{name}_retweets"), **asked)
        found = dict(zip(map(int, ids), map(int, numbers), strict=True))
        assert found == {replayed.tweet_id(cascade): len(cascade.ages) for cascade in replayed.cascades}


def embedded(html: str, name: str) -> Any:
    """The data that the page brings for its scripts."""
    found = re.search(rf'<script id="{name}" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found, name
    return json.loads(found[1])


def twin(html: str, name: str) -> list[list[int]]:
    """The figures of a chart's table, row by row."""
    table = html.partition(f'id="twin-{name}"')[2].partition("</table>")[0].partition("<tbody>")[2]
    cells = [re.findall(r'<td class="num">([\d,]+)</td>', row) for row in table.split("</tr>")[:-1]]
    return [[int(cell.replace(",", "")) for cell in row] for row in cells]


@pytest.mark.parametrize("span", ["life", "1h"])
def test_it_shows_every_file_on_its_tweets_page(reader: httpx.Client, replayed: Replayed, span: str) -> None:
    for cascade in replayed.cascades:
        html = reader.get(replayed.page(cascade), params={"zone": "UTC", "range": span}).text
        row = html.partition('<tr data-type="retweets"')[2].partition("</tr>")[0]
        shown = re.findall(r'data-cell="(?:gained|net|organic)">([\d,]+)<', row)
        assert shown == [f"{len(cascade.ages):,}"] * 3
        check_curve(replayed, cascade, html)


def check_curve(replayed: Replayed, cascade: Cascade, html: str) -> None:
    """The drawn curve and its table are the file's, at the end of each bucket; a Retweet is the only engagement."""
    page = embedded(html, "page-data")
    sums = replayed.in_file(cascade, page["edges"][1:])
    (curve,) = [
        trace for trace in embedded(html, "figures")["clock"]["data"] if trace["meta"].get("metric") == "engagements"
    ]
    assert curve["y"] == sums
    assert curve["x"] == [min(edge * 1000, page["served_at"]) for edge in page["edges"][1:]]
    impressions, engagements, social = np.array(twin(html, "clock"))[:, :3].T.tolist()
    assert (engagements, social, set(impressions)) == (sums, sums, {0})
