"""The timetable: every Celery task, a few lines each."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from multiprocessing import RawValue

import structlog
from celery import shared_task
from celery.signals import worker_shutting_down
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections
from redis.exceptions import LockError, LockNotOwnedError, RedisError

from metrics import stream, telemetry
from metrics.aggregate import history, reach, reach_history, rollups
from metrics.ingest import findings, rejections, runner, uploads, webhook_chores
from metrics.ingest.files import engine
from metrics.present import import_news
from metrics.present.announce import Announcer
from metrics.stream import Group

log = structlog.get_logger(__name__)

SHIFT_SECONDS = 60.0
STEP_MS = 500
RENEW_SECONDS = 2.0
SOURCES_QUEUE = "sources"
QUEUED_SECONDS = 600
# Only a worker's first process hears that it is to stop; the pool's processes, forked from it, read it here.
_stopping = RawValue(ctypes.c_bool, False)


@worker_shutting_down.connect
def end_shifts(**_options: object) -> None:
    """Let this worker's writers hand their shards on at their next step, which is within a second."""
    _stopping.value = True


@shared_task
def beat() -> None:
    """Every few seconds: start the writers whose lease nobody holds."""
    telemetry.note_beat()
    for shard in stream.shards():
        for group, task in ((Group.ROLLUPS, consume), (Group.REACH, sketch)):
            if not stream.lease(shard, group).locked():
                task.delay(shard)


@shared_task(bind=False)
def consume(shard: int) -> None:
    """Count one shard's events for about a minute, or until the worker is asked to stop; then hand the lease on."""
    if _write(shard, Group.ROLLUPS, _count):
        consume.delay(shard)


@shared_task(bind=False)
def sketch(shard: int) -> None:
    """Keep the people of one shard's events, for as long as that."""
    if _write(shard, Group.REACH, _keep_people):
        sketch.delay(shard)


def _write(shard: int, group: Group, work: Callable[[int, Iterator[None]], None]) -> bool:
    """Work under the shard's lease; returns whether it went well, so that the next shift may begin."""
    lease = stream.lease(shard, group)
    if not lease.acquire(token=stream.lease_token()):
        return False
    try:
        work(shard, _shift(lease))
    except (InterfaceError, OperationalError, RedisError) as error:
        # Nothing is lost: what was read stays pending, and beat starts the writer again.
        log.warning("writer_interrupted", shard=shard, group=group, error=str(error).strip())
        close_old_connections()
        return False
    finally:
        # However it ended, the next writer need not wait for the lease to run out.
        _release(lease)
    return True


def _shift(lease: stream.Lease) -> Iterator[None]:
    """One turn after the other while the shift lasts, the lease renewed on the way."""
    ends_at = time.monotonic() + SHIFT_SECONDS
    renew_at = 0.0
    while (now := time.monotonic()) < ends_at and not _stopping.value:
        if now >= renew_at:
            lease.reacquire()
            renew_at = now + RENEW_SECONDS
        yield


def _keep_people(shard: int, turns: Iterator[None]) -> None:
    writer = reach.Writer(shard)
    for _ in turns:
        writer.step(STEP_MS)
    writer.flush()


def _count(shard: int, turns: Iterator[None]) -> None:
    writer, announcer = rollups.Writer(shard), Announcer()
    try:
        for _ in turns:
            if applied := writer.step(announcer.patience_ms()):
                announcer.note(applied)
                announcer.send_due()
                findings.note(applied.findings)
                telemetry.observe_announcement(applied.arrivals_us)
            else:
                announcer.send_due()
        # What still waits for its time would be nobody's after this.
        announcer.send_due(early=True)
    finally:
        announcer.close()


def _release(lease: stream.Lease) -> None:
    try:
        lease.release()
    except (LockError, LockNotOwnedError, RedisError) as error:
        log.info("lease_gone", error=str(error))


@shared_task
def start_sources() -> None:
    """Every few seconds: queue the sources that are due and that nobody runs."""
    waiting = runner.waiting(datetime.now(UTC))
    # A mark that outlived its message, because a worker died with it, must not hold a source back.
    _queue_sources(waiting, is_again=_queued_sources() == 0)


@shared_task
def run_source(source_id: int) -> None:
    """Work one source for about a minute, or on while no other waits for a thread; then hand it on."""
    stream.client().delete(_queued_key(source_id))
    terms = runner.Terms(lambda: bool(_stopping.value), lambda: _queued_sources() > 0)
    # A worker that stops may still take what it queues itself: its sources are left to the next beat.
    if runner.run(source_id, terms) and not _stopping.value:
        _queue_sources([source_id], is_again=True)


def _queue_sources(source_ids: Iterable[int], is_again: bool) -> None:
    """Queue each once, however many beats pass until a thread is free; `is_again`: even if it is marked as queued."""
    for source_id in source_ids:
        if stream.client().set(_queued_key(source_id), 1, nx=not is_again, ex=QUEUED_SECONDS):
            run_source.delay(source_id)


def _queued_key(source_id: int) -> str:
    return f"queued:source:{source_id}"


def _queued_sources() -> int:
    """How many wait for a thread: the broker keeps a queue as a list of that name."""
    return int(stream.client().llen(SOURCES_QUEUE))


@shared_task
def start_imports() -> None:
    """Every few seconds: ask for the files that nobody is at, because none had time or the one at it is gone."""
    engine.ask_for_waiting()


@shared_task
def import_file(file_id: int) -> None:
    """Make the preview of an uploaded file, or import it, whichever its state asks for."""
    try:
        engine.work(file_id, import_news.announce, is_stopping=lambda: bool(_stopping.value))
    except (InterfaceError, OperationalError, RedisError) as error:
        # Beat asks again, and the next worker goes on where this one was.
        log.warning("import_interrupted", file=file_id, error=str(error).strip())
        close_old_connections()


@shared_task
def do_webhook_chores() -> None:
    """Every few seconds: work off what webhooks put aside."""
    try:
        webhook_chores.work()
    except (DatabaseError, RedisError) as error:
        # Nothing is lost: they wait in Redis, and the next beat comes.
        log.warning("webhook_chores_interrupted", error=str(error).strip())
        close_old_connections()


@shared_task
def retention() -> None:
    """Drop the days that are past their time, and rejections past their cap; each even when another cannot."""
    events = (history.drop_old_events, history.drop_old_inferred, history.drop_old_minutes)
    dropping = (*events, reach_history.drop_old_hours, uploads.drop_abandoned)
    for step in (*dropping, history.forget_deleted_handles, history.prepare_days, rejections.trim):
        try:
            step()
        except DatabaseError as error:
            log.error("retention_step_failed", step=step.__name__, error=str(error).strip())
