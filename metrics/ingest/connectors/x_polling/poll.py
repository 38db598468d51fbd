"""One poller's work: count whose turn it is, list new Tweets, read the analytics; then say when to come again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

from metrics.ingest.connectors import DisconnectedError, LimitedError, Shift, SourceError
from metrics.ingest.connectors.x_polling import blocks
from metrics.ingest.connectors.x_polling.blocks import Door
from metrics.ingest.connectors.x_polling.client import Answer, Client, Refused, kind_of
from metrics.ingest.connectors.x_polling.ledger import Endpoint, Ledger, missed
from metrics.ingest.connectors.x_polling.schedule import Schedule, Turn, soonest
from metrics.ingest.intake import Delivery
from metrics.models import MetricBlocks, PolledTweet
from metrics.vocabulary.periods import HOUR, floor

# X tells the private blocks for so long after a Tweet was sent.
PRIVATE_FOR = timedelta(days=30)
CLOSING_FOR = timedelta(days=1)
LIST_EVERY = timedelta(minutes=1)
PAGE = 100
# Refused analytics are asked for again after this: a plan may have been changed meanwhile. What is wrong with one
# question need not be with the next.
REST, SHORT_REST = timedelta(days=1), timedelta(hours=1)
SKEW_NOTED = timedelta(seconds=30)
_PUBLIC, _OWN = "public_metrics", "public_metrics,non_public_metrics,organic_metrics"
FIELDS: Mapping[str, Mapping[str, str]] = {
    MetricBlocks.ALL: {
        "tweet.fields": f"{_OWN},promoted_metrics",
        "expansions": "attachments.media_keys",
        "media.fields": "type,non_public_metrics,organic_metrics,promoted_metrics",
    },
    MetricBlocks.OWN: {
        "tweet.fields": _OWN,
        "expansions": "attachments.media_keys",
        "media.fields": "type,non_public_metrics,organic_metrics",
    },
    MetricBlocks.PUBLIC: {"tweet.fields": _PUBLIC},
}
LISTED: Mapping[str, str] = {
    "max_results": str(PAGE),
    # A Retweet's counts are another account's.
    "exclude": "retweets",
    "tweet.fields": "created_at,text,attachments,entities",
    "expansions": "attachments.media_keys",
    "media.fields": "type",
}
_FINAL = {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
NOT_FOUND, HIDDEN, NO_FIELD = "resource-not-found", "not-authorized-for-resource", "not-authorized-for-field"


def blocks_of(row: PolledTweet, now: datetime) -> MetricBlocks:
    """Which blocks may be asked for: the public one alone once the Tweet is 30 days old."""
    return MetricBlocks.PUBLIC if now - row.created_at >= PRIVATE_FOR else MetricBlocks(row.blocks)


class Poll:
    """The work of one shift on one source."""

    def __init__(self, shift: Shift, ledger: Ledger, client: Client) -> None:
        self._shift, self._ledger, self._client = shift, ledger, client
        self._rows: dict[int, PolledTweet] = {}
        self._is_stale = True

    async def work(self) -> datetime | None:
        """Poll all that is due; returns the next due instant, or None when the shift ended before."""
        while not self._shift.is_over:
            if self._is_stale:
                rows = await self._shift.do(self._ledger.tweets)
                self._rows, self._is_stale = {row.tweet_id: row for row in rows}, False
            now = datetime.now(UTC)
            if call := self._counting(now).next_call():
                await self._count(call)
            elif self._list_at(now) <= now:
                await self._list()
            elif call := self._analysing(now).next_call():
                await self._analyse(call)
            else:
                return await self._rest(now)
        return None

    async def _rest(self, now: datetime) -> datetime:
        counting = self._counting(now)
        sentence = counting.sentence()
        if sentence != self._ledger.cursor.get("schedule"):
            await self._shift.do(partial(self._ledger.move, schedule=sentence))
        if self._ledger.cursor.get("page"):
            await self._shift.catching_up("reading the account's Tweets page by page, as fast as X allows")
        else:
            await self._shift.live()
        due = soonest([counting.next_at(), self._list_at(now), self._analysing(now).next_at()])
        return max(due or now, now + timedelta(seconds=1))

    # --- the counts ---

    def _counting(self, now: datetime) -> Schedule:
        turns = [
            Turn(row.tweet_id, row.created_at, row.found_at, _past(row.counted_at, now), blocks_of(row, now))
            for row in self._rows.values()
        ]
        return Schedule(turns, self._ledger.allowance(Endpoint.TWEETS, now), now)

    async def _count(self, call: Sequence[Turn]) -> None:
        asked = MetricBlocks(call[0].group)
        params = {"ids": ",".join(str(turn.tweet_id) for turn in call), **FIELDS[asked]}
        try:
            answer = await self._client.ask("/2/tweets", params, Endpoint.TWEETS)
        except Refused as refused:
            raise _meaning(refused) from refused
        await self._check_clock()
        reading = Reading(answer, asked, datetime.now(UTC))
        reading.read([self._rows[turn.tweet_id] for turn in call])
        if reading.snapshots:
            await self._take(Delivery(snapshots=reading.snapshots))
        await self._shift.do(partial(self._ledger.keep, reading.rows))
        for text in reading.notes():
            await self._shift.note(text, is_trouble=True)
        self._is_stale = bool(reading.gone)
        await self._shift.heard()

    async def _take(self, delivery: Delivery) -> None:
        receipt = await self._shift.take(delivery)
        for kind, _, refusal in receipt.refused[:1]:
            text = f"{len(receipt.refused)} of what X sent was refused, first a {kind}: {refusal.detail}"
            await self._shift.note(text, is_trouble=True)

    async def _check_clock(self) -> None:
        skew = self._client.skew
        is_off = abs(skew) > SKEW_NOTED
        if is_off != self._ledger.cursor.get("is_clock_off", False):
            await self._shift.do(partial(self._ledger.move, is_clock_off=is_off))
            if is_off:
                seconds = int(abs(skew).total_seconds())
                text = f"This machine's clock and X's differ by {seconds:,} seconds; set this one by NTP."
                await self._shift.note(text, is_trouble=True)

    # --- the list of Tweets ---

    def _list_at(self, now: datetime) -> datetime:
        allowance = self._ledger.allowance(Endpoint.TIMELINE, now)
        listed_at = self._ledger.cursor.get("listed_at")
        if self._ledger.cursor.get("page") or not listed_at:
            return allowance.free_at(now)
        due = datetime.fromisoformat(listed_at) + max(LIST_EVERY, allowance.window / allowance.limit)
        return max(due, allowance.free_at(now))

    async def _list(self) -> None:
        """Read one page of the timeline, newest first, from where the last pass began to where this one stands."""
        cursor = self._ledger.cursor
        page: dict[str, str] = cursor.get("page") or {}
        params = dict(LISTED)
        if since_id := cursor.get("since_id"):
            params["since_id"] = since_id
        if token := page.get("token"):
            params["pagination_token"] = token
        user_id = self._shift.source.settings.get("user_id")
        if not user_id:
            raise DisconnectedError("The connection does not say which X account it is for. Connect it again.")
        try:
            answer = await self._client.ask(f"/2/users/{user_id}/tweets", params, Endpoint.TIMELINE)
        except Refused as refused:
            await self._begin_again(refused, is_page=bool(token), is_since=bool(since_id))
            return
        await self._store(answer, page)

    async def _begin_again(self, refused: Refused, is_page: bool, is_since: bool) -> None:
        """A place in the timeline that X knows no more is given up: reading Tweets again changes nothing."""
        if refused.status != HTTPStatus.BAD_REQUEST or not (is_page or is_since):
            raise _meaning(refused) from refused
        await self._shift.note(f"The list of Tweets is read again from its beginning. {refused.reason}")
        changes = {"page": None} if is_page else {"since_id": None}
        await self._shift.do(partial(self._ledger.move, **changes))

    async def _store(self, answer: Answer, page: Mapping[str, str]) -> None:
        source, body = self._shift.source, answer.body
        media = blocks.included(body)
        username = str(source.settings.get("username", ""))
        tweets = [blocks.tweet_of(tweet, media, username) for tweet in blocks.tweets_in(body)]
        if not tweets:
            _refuse_account(body)
        if tweets:
            await self._take(Delivery(tweets=tweets))
            found = [(int(tweet.id), tweet.created_at) for tweet in tweets]
            await self._shift.do(partial(self._ledger.found, found))
            self._is_stale = True
        meta = body.get("meta")
        token = meta.get("next_token") if isinstance(meta, dict) else None
        newest = max([*(int(tweet.id) for tweet in tweets), int(page.get("newest", 0))])
        await self._shift.do(partial(self._ledger.move, **self._place(token, newest)))

    def _place(self, token: object, newest: int) -> dict[str, object]:
        """Where the next page begins, or after the last page, which Tweets need not be listed again."""
        if isinstance(token, str) and token:
            return {"page": {"token": token, "newest": str(newest)}}
        since_id = max(newest, int(self._ledger.cursor.get("since_id") or 0))
        listed_at = datetime.now(UTC).isoformat()
        return {"page": None, "since_id": str(since_id) if since_id else None, "listed_at": listed_at}

    # --- the analytics ---

    def _analysing(self, now: datetime) -> Schedule:
        """Every hour at most: the analytics are asked for up to the last full hour (see `_analyse`)."""
        hour, rests = self._last_hour(now), self._ledger.cursor.get("rests", {})
        turns = [
            Turn(row.tweet_id, row.created_at, row.found_at, _past(row.analysed_at, now), _analytics_group(row, now))
            for row in self._rows.values()
            if row.created_at < hour and not _rests(rests, _analytics_group(row, now), now)
        ]
        return Schedule(turns, self._ledger.allowance(Endpoint.ANALYTICS, now), now, least=HOUR)

    def _last_hour(self, now: datetime) -> datetime:
        """The last full hour by our clock and by X's: an end that lies in X's future would be refused."""
        return floor(now - max(self._client.skew, timedelta()), HOUR)

    async def _analyse(self, call: Sequence[Turn]) -> None:
        """Read lifetime totals: one bucket from before the Tweets' creation to the last full hour by X's clock.

        X cuts windows at full hours, and whether it floors or ceils their ends is its own affair. A full hour is its
        own floor and ceiling, so it is certain as of when these totals count.
        """
        rows = [self._rows[turn.tweet_id] for turn in call]
        end = self._last_hour(datetime.now(UTC))
        params = {
            "ids": ",".join(str(row.tweet_id) for row in rows),
            "start_time": f"{floor(min(row.created_at for row in rows), HOUR):%Y-%m-%dT%H:%M:%SZ}",
            "end_time": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "granularity": "total",
            "analytics.fields": ",".join(("timestamp", *blocks.ANALYTICS_FIELDS)),
        }
        try:
            answer = await self._client.ask("/2/tweets/analytics", params, Endpoint.ANALYTICS)
        except LimitedError:
            return  # the client has closed the endpoint until then; the counts go on
        except Refused as refused:
            await self._let_rest(call[0].group, refused)
            return
        await self._store_analytics(answer, rows, min(end, answer.as_of))

    async def _store_analytics(self, answer: Answer, rows: list[PolledTweet], as_of: datetime) -> None:
        now = datetime.now(UTC)
        by_id = {row.tweet_id: row for row in rows}
        found = []
        for tweet in blocks.tweets_in(answer.body):
            if row := by_id.get(blocks.number_of(tweet["id"])):
                is_closed = blocks_of(row, now) is MetricBlocks.PUBLIC
                found.append(blocks.analysed(tweet, row.created_at, as_of, is_closed))
        if snapshots := [snapshot for snapshot in found if snapshot]:
            await self._take(Delivery(snapshots=snapshots))
        for row in rows:
            row.analysed_at = now
        await self._shift.do(partial(self._ledger.keep, rows))
        await self._shift.heard()

    async def _let_rest(self, group: str, refused: Refused) -> None:
        rest, words = (SHORT_REST, "an hour") if refused.status == HTTPStatus.BAD_REQUEST else (REST, "a day")
        rests = self._ledger.cursor.get("rests", {}) | {group: (datetime.now(UTC) + rest).isoformat()}
        await self._shift.do(partial(self._ledger.move, rests=rests))
        what = f"analytics (follows, hashtag clicks and more) of {group} Tweets"
        text = f"X does not give the {what}; asked for again in {words}. {refused.reason}"
        await self._shift.note(text, is_trouble=True)


@dataclass(slots=True)
class Reading:
    """What one answer said of the Tweets that it was asked about."""

    answer: Answer
    asked: MetricBlocks
    now: datetime
    snapshots: list[Any] = field(default_factory=list)
    rows: list[PolledTweet] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def read(self, rows: Iterable[PolledTweet]) -> None:
        """Take every Tweet that was told, and learn from the problems why the others were not."""
        told = {blocks.number_of(tweet["id"]): tweet for tweet in blocks.tweets_in(self.answer.body)}
        media = blocks.included(self.answer.body)
        problems: dict[int, list[Mapping[str, Any]]] = {}
        for problem in blocks.problems_in(self.answer.body):
            tweet_id = blocks.number_of(problem.get("resource_id") or problem.get("value"))
            problems.setdefault(tweet_id, []).append(problem)
        for row in rows:
            self.rows.append(row)
            if tweet := told.get(row.tweet_id):
                self._counted(row, tweet, media)
            else:
                self._left_out(row, problems.get(row.tweet_id, []))

    def _counted(self, row: PolledTweet, tweet: blocks.Json, media: Mapping[str, blocks.Json]) -> None:
        said = blocks.said(tweet, media, self.answer.as_of, row.split, self._door(row))
        self.snapshots += said.snapshots
        row.counted_at, row.missing, row.split = self.now, 0, sorted(said.split)
        if self.asked is MetricBlocks.OWN and blocks.is_promoted(tweet):
            row.blocks = MetricBlocks.ALL

    def _door(self, row: PolledTweet) -> Door:
        if self.asked is MetricBlocks.PUBLIC:
            return Door.CLOSED
        return Door.CLOSING if self.now - row.created_at >= PRIVATE_FOR - CLOSING_FOR else Door.OPEN

    def _left_out(self, row: PolledTweet, problems: Sequence[Mapping[str, Any]]) -> None:
        kinds = {kind_of(problem) for problem in problems}
        fields = [str(problem.get("field", "")) for problem in problems if kind_of(problem) == NO_FIELD]
        if fields and self.asked is not MetricBlocks.PUBLIC:
            # X leaves out a Tweet of which it may not tell one field; it is asked about again at once, for less.
            is_promoted = all(name.startswith("promoted_metrics") for name in fields)
            row.blocks = MetricBlocks.OWN if is_promoted and self.asked is MetricBlocks.ALL else MetricBlocks.PUBLIC
            return
        row.counted_at = self.now
        if NOT_FOUND in kinds:
            if missed(row, self.now):
                self.gone.append(row.tweet_id)
        elif problems:
            self.refused.append(str(problems[0].get("detail") or problems[0].get("title") or "no reason given"))

    def notes(self) -> list[str]:
        """What people should know of the Tweets that were not told."""
        notes = []
        if self.gone:
            few = ", ".join(map(str, self.gone[:5])) + (" …" if len(self.gone) > 5 else "")
            notes.append(f"Deleted on X and no longer asked about; what was counted stays: {few}")
        if self.refused:
            notes.append(f"X does not tell the counts of {len(self.refused)} Tweets for now: {self.refused[0][:300]}")
        return notes


def _past(instant: datetime | None, now: datetime) -> datetime | None:
    """The instant, but never in the future: a clock that was set back must not hold a Tweet up."""
    return min(instant, now) if instant else None


def _analytics_group(row: PolledTweet, now: datetime) -> str:
    return "older" if blocks_of(row, now) is MetricBlocks.PUBLIC else "recent"


def _rests(rests: Mapping[str, str], group: str, now: datetime) -> bool:
    return group in rests and datetime.fromisoformat(rests[group]) > now


def _meaning(refused: Refused) -> SourceError:
    """A question that X always refuses ends the connection; one that it may refuse for a while does not."""
    return DisconnectedError(refused.reason) if refused.status in _FINAL else refused


def _refuse_account(body: Mapping[str, Any]) -> None:
    """Raise DisconnectedError where a page is empty because X does not show the account."""
    for problem in blocks.problems_in(body):
        if kind_of(problem) in {NOT_FOUND, HIDDEN}:
            told = str(problem.get("detail") or problem.get("title") or "")
            raise DisconnectedError(f"X does not show this account any more (deleted or suspended?). {told[:300]}")
