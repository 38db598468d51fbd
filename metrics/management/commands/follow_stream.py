"""`manage.py follow_stream`: an InsightsTrack stream in the terminal."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, cast

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console, RenderableType
from rich.live import Live

from accounts.credentials import issue_token
from accounts.models import ApiToken, Scope, Team
from metrics.benchmarks.installation import BenchmarkError, Installation
from metrics.demo.board import Board
from metrics.demo.follower import Address, Follower
from metrics.demo.sender import RefusedError
from metrics.models import StreamRule, Tweet
from metrics.present import rules
from metrics.query.following import FOLLOWED_FOR

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

# What a killed run leaves ends by itself, and goes when the next run begins.
LASTS = timedelta(days=1)
PREFIX = "terminal-"
FRAMES_A_SECOND = 4


class Command(BaseCommand):
    """Runs until Ctrl-C; what it made for itself goes with it."""

    help = "Show an InsightsTrack stream as a live table, or as plain lines when piped."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which stream; without a token, one of the running `make run`, made for as long as the command runs."""
        parser.add_argument("--url", help="where it runs; default: the `make run` of this folder")
        parser.add_argument("--token", help="a token with the scope read; default: one for all handles of the team")
        parser.add_argument("--team", help="the team's name in addresses; default: the demo's, or the only one")
        parser.add_argument("--label", help="the stream whose rules to follow; needed with --token")

    def handle(self, *args: Any, **options: Any) -> None:
        """One line on stderr and exit status 1 when the server refuses, or nothing runs there."""
        stop = threading.Event()

        def end(*_: object) -> None:
            if not stop.is_set():  # a second Ctrl-C must not break the clean-up
                stop.set()
                raise KeyboardInterrupt

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with self._stream(**options) as (address, board):
                self._follow(address, board, stop)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        except (RefusedError, BenchmarkError, ValueError) as error:
            raise CommandError(str(error)) from error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _stream(
        self, url: str | None, token: str | None, team: str | None, label: str | None, **_: Any
    ) -> Iterator[tuple[Address, Board]]:
        if token:
            if not (team and label):
                raise CommandError("--token: give --team and --label too; the Integrations page shows both.")
            place = url or _here(None)
            yield Address(place, token, team, label), Board(f"{team}/{label}")
            return
        place = _here(url)
        with _own_stream(_team(team), label) as (secret, chosen, own_label):
            board = Board(", ".join(f"@{handle.username}" for handle in chosen.handles.order_by("username")))
            _name_tweets(board, chosen)
            yield Address(place, secret, chosen.slug, own_label), board

    def _follow(self, address: Address, board: Board, stop: threading.Event) -> None:
        if not self.stdout.isatty():
            follower = Follower(address, stop, notice=lambda state: self.stderr.write(f"Stream: {state}"))
            for message in follower.messages():
                if line := board.take(message):
                    self.stdout.write(line)
                    self.stdout.flush()
            return
        follower, lock = Follower(address, stop), threading.Lock()
        console = Console(file=cast("IO[str]", self.stdout))

        def draw() -> RenderableType:
            with lock:  # a thread of its own draws the table
                return board.render(follower.state, console.height)

        with Live(console=console, get_renderable=draw, refresh_per_second=FRAMES_A_SECOND):
            for message in follower.messages():
                with lock:
                    board.take(message)


def _here(url: str | None) -> str:
    found = Installation.find(url)
    return f"http://{found.host}:{found.port}"


def _team(slug: str | None) -> Team:
    """The team that was named, else the demo's, else the only one. Raises CommandError."""
    if slug:
        if found := Team.objects.filter(slug=slug).first():
            return found
    elif found := Team.objects.filter(slug="demo").first():
        return found
    names = list(Team.objects.order_by("slug").values_list("slug", flat=True))
    if slug is None and len(names) == 1:
        return Team.objects.get()
    asked = f"There is no team “{slug}”" if slug else "--team: say which"
    raise CommandError(f"{asked}; there are: {', '.join(names) or 'none'}.")


@contextmanager
def _own_stream(team: Team, label: str | None) -> Iterator[tuple[str, Team, str]]:
    """A token for all handles of the team, and rules about them unless a stream is named; both leave at the end."""
    handles = list(team.handles.order_by("pk"))
    if not handles:
        raise CommandError(f"The team “{team.slug}” has no handles.")
    _remove_left()
    name = f"{PREFIX}{secrets.token_hex(4)}"
    token, secret = issue_token(team, name, [Scope.READ], handles, expires_at=timezone.now() + LASTS)
    try:
        for handle in () if label else handles:
            rules.follow(team.pk, name, handle)
        yield secret, team, label or name
    finally:
        StreamRule.objects.filter(team=team, label=name).delete()
        token.delete()


def _remove_left() -> None:
    """Remove what killed runs have left, once their tokens have expired."""
    left = ApiToken.objects.filter(name__startswith=PREFIX, expires_at__lt=timezone.now())
    for token in left.filter(name__regex=f"^{PREFIX}[0-9a-f]{{8}}$"):
        StreamRule.objects.filter(team=token.team_id, label=token.name).delete()
        token.delete()


def _name_tweets(board: Board, team: Team) -> None:
    """The stream tells a Tweet's text when it becomes known; these became known before."""
    known = Tweet.objects.filter(handle__team=team, created_at__gt=timezone.now() - FOLLOWED_FOR).exclude(text="")
    for number, username, text in known.values_list("tweet_id", "handle__username", "text"):
        board.name(str(number), username, text)
