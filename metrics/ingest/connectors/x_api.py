"""X's API: the Tweets of a connected account and their counts, polled as often as X allows.

- `GET /2/users/{id}/tweets` lists new Tweets; the cursor keeps `since_id`, and within a pass the next page.
- `GET /2/tweets` gives the metric blocks of 100 Tweets a call (`x_polling.blocks`), by an own schedule for each Tweet's
  age (`x_polling.schedule`) within what X allows (`x_polling.limits`).
- `GET /2/tweets/analytics` adds what the blocks lack: follows, clicks on hashtags, details and permalinks, app actions,
  e-mails, 3-second video views. Only with `granularity=total` and only from before the Tweet's creation on, because a
  snapshot is a lifetime's total: a sum of hourly or daily buckets, some read earlier, some null, is no total as of any
  instant.

All of them become snapshots; what they add to the events that came by webhook is the aggregator's to find.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from channels.db import database_sync_to_async

from accounts.models import Platform
from metrics.ingest import x_account
from metrics.ingest.connectors import Connector, DisconnectedError, Shift, SourceError
from metrics.ingest.connectors.x_polling.client import Client, connect
from metrics.ingest.connectors.x_polling.ledger import Endpoint, Ledger, SupersededError
from metrics.ingest.connectors.x_polling.poll import Poll
from metrics.models import Source

# A poller that another one has overtaken looks again after this: whoever holds the lease by then goes on.
OVERTAKEN_PAUSE = timedelta(seconds=10)


class XApi(Connector):
    """Polls X in the name of the connected account."""

    kind = x_account.KIND
    label = "X API"
    description = "Your Tweets and their counts, read from X every minute while they are young."
    platforms = frozenset({Platform.X.value})
    silent_after_seconds = 3 * 3600
    connect_url = "connect_x"

    async def run(self, shift: Shift) -> datetime | None:
        """Poll all that is due; returns when the next Tweet's turn comes."""
        ledger: Ledger = await shift.do(partial(Ledger, shift.source.pk))
        async with connect() as http:

            async def token(refused: str) -> str:
                return await shift.do(partial(x_account.access_token, shift.source, refused))

            try:
                return await Poll(shift, ledger, Client(http, token, _Books(shift, ledger))).work()
            except SupersededError as error:
                await shift.note(str(error))
                return datetime.now(UTC) + OVERTAKEN_PAUSE
            except DisconnectedError:
                await shift.do(partial(x_account.doubt, shift.source))
                raise

    async def test(self, source: Source) -> str:
        """Ask X who we are; one sentence. Raises SourceError."""

        async def token(refused: str) -> str:
            return str(await database_sync_to_async(x_account.access_token)(source, refused))

        async with connect() as http:
            answer = await Client(http, token).ask("/2/users/me", {"user.fields": "username"})
        me = answer.body.get("data")
        if not isinstance(me, dict) or not me.get("username"):
            raise SourceError("X answers, but does not say whose access this is.")
        expected = str(source.settings.get("user_id", ""))
        if expected and str(me.get("id")) != expected:
            raise SourceError(f"This access belongs to @{me['username']}, which is another account. Connect it again.")
        return f"X answers and knows this connection as @{me['username']}. {self.outlook(source)}".strip()

    def forget(self, source: Source) -> None:
        """End the access at X, too."""
        x_account.disconnect(source, by="removing the source")

    def outlook(self, source: Source) -> str:
        """The schedule right now: how many Tweets are asked about how often, and why not more often."""
        return str(source.cursor.get("schedule", ""))


class _Books:
    """The ledger, for the client: its work is done in the source's own thread."""

    def __init__(self, shift: Shift, ledger: Ledger) -> None:
        self._shift, self._ledger = shift, ledger

    async def spend(self, endpoint: Endpoint) -> None:
        await self._shift.do(partial(self._ledger.spend, endpoint, datetime.now(UTC)))

    async def learn(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        await self._shift.do(partial(self._ledger.learn, endpoint, headers, datetime.now(UTC)))

    async def close_until(self, endpoint: Endpoint, until: datetime) -> None:
        await self._shift.do(partial(self._ledger.close_until, endpoint, until))
