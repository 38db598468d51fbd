"""`manage.py replay_cascades`: real Retweets through the HTTP API, then a check of what was counted."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from metrics.demo import replay
from metrics.demo.cascades import Cascade, CascadeError, read_cascades
from metrics.demo.progress import Meter
from metrics.demo.sender import RefusedError, Sender, StoppedError
from metrics.management.commands.demo_feed import demo_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser


START_HELP = "when the Tweets were created, weeks ago at most, as minutes are not kept for ever; default: as last time"


class Command(BaseCommand):
    """Each file becomes a Tweet, each of its lines after the author's a Retweet."""

    help = "Replay real Retweet cascades (RT<number>.txt) as Tweets of a handle, and check every count."

    def add_arguments(self, parser: CommandParser) -> None:
        """What, as whose, how fast, and where to."""
        parser.add_argument("directory", type=Path, metavar="DIR", help="where the RT<number>.txt files are")
        parser.add_argument("--handle", required=True, metavar="NAME")
        parser.add_argument("--speed", type=speed, default=0.0, help="times real time; max (default): at once")
        parser.add_argument("--limit", type=int, metavar="N", help="only the first N files")
        parser.add_argument("--started-at", type=instant, metavar="TIME", help=START_HELP)
        parser.add_argument("--url", default=f"http://127.0.0.1:{settings.PORT}", help="default: this machine")
        parser.add_argument("--token", help="default: the demo team's, as create_demo left it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit status 1 when a file is broken, an event is rejected, or a count differs from its file."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            cascades = read_cascades(options["directory"])[: options["limit"]]
            sender = Sender(options["url"], options["token"] or demo_token(), stop, self._notice)
            handle = options["handle"].removeprefix("@")
            started_at = options["started_at"] or _start(sender, handle, cascades)
            planned = replay.Replay(handle, cascades, started_at)
            self.stdout.write(
                f"{len(cascades)} Tweets of @{handle}, {planned.size:,} Retweets, from {started_at:%Y-%m-%d %H:%M} UTC"
            )
            receipts = self._send(planned, sender, options["speed"], stop)
            with Meter(self.stdout, "Applied", "batches", len(receipts)) as meter:
                replay.wait_until_applied(sender, receipts, stop, lambda done: meter.show(done, done))
            self._compare(planned, sender)
        except (CascadeError, RefusedError, replay.ReplayError, ValueError) as error:
            raise CommandError(str(error)) from error
        except StoppedError:
            raise CommandError("stopped; run it again to complete the replay.") from None

    def _send(self, planned: replay.Replay, sender: Sender, speed: float, stop: threading.Event) -> Sequence[str]:
        receipts = []
        with Meter(self.stdout, "Replay", "Retweets", planned.size) as meter:
            for sent, receipt in replay.send(planned, sender, speed, stop):
                receipts.append(receipt)
                meter.show(sent, sent)
        if stop.is_set():
            raise StoppedError
        return receipts

    def _compare(self, planned: replay.Replay, sender: Sender) -> None:
        """A line for each Tweet; CommandError when a count differs."""
        wrong = 0
        for cascade in planned.cascades:
            counted, expected = replay.counted(sender, planned, cascade), replay.in_file(cascade)
            same = counted == expected
            wrong += not same
            self.stdout.write(
                f"RT{cascade.number}: file {expected.lifetime:,}, counted {counted.lifetime:,}, "
                f"{'every minute the same' if same else 'DIFFERENT'}"
            )
        if wrong:
            raise CommandError(f"{wrong} of {len(planned.cascades)} Tweets differ from their files.")
        self.stdout.write(f"All {len(planned.cascades)} Tweets equal their files, minute for minute.")

    def _notice(self, line: str) -> None:
        self.stderr.write(f"Replay: {line}")


def _start(sender: Sender, handle: str, cascades: list[Cascade]) -> datetime:
    """Where an earlier replay of the handle began, else as late as can be."""
    now = datetime.now(UTC)
    return replay.earlier_start(sender, handle, cascades, now) or replay.latest_start(cascades, now)


def speed(text: str) -> float:
    """A positive factor, or 0 for `max`: as fast as possible. Raises ValueError."""
    value = 0.0 if text == "max" else float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def instant(text: str) -> datetime:
    """A whole minute with an offset, such as 2026-01-31T12:00Z. Raises ValueError."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None or value.second or value.microsecond:
        raise ValueError(text)
    return value.astimezone(UTC)
