"""`manage.py demo_feed`: months of history, then a live present, through the HTTP API."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from metrics.demo.feed import HISTORY_DAYS, Feed
from metrics.demo.jetstream import Server
from metrics.demo.progress import Meter
from metrics.demo.sender import RefusedError, Sender, StoppedError

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Runs until it is told to stop; started again, it makes up for the time it missed."""

    help = "Send the demo handles' history, then their present, through the HTTP API."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to, and how much."""
        parser.add_argument("--url", default=f"http://127.0.0.1:{settings.PORT}", help="default: this machine")
        parser.add_argument("--token", help="default: the demo team's, as create_demo left it")
        parser.add_argument("--days", type=int, default=HISTORY_DAYS, help="history of a first start")
        parser.add_argument("--jetstream", type=int, metavar="PORT", help="default: the one that create_demo chose")
        parser.add_argument("--seed", type=int, default=1, help="another seed, another story (first start only)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Send until SIGTERM or SIGINT; one line on stderr and exit status 1 when the server refuses."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            sender = Sender(options["url"], options["token"] or demo_token(), stop, self._notice)
        except ValueError as error:
            raise CommandError(str(error)) from error
        jetstream = _jetstream(options["jetstream"] or demo_port())
        try:
            path = settings.VAR_DIR / "demo_feed.json"
            feed = Feed(sender, path, options["seed"], options["days"], jetstream=jetstream)
            self._load(feed, stop)
            self._live(feed, stop)
        except RefusedError as error:
            raise CommandError(f"demo feed: {error}") from error
        except StoppedError:
            self.stdout.write("Demo feed stopped.")
        finally:
            sender.close()
            if jetstream:
                jetstream.close()

    def _load(self, feed: Feed, stop: threading.Event) -> None:
        """History, with the present in between."""
        with Meter(self.stdout, "Demo history", "events", feed.progress.bulk_total_s) as meter:
            while feed.behind and not stop.is_set():
                feed.tick()
                meter.show(feed.progress.bulk_done_s, feed.progress.bulk_events)

    def _live(self, feed: Feed, stop: threading.Event) -> None:
        count = 0

        def tell(_: object) -> None:
            nonlocal count
            if (now := feed.progress.live_events) - count >= 1000:
                self.stdout.write(f"Demo feed: {now:,} live events, {feed.progress.rejected} rejected")
                count = now

        feed.run(stop, tell)

    def _notice(self, line: str) -> None:
        self.stderr.write(f"Demo feed: {line}")


def demo_port() -> int | None:
    """Where the demo's Jetstream listens, as create_demo left it in VAR_DIR; None when it did not run."""
    path = Path(settings.VAR_DIR) / "demo_jetstream"
    return int(path.read_text("ascii")) if path.exists() else None


def _jetstream(port: int | None) -> Server | None:
    try:
        return Server(port) if port else None
    except OSError as error:
        raise CommandError(f"demo feed: port {port} of this machine is taken; start again to get another.") from error


def demo_token() -> str:
    """The token that create_demo left in VAR_DIR; CommandError when it did not run."""
    path = Path(settings.VAR_DIR) / "demo_token"
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        raise CommandError(f"--token: there is no {path}; run manage.py create_demo, or name a token.") from None
