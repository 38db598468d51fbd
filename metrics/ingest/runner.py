"""The runner of a source: its connector at work for a shift, one runner a source wherever it runs.

A shift holds the source's lease in Redis; who cannot renew it stops at once, so that two never work the same source for
long. After about a minute the shift ends if other sources wait for a thread; if none does, it goes on, and an open
connection with it. How the attempts went becomes the source's state: only a connector says that it is live.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import redis.asyncio
import structlog
from django.conf import settings
from django.db.models import F, Q, QuerySet
from redis.asyncio.lock import Lock
from redis.exceptions import LockError, RedisError

from accounts.sealing import BrokenSealError
from metrics import stream
from metrics.ingest import intake, sources
from metrics.ingest.connectors import Connector, DisconnectedError, LimitedError, Shift, SourceError, registry
from metrics.ingest.desk import AWAY, BacklogError, Desk, Result
from metrics.ingest.intake import Delivery, Receipt
from metrics.models import Outage, Source, SourceState

log = structlog.get_logger(__name__)

LEASE_SECONDS, RENEW_SECONDS = 10, 2.0
SHIFT_SECONDS = 60.0
STEP_SECONDS = 0.2  # between looks at whether the worker is to stop
LOOK_SECONDS = 1.5  # between looks at whether somebody has moved the source
HEARD_SECONDS = 2.0  # between two notes of a sign of life
GRACE_SECONDS = 1.0  # in which a connector may end by itself when its shift is over
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.8, 60.0
STEADY_SECONDS = 30.0  # a connection that lived so long was good: the next failure is a first one
OVERDUE = timedelta(seconds=60)
PATIENCE_SECONDS = 5.0  # a longer pause is not waited for in a thread


@dataclass(frozen=True, slots=True)
class Terms:
    """What a shift asks the worker in which it runs."""

    is_stopping: Callable[[], bool]
    is_wanted: Callable[[], bool]
    """Whether other sources wait for a thread; may raise RedisError."""


def lease_key(source_id: int | Literal["*"]) -> str:
    """The Redis key that who runs the source holds, and renews."""
    return f"lease:source:{source_id}"


def waiting(now: datetime) -> list[int]:
    """The sources that are due and that nobody runs, longest due first. Raises RedisError and DatabaseError."""
    return _not_held(_runnable(now))


def overdue(now: datetime) -> list[int]:
    """Those of them that have waited for so long that no worker can have had a thread for them."""
    since = now - OVERDUE
    unheard = Q(last_heard_at=None) | Q(last_heard_at__lt=since)
    return _not_held(_runnable(since).filter(unheard, state_since__lt=since))


def held() -> int:
    """How many sources are being run now. Raises RedisError."""
    return sum(1 for _ in stream.client().scan_iter(match=lease_key("*"), count=1_000))


def _runnable(now: datetime) -> QuerySet[Source]:
    kinds = [connector.kind for connector in registry().values() if connector.is_run]
    return Source.objects.filter(sources.is_due(now), kind__in=kinds)


def _not_held(due: QuerySet[Source]) -> list[int]:
    ids = list(due.order_by(F("due_at").asc(nulls_first=True)).values_list("pk", flat=True))
    holders: list[Any] = stream.client().mget(map(lease_key, ids)) if ids else []
    return [source_id for source_id, holder in zip(ids, holders, strict=True) if holder is None]


def run(source_id: int, terms: Terms) -> bool:
    """Work the source for a shift; whether its next shift should begin at once.

    Nothing happens when somebody else runs it, or when it is not due.
    """
    try:
        return asyncio.run(_hold(source_id, terms))
    except AWAY as error:
        # Nothing is lost: the cursor stands where the last delivery left it, and beat starts the source again.
        log.warning("source_interrupted", source=source_id, error=str(error).strip())
        return False


async def _hold(source_id: int, terms: Terms) -> bool:
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2) as client:
        lease = client.lock(lease_key(source_id), timeout=LEASE_SECONDS, blocking=False, thread_local=False)
        if not await lease.acquire(token=stream.lease_token()):
            return False
        over = asyncio.Event()
        desk = Desk(over)
        try:
            source = await desk.do(lambda: _begun(source_id))
            return source is not None and await LeasedShift(source, desk, over, terms).work(lease)
        finally:
            desk.close()
            await _release(lease)


def _begun(source_id: int) -> Source | None:
    """The source, if it is due; a time in which nobody ran it is noted."""
    source = _runnable(datetime.now(UTC)).select_related("handle").filter(pk=source_id).first()
    if source is not None:
        sources.note_gap(source)
    return source


async def _release(lease: Lock) -> None:
    try:
        await lease.release()
    except RedisError as error:
        log.info("lease_gone", error=str(error))


class BackOff:
    """Pauses between attempts: the first is short, each next one twice as long, with jitter."""

    def __init__(self, already: float = 0.0) -> None:
        """`already`: for how many seconds attempts have been failing."""
        self._last = min(already, LONGEST_PAUSE_SECONDS)

    def after(self, ran_for: float) -> float:
        """Seconds to wait after an attempt that took so long."""
        is_first = ran_for >= STEADY_SECONDS or self._last < FIRST_PAUSE_SECONDS
        self._last = FIRST_PAUSE_SECONDS if is_first else min(self._last * 2, LONGEST_PAUSE_SECONDS)
        # So that the sources of a platform that comes back do not march in step.
        return self._last * random.uniform(0.5, 1)  # noqa: S311  no secret


class LeasedShift(Shift):
    """One shift: the attempts of a connector, and the watch over lease, worker and the source's row meanwhile."""

    def __init__(self, source: Source, desk: Desk, over: asyncio.Event, terms: Terms) -> None:
        self.source = source
        self._desk, self._over, self._terms = desk, over, terms
        self._connector: Connector = registry()[source.kind]
        self._state_since = source.state_since
        """Since when the source is in the state that this shift found or put it in."""
        self._is_lost = False
        self._heard_at = 0.0
        self._lag_ms: int | None = None

    # --- what connectors use; see `connectors.Shift` ---

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    async def take(self, delivery: Delivery, cursor: dict[str, Any] | None = None) -> Receipt:
        return await self._desk.do(lambda: self._store(delivery, cursor))

    async def live(self, lag_ms: int | None = None) -> None:
        if self.source.state != SourceState.LIVE:
            await self._enter(SourceState.LIVE)
            self._heard_at = 0.0
        await self.heard(lag_ms)

    async def catching_up(self, reason: str = "") -> None:
        await self._enter(SourceState.CATCHING_UP, reason)

    async def heard(self, lag_ms: int | None = None) -> None:
        self._lag_ms = self._lag_ms if lag_ms is None else lag_ms
        now = time.monotonic()
        if now - self._heard_at >= HEARD_SECONDS:
            self._heard_at = now
            await self._desk.do(lambda: sources.heard(self.source, lag_ms=self._lag_ms))

    async def do(self, work: Callable[[], Result]) -> Result:
        return await self._desk.do(work)

    async def note(self, text: str, is_trouble: bool = False) -> None:
        await self._desk.do(lambda: sources.note(self.source, text, is_trouble))

    def _store(self, delivery: Delivery, cursor: dict[str, Any] | None) -> Receipt:
        # Asked first: while the database is away, trying again must not append the same events each time.
        Source.objects.only("pk").get(pk=self.source.pk)
        if stream.backlog(stream.shard_of(self.source.handle_id)) > settings.BACKLOG_LIMIT:
            raise BacklogError("the writers are too far behind")
        receipt = intake.take(self.source, delivery)
        if cursor is not None:
            Source.objects.filter(pk=self.source.pk).update(cursor=cursor)
            self.source.cursor = cursor
        return receipt

    # --- the shift itself ---

    async def work(self, lease: Lock) -> bool:
        """Attempt by attempt until the shift is over; whether the next one should begin at once."""
        watches = [asyncio.create_task(watch) for watch in (self._keep(lease), self._heed(), self._look())]
        try:
            goes_on = await self._attempts()
            return goes_on and not self._is_lost
        finally:
            for watch in watches:
                watch.cancel()

    async def _attempts(self) -> bool:
        back_off = BackOff(await self._desk.do(self._failing_for))
        while not self._over.is_set():
            began = time.monotonic()
            attempt = await self._attempt()
            if attempt.cancelled():
                break
            pause = await self._settle(attempt, back_off, time.monotonic() - began)
            if pause is None:
                return self._over.is_set()
            await self._wait(pause)
        return True

    async def _attempt(self) -> asyncio.Task[datetime | None]:
        """Run the connector to its end, or until the shift is over."""
        running = asyncio.create_task(self._connector.run(self))
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not running.done():
            await asyncio.wait({running}, timeout=0 if self._is_lost else GRACE_SECONDS)
            running.cancel()
            await asyncio.wait({running})
        return running

    async def _settle(self, attempt: asyncio.Task[datetime | None], back_off: BackOff, ran_for: float) -> float | None:
        """Put the source into the state that the attempt left; seconds until the next one, None: not in this shift."""
        error = attempt.exception()
        if error is None:
            due_at = attempt.result()
            if due_at is None:
                return max(0.0, 1.0 - ran_for)  # a connector that has nothing to do must not spin
            await self._enter(SourceState(self.source.state), self.source.reason, due_at)
        elif isinstance(error, DisconnectedError):
            await self._enter(SourceState.DISCONNECTED, error.reason)
        elif isinstance(error, BrokenSealError):
            reason = "Its secrets are sealed under another key; remove it and connect it again."
            await self._enter(SourceState.DISCONNECTED, reason)
        elif isinstance(error, LimitedError):
            await self._enter(SourceState.LIMITED, error.reason, error.until)
        elif not self._over.is_set():
            return await self._fail(self._reason_of(error), back_off.after(ran_for))
        return None

    def _reason_of(self, error: BaseException) -> str:
        if isinstance(error, SourceError):
            return error.reason
        log.error("connector_failed", source=self.source.pk, kind=self.source.kind, exc_info=error)
        return f"Something unexpected happened ({type(error).__name__}); the server's log has the details."

    async def _fail(self, reason: str, pause: float) -> float | None:
        await self._enter(SourceState.FAILING, reason, datetime.now(UTC) + timedelta(seconds=pause))
        return pause if pause <= PATIENCE_SECONDS else None

    async def _enter(self, state: SourceState, reason: str = "", due_at: datetime | None = None) -> None:
        """Move the source, unless somebody else has, or runs it by now: then the shift is over."""

        def move() -> None:
            sources.enter(self.source, state, reason, due_at, since=self._state_since)
            self._state_since = self.source.state_since

        if self._is_lost:
            return
        try:
            await self._desk.do(move)
        except (sources.MovedError, Source.DoesNotExist):
            self._over.set()

    def _failing_for(self) -> float:
        """For how many seconds the source has been failing, as far back as its open outage goes."""
        outage = Outage.objects.filter(source=self.source, until=None).first()
        if outage is None or self.source.state != SourceState.FAILING:
            return 0.0
        return max(0.0, (datetime.now(UTC) - outage.since).total_seconds())

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return

    # --- the watches: each ends the shift ---

    async def _keep(self, lease: Lock) -> None:
        """Renew the lease; without it, or without an answer for as long as it lasts, somebody else may begin."""
        renewed_at = time.monotonic()
        try:
            while time.monotonic() - renewed_at < LEASE_SECONDS:
                await asyncio.sleep(RENEW_SECONDS)
                asked_at = time.monotonic()
                try:
                    await lease.reacquire()
                    renewed_at = asked_at
                except LockError:
                    break
                except RedisError as error:
                    log.warning("lease_not_renewed", source=self.source.pk, error=str(error))
            log.warning("source_lease_lost", source=self.source.pk)
        finally:
            self._is_lost = True
            self._over.set()

    async def _heed(self) -> None:
        """Notice that the worker is to stop."""
        while not self._over.is_set():
            await asyncio.sleep(STEP_SECONDS)
            if self._terms.is_stopping():
                self._over.set()

    async def _look(self) -> None:
        """Notice that somebody has moved the source, and that the shift is long enough when others wait."""
        ends_at = time.monotonic() + SHIFT_SECONDS
        while not self._over.is_set():
            try:
                if await self._desk.once(self._is_moved):
                    break
                if time.monotonic() >= ends_at and await self._desk.once(self._terms.is_wanted):
                    break
            except AWAY as error:
                log.info("source_not_looked_at", source=self.source.pk, error=str(error).strip())
            await asyncio.sleep(LOOK_SECONDS)
        self._over.set()

    def _is_moved(self) -> bool:
        since = Source.objects.filter(pk=self.source.pk).values_list("state_since", flat=True).first()
        return since != self._state_since
